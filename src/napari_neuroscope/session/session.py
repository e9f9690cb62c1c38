"""The state that the docks share; no Qt inside."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from weakref import WeakKeyDictionary

import numpy as np
from psygnal import SignalGroupDescriptor

from napari_neuroscope.engine.errors import Progress
from napari_neuroscope.engine.explain.cost import Cost, Pace, cost_of, pace_of
from napari_neuroscope.engine.explain.crop import moved_by
from napari_neuroscope.engine.explain.whole import explain
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.methods.registry import Method, Needs, methods
from napari_neuroscope.engine.networks.load import DEMOS, load
from napari_neuroscope.engine.networks.network import Network, Prediction
from napari_neuroscope.engine.passes.target import Target
from napari_neuroscope.engine.plain_text import visible
from napari_neuroscope.engine.tiles.geometry import Window
from napari_neuroscope.viewer.image.image_pixels import Pixels
from napari_neuroscope.viewer.image.layer_regions import (
    DrawnRegions,
    LayerRegion,
    PaintedRegions,
    Truth,
)
from napari_neuroscope.viewer.image.shown_image import Shown, axes_of_layer
from napari_neuroscope.viewer.layer_origin import LayerOrigin
from napari_neuroscope.viewer.layers.layer_data import LayerData, layer_data
from napari_neuroscope.viewer.layers.place import Place

if TYPE_CHECKING:
    from napari_neuroscope.engine.evaluation.scoring import Scores
    from napari_neuroscope.viewer.layers.error_layers import Comparison

Offer = Callable[[Explanation], None]
"""Takes a map that is not yet finished."""

# A network's name may be a stranger's.
_LONGEST_TITLE = 120
DEMO_TITLES = {"nuclei": "Demo: nuclei (U-Net)", "blood-cells": "Demo: blood cells (classifier)"}


@dataclass(frozen=True, eq=False)
class Question:
    """All that one explanation is computed from, taken when it was asked for."""

    network: Network
    shown: Shown
    source: Any
    method: str
    options: dict[str, Any]
    layers: tuple[str, ...]
    targets: tuple[Target, ...]

    def plane(self) -> tuple[int, ...]:
        """Return the index of the plane that is explained on each axis that the network doesn't take."""
        return self.shown.plane(self.network)

    def place(self) -> Place:
        """Return where on the axes of the image's layer the map lies."""
        return self.shown.place(self.network)

    def answer(self, progress: Progress, offer: Offer | None = None) -> Explanation:
        """Compute it; where it takes many passes, also offer what is found so far."""
        return explain(
            self.network,
            self.shown.image(self.network),
            self.method,
            one_or_many(tuple(self.resolved(target) for target in self.targets)),
            one_or_many(self.layers),
            keep="fit",
            progress=progress,
            partial=offer,
            **self.options,
        )

    def layer_data(self, found: Explanation) -> list[LayerData]:
        """Return an answer, or what is found so far, as layer data."""
        return layer_data(found, self.source, self.place())

    @property
    def slot(self) -> tuple[str, ...]:
        """Where the shower shows it: a layer for each network, image and method."""
        return (self.network.name, str(self.source.unique_id), self.method)

    @property
    def covered(self) -> tuple[str, ...]:
        """The slot of a map that shows the same otherwise, and gives way to this one's."""
        return (*self.slot, "slices")

    def explained(self, answer: Explanation) -> LayerOrigin:
        """Return an answer with what it is of."""
        return LayerOrigin(answer, self.network, self.shown, self.source, self.place())

    def resolved(self, target: Target) -> Target:
        """Return a target whose region, taken from a layer, is brought to the image's pixels."""
        region = target.region
        if isinstance(region, Truth):
            region = region.mask(int(target.class_ or 0), self.network.class_names)
        elif isinstance(region, DrawnRegions | PaintedRegions):
            region = region.mask
        return replace(target, region=region)


def one_or_many(items: tuple[Any, ...]) -> Any:
    """Return items as explanations are asked for: a list of several, one alone, or None."""
    return list(items) if len(items) > 1 else next(iter(items), None)


@dataclass(frozen=True, eq=False)
class Findings:
    """What is known of a network and an image before anything is explained.

    Attributes
    ----------
    network
        The network.
    prediction
        Its answer to the image.
    classes
        The number and name of each class, with its share of the pixels or its probability.
    pace
        How long a pass of the image takes; None where there is no image.
    digests
        Those of the network and the image.
    """

    network: Network
    prediction: Prediction | None
    classes: tuple[tuple[int, str, float], ...]
    pace: Pace | None = None
    digests: tuple[str, str] = ("", "")


@dataclass
class Session:
    """What is chosen, evented, so that docks bind to it and none talks to another."""

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    networks: tuple[str, ...] = tuple(DEMO_TITLES[name] for name in DEMOS)
    network: Network | None = None
    findings: Findings | None = None
    image: Any = None
    method: str = "grad_cam"
    options: dict[str, Any] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    classes: tuple[int, ...] = ()
    region: str | LayerRegion = "everywhere"
    labels: Any = None
    margin: int = 5
    score: str = "logit"
    extent: str = "whole"
    live: bool = False
    explanation: Explanation | None = None
    scores: Scores | None = None
    cell: tuple[int, int] | None = None
    comparison: Comparison | None = None
    wanted: str = ""

    def __post_init__(self) -> None:
        self._open: dict[str, Callable[[], Network]] = {
            DEMO_TITLES[name]: _loader(f"demo:{name}") for name in DEMOS
        }
        self._loaded: dict[str, Network] = {}
        self._paths: dict[str, Path] = {}

    def beside(self) -> Session:
        """Return a session with choices of its own, of the networks that are offered here.

        What is opened in either is offered in both.
        """
        other = Session(networks=self.networks)
        other._open, other._loaded, other._paths = self._open, self._loaded, self._paths
        self.events.networks.connect_setattr(other, "networks", maxargs=1)
        other.events.networks.connect_setattr(self, "networks", maxargs=1)
        return other

    def add_network(self, network: Network, name: str = "") -> str:
        """Offer a network that exists in memory; return the title it is offered under.

        Parameters
        ----------
        network
            The network.
        name
            What it is offered as; its own name if not given.
        """
        name = visible(name or network.name, _LONGEST_TITLE)
        title, number = name, 1
        while title in self._open and self._loaded.get(title) is not network:
            number += 1
            title = f"{name} {number}"
        self._open[title] = lambda: network
        self._loaded[title] = network
        if title not in self.networks:
            self.networks = (*self.networks, title)
        return title

    def add_file(
        self, path: Path, factory: str | None = None, arguments: dict[str, Any] | None = None
    ) -> str:
        """Offer the network of a file; return the title it is offered under."""
        path = path.absolute()
        name = visible(path.name, _LONGEST_TITLE)
        title, number = name, 1
        while title in self._open and self._paths.get(title) != path:
            # Two checkpoints may have one name, in folders of their own.
            number += 1
            title = f"{name} {number}"
        self._paths[title] = path
        self._open[title] = _loader(str(path), factory, arguments)
        self._loaded.pop(title, None)
        if title not in self.networks:
            self.networks = (*self.networks, title)
        return title

    def open_network(self, title: str) -> Network:
        """Return a network that is offered, loading it the first time; may take a while."""
        if title not in self._loaded:
            self._loaded[title] = self._open[title]()
        return self._loaded[title]

    def loaded(self) -> tuple[Network, ...]:
        """Return the networks that have been opened so far."""
        return tuple(self._loaded.values())

    def title(self) -> str:
        """Return the title under which the chosen network is offered; "" where none is."""
        return "" if self.network is None else self.title_of(self.network)

    def title_of(self, network: Network) -> str:
        """Return the title under which a network is offered; "" where it is not."""
        titles = (title for title, one in self._loaded.items() if one is network)
        return next(titles, "")

    def title_for(self, source: str | None) -> str:
        """Return the title under which a file, or such as "demo:nuclei", is offered; or ""."""
        if source is None:
            return ""
        if source.startswith("demo:"):
            return DEMO_TITLES.get(source.removeprefix("demo:"), "")
        titles = (title for title, path in self._paths.items() if path == Path(source))
        return next(titles, "")

    def replace_network(self, findings: Findings) -> None:
        """Go on with another network, of the same model, in place of the one that is chosen."""
        if title := self.title():
            self._loaded[title] = findings.network
        self.network = findings.network
        self.findings = findings

    def show_layer(self, layer: Any) -> None:
        """Choose an image layer, also where it is chosen already but shows something new."""
        if self.image is layer:
            self.events.image.emit(layer, layer)
        else:
            self.image = layer

    def show_image(self, name: str) -> None:
        """Ask the dock “Images” to show one of its images."""
        # The same image may be asked for twice.
        self.wanted = ""
        self.wanted = name

    def counts_pixels(self) -> bool:
        """Whether the scores are of pixels, not of whole images."""
        return self.network is not None and self.network.spec.task == "segmentation"

    def chosen_method(self) -> Method:
        """Return the method that is chosen."""
        return methods[self.method]

    def cost(self) -> Cost | None:
        """Return what an explanation of what is chosen takes; None where that is not known."""
        method, findings = self.chosen_method(), self.findings
        if findings is None or findings.pace is None or self.network is not findings.network:
            return None
        if not set(self.options) <= set(method.options):
            # Another method is just being chosen.
            return None
        needs = method.needs_with(self.options)
        graph = findings.network.layers
        layers = [name for name in self.layers if name in graph] if Needs.LAYER in needs else []
        return cost_of(
            method, self.options, graph, findings.pace.shape,
            steps=findings.network.spec.steps, layers=layers, targets=max(len(self.classes), 1),
        )  # fmt: skip

    def seconds(self) -> float:
        """Return about how long an explanation of what is chosen takes; 0 where it is not known."""
        cost = self.cost()
        if cost is None or self.findings is None or self.findings.pace is None:
            return 0.0
        return cost.work * self.findings.pace.seconds

    def targets(self, network: Network, viewer: Any = None) -> tuple[Target, ...]:
        """Return the chosen classes as targets, with the region as it is drawn now.

        Raises
        ------
        NeuroscopeError
            Where the region's layer is empty or gone.
        """
        region: Any = self.region if network.spec.task == "segmentation" else "everywhere"
        if isinstance(region, LayerRegion):
            region = region.take(self.pixels(network, viewer), viewer)
        elif region == "ground_truth" and self.labels is not None:
            region = Truth.of(self.labels, self.pixels(network, viewer), viewer)
        return tuple(Target(index, region, self.score) for index in self.classes)  # type: ignore[arg-type]

    def pixels(self, network: Network, viewer: Any) -> Pixels:
        """Return the pixels of the chosen image that are looked at now.

        Raises
        ------
        NeuroscopeError
            Where the image has too few axes, or others than the network's spec says.
        """
        return Pixels.of(self.image, axes_of_layer(self.image, network).space, viewer)

    def problem(self, image: Any, *, with_target: bool = True) -> str | None:
        """Return why nothing can be explained yet, as a sentence; None where all is well.

        Without a target, it is yet to come and nothing is said of it.
        """
        if self.network is None:
            return "Choose a network."
        if image is None:
            return "Choose an image layer; File > Open Sample has some."
        chosen = self.chosen_method()
        if reason := self.network.why_not(chosen, self.options):
            return reason
        needs = chosen.needs_with(self.options)
        if Needs.LAYER in needs and not self.layers:
            return "Choose at least one layer."
        if not with_target or Needs.TARGET not in needs:
            return None
        if not self.classes:
            return "Choose at least one class."
        segments = self.network.spec.task == "segmentation"
        if segments and self.region == "ground_truth" and self.labels is None:
            return "Choose the labels that say where the class truly is, under Target."
        return None


_sessions: WeakKeyDictionary[Any, tuple[Session, Session]] = WeakKeyDictionary()


def session_of(viewer: Any, which: Literal["first", "second"] = "first") -> Session:
    """Return the session that a viewer's docks share, or that of the second network."""
    # A plugin is given a proxy of the viewer, a new one each time.
    viewer = getattr(viewer, "__wrapped__", viewer)
    if viewer not in _sessions:
        first = Session()
        _sessions[viewer] = (first, first.beside())
    return _sessions[viewer][which == "second"]


def _loader(
    source: str, factory: str | None = None, arguments: dict[str, Any] | None = None
) -> Callable[[], Network]:
    from napari_neuroscope.session.settings import configured

    def open_it() -> Network:
        settings = configured()
        network = load(source, device=settings.device, factory=factory, arguments=arguments)
        network.traces.limit = settings.cache_bytes
        return network

    return open_it


def inspect(
    network: Network, image: np.ndarray | None, progress: Progress, window: Window | None = None
) -> Findings:
    """Find a network's layers, and its classes with the share or probability of each.

    The image may be a window of a large one: its prediction then lies there.
    """
    if image is None:
        classes = tuple((i, name, 0.0) for i, name in enumerate(network.class_names))
        return Findings(network, None, classes)
    network.discover(image, progress)
    begun = time.perf_counter()
    prediction = network.predict(image)
    pace = pace_of(network, image, time.perf_counter() - begun)
    if network.spec.task == "segmentation":
        seen = prediction.labels[prediction.labels >= 0]
        counts = np.bincount(seen.ravel(), minlength=len(network.class_names))
        shares = counts / max(seen.size, 1)
    else:
        shares = prediction.probabilities
    classes = tuple((i, name, float(shares[i])) for i, name in enumerate(network.class_names))
    if window is not None:
        prediction = replace(
            prediction,
            grid=prediction.grid and moved_by(prediction.grid, window),
            image=moved_by(prediction.image, window),
        )
    return Findings(network, prediction, classes, pace, network.digests(image))

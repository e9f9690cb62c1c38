"""The state that the docks share; no Qt inside."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from psygnal import SignalGroupDescriptor

from napari_neuroscope.engine.explain.cost import Cost, cost_of
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.methods.interface import Method, Needs
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.target import DEFAULT_REGION, Target
from napari_neuroscope.session.cell_question import CellQuestion
from napari_neuroscope.session.network_catalog import DEMO_TITLES, NetworkCatalog
from napari_neuroscope.session.network_summary import NetworkSummary
from napari_neuroscope.viewer.image.image_pixels import Pixels
from napari_neuroscope.viewer.image.layer_regions import LayerRegion
from napari_neuroscope.viewer.image.painted_labels import TrueClassLabels
from napari_neuroscope.viewer.image.shown_image import axes_of_layer
from napari_neuroscope.viewer.state.viewer_state import state_of

if TYPE_CHECKING:
    from napari_neuroscope.engine.evaluation.scoring import Scores
    from napari_neuroscope.viewer.layers.error_layers import Comparison


@dataclass
class Session:
    """What is chosen, evented, so that docks bind to it and none talks to another."""

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    networks: tuple[str, ...] = tuple(DEMO_TITLES.values())
    network: Network | None = None
    network_summary: NetworkSummary | None = None
    image: Any = None
    method: str = "hires_cam"
    options: dict[str, Any] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    classes: tuple[int, ...] = ()
    all_classes: bool = True
    region: str | LayerRegion = "predicted"
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
    why: CellQuestion | None = None

    def __post_init__(self) -> None:
        self.catalog = NetworkCatalog()

    def beside(self) -> Session:
        """Return a session with choices of its own, of the networks that are offered here.

        What is opened in either is offered in both.
        """
        session = Session(networks=self.networks)
        session.catalog = self.catalog
        self.events.networks.connect_setattr(session, "networks", maxargs=1)
        session.events.networks.connect_setattr(self, "networks", maxargs=1)
        return session

    def add_network(self, network: Network, name: str = "") -> str:
        """Offer a network that exists in memory, by its own name if none is given; return its title."""
        return self._offer(self.catalog.add(network, name))

    def add_file(
        self, path: Path, factory: str | None = None, arguments: dict[str, Any] | None = None
    ) -> str:
        """Offer the network of a file, as `load` takes it; return its title."""
        return self._offer(self.catalog.add_file(path, factory, arguments))

    def _offer(self, title: str) -> str:
        if title not in self.networks:
            self.networks = (*self.networks, title)
        return title

    def title(self) -> str:
        """Return the title under which the chosen network is offered; "" where none is."""
        return "" if self.network is None else self.catalog.title_of(self.network)

    def replace_network(self, summary: NetworkSummary) -> None:
        """Go on with another network, of the same model, in place of the one that is chosen."""
        if self.network is not None:
            self.catalog.replace(self.network, summary.network)
        self.network = summary.network
        self.network_summary = summary

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

    def ask_why(self, question: CellQuestion) -> None:
        """Ask the inspector about a cell of the confusion matrix."""
        # The same may be asked twice, of another image.
        self.why = None
        self.why = question

    def counts_pixels(self) -> bool:
        """Whether the scores are of pixels, not of whole images."""
        return self.network is not None and self.network.spec.task == "segmentation"

    def chosen_method(self) -> Method:
        """Return the method that is chosen."""
        return methods[self.method]

    def cost(self) -> Cost | None:
        """Return what an explanation of what is chosen takes; None where that is not known."""
        method, summary = self.chosen_method(), self.network_summary
        if summary is None or summary.pace is None or self.network is not summary.network:
            return None
        if not set(self.options) <= set(method.options):
            # Another method is just being chosen.
            return None
        needs = method.needs_with(self.options)
        graph = summary.network.layers
        layers = [name for name in self.layers if name in graph] if Needs.LAYER in needs else []
        return cost_of(
            method, self.options, graph, summary.pace.shape,
            steps=summary.network.spec.steps, layers=layers, targets=max(len(self.classes), 1),
        )  # fmt: skip

    def seconds(self) -> float:
        """Return about how long an explanation of what is chosen takes; 0 where it is not known."""
        cost, summary = self.cost(), self.network_summary
        if cost is None or summary is None or summary.pace is None:
            return 0.0
        return cost.work * summary.pace.seconds

    def takes_classes(self) -> bool:
        """Whether the chosen classes are part of the question.

        What is made of several classes together is made of all, unless that was chosen otherwise.
        """
        method = self.chosen_method()
        if Needs.TARGET in method.needs_with(self.options):
            return True
        return "classes" in method.options and not self.all_classes

    def region_asked(self, network: Network) -> str | LayerRegion:
        """Return the region as it is asked for: in a window, no class ends in an error.

        Where a class is predicted nowhere it is asked about everywhere, and that is said.
        """
        by_default = self.region == "predicted" or network.spec.task != "segmentation"
        return DEFAULT_REGION if by_default else self.region

    def targets(self, network: Network, viewer: Any = None) -> tuple[Target, ...]:
        """Return the chosen classes as targets, with the region as it is drawn now.

        Raises
        ------
        NeuroscopeError
            Where the region's layer is empty or gone.
        """
        region: Any = self.region_asked(network)
        if isinstance(region, LayerRegion):
            region = region.take(self.pixels(network, viewer), viewer)
        elif region == "ground_truth" and self.labels is not None:
            region = TrueClassLabels.of(
                self.labels, self.pixels(network, viewer), viewer, network.spec.ignore_label
            )
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


class _ViewerSessions:
    """The session of a viewer's network, and that of the second network."""

    def __init__(self) -> None:
        self.first = Session()
        self.second = self.first.beside()


def session_of(viewer: Any, which: Literal["first", "second"] = "first") -> Session:
    """Return the session that a viewer's docks share, or that of the second network."""
    sessions = state_of(viewer, _ViewerSessions)
    return sessions.second if which == "second" else sessions.first

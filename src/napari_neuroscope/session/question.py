"""A question about a shown image, taken at one moment, that is answered in any thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from napari_neuroscope.engine.errors import Progress
from napari_neuroscope.engine.explain.explain import explain
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.overlays.kind import LayerData
from napari_neuroscope.engine.explanation.overlays.place import Place
from napari_neuroscope.engine.explanation.request import Request
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.target import Target
from napari_neuroscope.viewer.image.drawn_shapes import DrawnRegions
from napari_neuroscope.viewer.image.painted_labels import PaintedRegions, TrueClassLabels
from napari_neuroscope.viewer.image.shown_image import ShownImage
from napari_neuroscope.viewer.state.layer_origin import LayerOrigin

Offer = Callable[[Explanation], None]
"""Takes a map that is not yet finished."""


class Extent:
    """How much of the image is asked about: the shown plane, unless a subclass says otherwise.

    Attributes
    ----------
    is_shown_plane
        Whether the map is that of the shown plane as a whole, made at once.
    slot
        What is added to the question's slot; maps of other extents have layers beside it.
    """

    is_shown_plane: ClassVar[bool] = True

    @property
    def slot(self) -> tuple[str, ...]:
        return ()

    def place(self, question: Question) -> Place:
        """Return where on the axes of the image's layer the map lies."""
        return question.shown.place(question.network)

    def answer(self, question: Question, progress: Progress, offer: Offer | None) -> Explanation:
        """Compute the map; where it takes many passes, also offer what there is so far."""
        return explain(
            question.network,
            question.shown.image(question.network),
            *question.arguments(),
            keep="fit",
            progress=progress,
            partial=offer,
            **question.options,
        )

    def layer_data(self, question: Question, explanation: Explanation) -> list[LayerData]:
        """Return a map, or what there is of it so far, as layer data."""
        return explanation.to_layer_data(question.source, self.place(question))


@dataclass(frozen=True, eq=False)
class Question:
    """All that one explanation is computed from, taken when it was asked for.

    Attributes
    ----------
    network
        The network.
    shown, source
        The image as it is shown, and its layer.
    request
        What is asked of it; a target's region may be one of a layer.
    extent
        How much of the image is asked about.
    choices
        What was chosen when it was asked, as `Choices`.
    """

    network: Network
    shown: ShownImage
    source: Any
    request: Request
    extent: Extent = field(default_factory=Extent)
    choices: Any = None

    def about(self, extent: Extent) -> Question:
        """Return the same question about another extent."""
        return replace(self, extent=extent)

    def with_targets(self, *targets: Target) -> Question:
        """Return the same question about other targets."""
        several = len(targets) > 1
        return replace(self, request=replace(self.request, targets=targets, several=several))

    def with_options(self, **options: Any) -> Question:
        """Return the same question with other options."""
        return replace(self, request=replace(self.request, options=options))

    @property
    def method(self) -> str:
        """The method by name."""
        return self.request.method

    @property
    def options(self) -> dict[str, Any]:
        """The method's options."""
        return dict(self.request.options)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers by name, as many as there are."""
        layer = self.request.layer
        return (layer,) if isinstance(layer, str) else tuple(layer or ())

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets, as many as there are."""
        return self.request.targets

    def arguments(self) -> tuple[str, Any, Any]:
        """Return the method, target and layer as `explain` takes them, regions as masks."""
        targets = tuple(_with_mask(target, self.network) for target in self.targets)
        request = replace(self.request, targets=targets)
        return request.method, request.target, request.layer

    def plane(self) -> tuple[int, ...]:
        """Return the index of the plane that is explained on each axis that the network doesn't take."""
        return self.shown.plane(self.network)

    def place(self) -> Place:
        """Return where on the axes of the image's layer the map lies."""
        return self.extent.place(self)

    def answer(self, progress: Progress, offer: Offer | None = None) -> Explanation:
        """Compute the map; where it takes many passes, also offer what there is so far."""
        return self.extent.answer(self, progress, offer)

    def layer_data(self, explanation: Explanation) -> list[LayerData]:
        """Return a map, or what there is of it so far, as layer data."""
        return self.extent.layer_data(self, explanation)

    @property
    def slot(self) -> tuple[str, ...]:
        """Where the map is shown: a layer for each image and extent, in which the last one is seen."""
        return ("map", str(self.source.unique_id), *self.extent.slot)

    def origin(self, explanation: Explanation) -> LayerOrigin:
        """Return an answer with what it is of."""
        return LayerOrigin(explanation, self.network, self.shown, self.source, self.place())


def _with_mask(target: Target, network: Network) -> Target:
    """Return a target whose region, taken from a layer, is brought to the image's pixels."""
    region = target.region
    if isinstance(region, TrueClassLabels):
        region = region.mask(int(target.class_ or 0), network.class_names)
    elif isinstance(region, DrawnRegions | PaintedRegions):
        region = region.mask
    return replace(target, region=region)


def request_for(
    method: str,
    options: Mapping[str, Any],
    layers: Sequence[str] = (),
    targets: Sequence[Target] = (),
) -> Request:
    """Return what is asked for by choices: several make an axis of the map, one makes none."""
    layer = list(layers) if len(layers) > 1 else next(iter(layers), None)
    return Request(method, tuple(targets), layer, dict(options), several=len(targets) > 1)

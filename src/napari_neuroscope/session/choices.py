"""All that a map depends on, as it is chosen at one moment, so that it can be told what is out of date."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.methods.interface import Needs
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.image.layer_regions import LayerRegion
from napari_neuroscope.viewer.image.shown_image import ShownImage, finest
from napari_neuroscope.viewer.state.viewer_state import without_proxy

NO_PLANE = (-1,)
"""Where an image has too few axes for a network, or others."""


class Identity:
    """Stands for an object without holding it: equal to that of the same object, while it lives."""

    def __init__(self, value: Any) -> None:
        self._number = id(value)
        try:
            self._reference: Any = weakref.ref(value)
        except TypeError:
            # What can't be referred to weakly, such as None, is told apart by its number alone.
            self._reference = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Identity) or self._number != other._number:
            return False
        return self._reference is None or self._reference() is not None

    def __hash__(self) -> int:
        return hash(self._number)


@dataclass(frozen=True, eq=False)
class Scene:
    """What is asked about: a network as it is stated, and the plane of an image that is shown.

    Attributes
    ----------
    network, spec
        The network, and what it is taken to expect.
    source, pixels
        The image's layer, and its array: another image may be put in the same layer.
    plane
        The index on each axis that the network does not take.
    """

    network: Identity
    spec: ModelSpec | None
    source: Identity
    pixels: Identity
    plane: tuple[int, ...]

    @classmethod
    def of(cls, network: Network | None, layer: Any, viewer: Any) -> Scene:
        """Return what a network and an image layer show now."""
        plane: tuple[int, ...] = ()
        if network is not None and layer is not None:
            try:
                plane = ShownImage.of(layer, viewer).plane(network)
            except NeuroscopeError:
                # It has too few axes, or others than the network's: nothing can be asked about it.
                plane = NO_PLANE
        pixels = None if layer is None else finest(layer)
        spec = None if network is None else network.spec
        source = Identity(without_proxy(layer))
        return cls(Identity(network), spec, source, Identity(pixels), plane)

    def shows_image_of(self, other: Scene) -> bool:
        """Whether both are of the same pixels of the same layer."""
        return self.source == other.source and self.pixels == other.pixels

    def agrees(self, other: Scene) -> bool:
        """Whether both are the same."""
        return (
            self.shows_image_of(other)
            and self.plane == other.plane
            and self.network == other.network
            and self.spec == other.spec
        )


@dataclass(frozen=True, eq=False)
class Choices:
    """All that a map depends on.

    Attributes
    ----------
    scene
        What is asked about.
    asked
        What is asked: the method with its options, layers, classes, region, score and extent; None
        for a question that the dock's choices don't say, such as a click.
    owner
        Whose choices they are: a viewer may have a second session.
    """

    scene: Scene
    owner: Identity
    asked: tuple[Any, ...] | None = None

    @classmethod
    def of_scene(cls, session: Session, layer: Any, viewer: Any) -> Choices:
        """Return what is asked about now, and nothing of what is asked."""
        return cls(Scene.of(session.network, layer, viewer), Identity(session))

    @classmethod
    def of(cls, session: Session, layer: Any, viewer: Any, *extent: Any) -> Choices:
        """Return what is chosen now; nothing is computed for it.

        Parameters
        ----------
        session
            What is chosen.
        layer
            The image's layer.
        viewer
            Where it is shown.
        extent
            How much of the image is asked about, and how often its region's layer was edited.
        """
        scene = Scene.of(session.network, layer, viewer)
        method, options = session.chosen_method(), session.options
        needs = method.needs
        if set(options) <= set(method.options):
            needs = method.needs_with(options)
        uses_target = Needs.TARGET in needs or "classes" in method.options
        target: tuple[Any, ...] = ()
        if uses_target:
            segments = session.network is not None and session.counts_pixels()
            region: Any = session.region if segments else "everywhere"
            labels = Identity(without_proxy(session.labels)) if region == "ground_truth" else None
            if isinstance(region, LayerRegion):
                region = (Identity(without_proxy(region.layer)), region.extent)
            target = (session.classes, region, labels, session.score)
        return cls(
            scene,
            Identity(session),
            (
                method.name,
                tuple(sorted(options.items())),
                session.layers if Needs.LAYER in needs else (),
                target,
                extent,
            ),
        )

    def agrees(self, other: Choices) -> bool:
        """Whether both say the same, as far as both say something."""
        same_question = self.asked is None or other.asked is None or self.asked == other.asked
        return same_question and self.scene.agrees(other.scene)

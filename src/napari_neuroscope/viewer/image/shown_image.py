"""Which part of an image layer a network looks at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explain.crop import cut_of, is_large, middle, sides_of
from napari_neuroscope.engine.explanation.overlays.place import Place
from napari_neuroscope.engine.images.array_view import ArrayView
from napari_neuroscope.engine.images.axes import ImageAxes, axes_of, names_of
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.tiles.geometry import Window
from napari_neuroscope.viewer.image.image_pixels import shown_index

# Of more pixels no segmenter's pass fits a memory.
_MOST = 1 << 26


@dataclass(frozen=True, eq=False)
class ShownImage:
    """An image layer and where the sliders stand on it, taken at one moment.

    Attributes
    ----------
    name, array, rgb
        Of the layer; of a multiscale one, the finest level.
    steps
        The index on each of the layer's own axes at which the sliders stand.
    labels
        What the layer's axes are called, as napari says.
    drawn
        Which of the layer's axes are drawn; the others have sliders.
    """

    name: str
    array: Any
    rgb: bool
    steps: tuple[int, ...]
    labels: tuple[str, ...] = ()
    drawn: tuple[int, ...] = ()

    @classmethod
    def of(cls, layer: Any, viewer: Any) -> ShownImage:
        """Take what a viewer shows of a layer."""
        # Steps are counted over all layers, so where they stand in this one is asked of the world.
        steps, before = shown_index(layer, viewer), viewer.dims.ndim - layer.ndim
        drawn = tuple(n - before for n in viewer.dims.displayed if n >= before)
        return cls(layer.name, finest(layer), bool(layer.rgb), steps, labels_of(layer), drawn)

    def axes(self, network: Network) -> ImageAxes:
        """Return which of the layer's axes is which to a network.

        Raises
        ------
        NeuroscopeError
            Where the image has too few axes, or others than the network's spec says.
        """
        count = len(network.spec.input.space)
        ndim = self.array.ndim - self.rgb
        if ndim < count:
            raise NeuroscopeError(
                f"The layer “{self.name}” has {ndim} axes, but the network looks along {count}; "
                f"choose an image of at least {count}."
            )
        return axes_of(
            self.array.shape, network.spec, network.channels, self.names, coloured=self.rgb
        )

    @property
    def names(self) -> tuple[str, ...] | None:
        """What the data's axes are called, by the layer or else by themselves; None: not known."""
        if not is_named(self.labels):
            return names_of(self.array)
        return (*self.labels, "c") if self.rgb else self.labels

    def plane(self, network: Network) -> tuple[int, ...]:
        """Return the index on each axis that the network does not take.

        Raises
        ------
        NeuroscopeError
            Where the image has too few axes, or others than the network's spec says.
        """
        return tuple(self._step(n) for n in self.axes(network).stack)

    def place(self, network: Network) -> Place:
        """Return where on the layer's axes a map of the plane lies.

        Of channels, which the network takes together, it lies over the one that is shown, or over
        all where they are drawn side by side.
        """
        axes = self.axes(network)
        others = [(n, self._step(n), 1) for n in axes.stack]
        at = axes.channel
        if at is not None and not self.rgb:
            count = int(self.array.shape[at])
            others.append((at, 0, count) if at in self.drawn else (at, self._step(at), 1))
        return Place(axes.space, others=tuple(others))

    def sides(self, network: Network) -> tuple[int, ...]:
        """Return the image's pixels along the axes that a network looks along."""
        return tuple(int(self.array.shape[n]) for n in self.axes(network).space)

    def depth(self, network: Network) -> tuple[int, ...]:
        """Return where in a volume the sliders stand, on its axes before the last two."""
        return tuple(self._step(n) for n in self.axes(network).space[:-2])

    def _step(self, axis: int) -> int:
        return min(max(int(self.steps[axis]), 0), int(self.array.shape[axis]) - 1)

    def image(self, network: Network) -> np.ndarray:
        """Return a copy of the plane that a network takes, read from where it lies.

        Raises
        ------
        NeuroscopeError
            Where a segmenter would have to take far too many pixels at once.
        """
        plane = self.lazily(network)
        sides = sides_of(network, plane.shape)
        if is_large(network, sides) and math.prod(sides) > _MOST:
            raise NeuroscopeError(
                f"“{self.name}” has {by(sides)} pixels, too many to be looked at at once; crop it, "
                f"or use the Neuroscope dock, which can explain it tile by tile or what is in view."
            )
        return np.array(plane[...])

    def glance(self, network: Network) -> tuple[np.ndarray, Window | None]:
        """Return the plane that a network takes, or its middle and where that is of a large one."""
        plane = self.lazily(network)
        sides = sides_of(network, plane.shape)
        if not is_large(network, sides):
            return self.image(network), None
        window = middle(sides)
        return np.array(plane[cut_of(network, plane.shape, window)]), window

    def lazily(self, network: Network) -> ArrayView:
        """Return the plane that a network takes, in its order; only what is sliced is read."""
        axes = self.axes(network)
        return ArrayView(self.array, {n: self._step(n) for n in axes.stack}, axes.order)


def axes_of_layer(layer: Any, network: Network) -> ImageAxes:
    """Return which of an image layer's axes is which to a network; raises as `ShownImage.axes`."""
    return _without_steps(layer).axes(network)


def names_of_layer(layer: Any) -> tuple[str, ...]:
    """Return what the axes of an image layer's data are called; () where that is not known."""
    return _without_steps(layer).names or ()


def _without_steps(layer: Any) -> ShownImage:
    return ShownImage(layer.name, finest(layer), bool(layer.rgb), (), labels_of(layer))


def labels_of(layer: Any) -> tuple[str, ...]:
    """Return what a layer's axes are called."""
    return tuple(str(label) for label in layer.axis_labels)


def is_named(labels: Sequence[str]) -> bool:
    """Whether a layer's axes were given names: napari's own are numbers."""
    return any(not label.lstrip("-").isdigit() for label in labels)


def finest(layer: Any) -> Any:
    """Return an image layer's array; of a multiscale one, its finest level."""
    return layer.data[0] if getattr(layer, "multiscale", False) else layer.data


def by(sides: Sequence[int]) -> str:
    """Return sizes in words, such as “16,384 × 16,384”."""
    return " × ".join(f"{n:,}" for n in sides)

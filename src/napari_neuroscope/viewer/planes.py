"""Which part of an image layer a network looks at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.network import Network
from napari_neuroscope.engine.parts import cut_of, is_large, middle, sides_of
from napari_neuroscope.engine.tiles import Window
from napari_neuroscope.viewer.pixels import shown_index

# Of more pixels no segmenter's pass fits a memory.
_MOST = 1 << 26


@dataclass(frozen=True, eq=False)
class Shown:
    """An image layer and where the sliders stand on it, taken at one moment.

    Attributes
    ----------
    name, data, rgb
        Of the layer; of a multiscale one, the finest level.
    steps
        The index on each of the layer's own axes at which the sliders stand.
    """

    name: str
    data: Any
    rgb: bool
    steps: tuple[int, ...]

    @classmethod
    def of(cls, layer: Any, viewer: Any) -> Shown:
        """Take what a viewer shows of a layer."""
        data = finest(layer)
        # Steps are counted over all layers, so where they stand in this one is asked of the world.
        return cls(layer.name, data, bool(layer.rgb), shown_index(layer, viewer))

    def plane(self, network: Network) -> tuple[int, ...]:
        """Return the index on each axis before those that the network takes.

        Raises
        ------
        NeuroscopeError
            Where the image has too few axes.
        """
        axes = len(network.spec.input.space)
        ndim = self.data.ndim - self.rgb
        behind = ndim - axes
        if behind < 0:
            raise NeuroscopeError(
                f"The layer “{self.name}” has {ndim} axes, but the network looks along {axes}; "
                f"choose an image of at least {axes}."
            )
        has_channels = (not self.rgb and behind > 0 and network.channels > 1
                        and self.data.shape[behind - 1] == network.channels)  # fmt: skip
        behind -= has_channels
        return tuple(
            min(max(int(step), 0), size - 1)
            for step, size in zip(self.steps[:behind], self.data.shape, strict=False)
        )

    def place(self, network: Network) -> tuple[int, ...]:
        """Return the index on each axis before the spatial ones, where a map of them lies.

        It is the plane, and the step on an axis of channels, which the network takes whole.
        """
        plane = self.plane(network)
        rest = range(len(plane), self.data.ndim - self.rgb - len(network.spec.input.space))
        return (*plane, *(min(max(self.steps[n], 0), self.data.shape[n] - 1) for n in rest))

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
        return np.array(self.data[self.plane(network)])

    def glance(self, network: Network) -> tuple[np.ndarray, Window | None]:
        """Return the plane that a network takes, or its middle and where that is of a large one."""
        plane = self.lazily(network)
        sides = sides_of(network, plane.shape)
        if not is_large(network, sides):
            return self.image(network), None
        window = middle(sides)
        return np.array(plane[cut_of(network, plane.shape, window)]), window

    def lazily(self, network: Network) -> Plane:
        """Return the plane that a network takes, of which only what is sliced is read."""
        return Plane(self.data, self.plane(network))


class Plane:
    """A plane of an array, of which only what is sliced is read.

    Parameters
    ----------
    data
        What can be sliced, of NumPy, dask, zarr or xarray.
    index
        The step on each of its first axes.
    """

    def __init__(self, data: Any, index: tuple[int, ...]) -> None:
        self._data, self._index = data, index
        self.shape = tuple(int(n) for n in data.shape[len(index) :])
        self.dtype = np.dtype(data.dtype)

    def __getitem__(self, cut: Any) -> np.ndarray:
        return np.asarray(self._data[(*self._index, *cut)])


def finest(layer: Any) -> Any:
    """Return an image layer's array; of a multiscale one, its finest level."""
    return layer.data[0] if getattr(layer, "multiscale", False) else layer.data


def by(sides: Sequence[int]) -> str:
    """Return sizes in words, such as “16,384 × 16,384”."""
    return " × ".join(f"{n:,}" for n in sides)

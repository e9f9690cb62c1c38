"""Where an image's pixels lie in the viewer's world and in other layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError


@dataclass(frozen=True, eq=False)
class Pixels:
    """The pixels of the plane of an image that a network looks at, taken at one moment.

    Pixel p has its centre at ``matrix · p + offset`` of the viewer's world.

    Attributes
    ----------
    name
        The image's.
    plane
        The index on each of the layer's axes that the network doesn't look along.
    shape
        (*space).
    matrix, offset
        (axes of the world, axes of the plane), and one number an axis of the world.
    space
        Which of the layer's axes the network looks along, in its order.
    """

    name: str
    plane: tuple[int, ...]
    shape: tuple[int, ...]
    matrix: np.ndarray
    offset: np.ndarray
    space: tuple[int, ...]
    _linear: np.ndarray
    _moved: np.ndarray

    @classmethod
    def of(cls, layer: Any, axes: int | Sequence[int], viewer: Any) -> Pixels:
        """Take what is shown of an image layer.

        Parameters
        ----------
        layer
            The layer.
        axes
            Which of its axes a network looks along, in the network's order; a number: so many of
            the last.
        viewer
            Where it is shown.

        Raises
        ------
        NeuroscopeError
            Where it has too few axes.
        """
        finest = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
        sizes = finest.shape[: layer.ndim]
        if isinstance(axes, int) and axes <= layer.ndim:
            axes = range(layer.ndim - axes, layer.ndim)
        if isinstance(axes, int):
            raise NeuroscopeError(
                f"The layer “{layer.name}” has {layer.ndim} axes, but the network looks along "
                f"{axes}; choose an image of at least {axes}."
            )
        linear, moved = to_world(layer, viewer)
        point = np.asarray(viewer.dims.point, float)
        index = shown_index(layer, viewer)
        space = list(axes)
        others = [n for n in range(layer.ndim) if n not in space]
        plane = tuple(int(np.clip(index[n], 0, sizes[n] - 1)) for n in others)
        # Axes that the image does not have stand where the sliders stand.
        before = max(viewer.dims.ndim - layer.ndim, 0)
        matrix = np.concatenate([np.zeros((before, len(space))), linear[:, space]])
        of_plane = linear[:, others] @ np.array(plane, float)
        offset = np.concatenate([point[:before], of_plane + moved])
        shape = tuple(int(sizes[n]) for n in space)
        return cls(layer.name, plane, shape, matrix, offset, tuple(space), linear, moved)

    @property
    def others(self) -> tuple[int, ...]:
        """Which of the layer's axes the network doesn't look along."""
        return tuple(n for n in range(len(self._moved)) if n not in self.space)

    @property
    def world_axes(self) -> tuple[int, ...]:
        """The world's axis of each that the network looks along."""
        before = len(self.offset) - len(self._moved)
        return tuple(before + n for n in self.space)

    def index(self, pixel: Sequence[int]) -> np.ndarray:
        """Return where in the layer's own data a pixel lies."""
        index = np.zeros(len(self._moved))
        index[list(self.space)], index[list(self.others)] = pixel, self.plane
        return index

    def into(self, layer: Any, viewer: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return matrix and offset with which ``matrix · p + offset`` is pixel p in a layer's data."""
        linear, moved = to_world(layer, viewer)
        # The layer may have just been given more axes than the viewer knows of: it begins there.
        more = max(layer.ndim - len(self.offset), 0)
        matrix = np.concatenate([np.zeros((more, self.matrix.shape[1])), self.matrix])
        offset = np.concatenate([moved[:more], self.offset])
        return (
            np.linalg.solve(linear, matrix[-layer.ndim :]),
            np.linalg.solve(linear, offset[-layer.ndim :] - moved),
        )

    def at(self, position: Sequence[float]) -> tuple[int, ...] | None:
        """Return the pixel that holds a position of the world; None outside of the image."""
        within = np.asarray(position, float)[-len(self._moved) :]
        at = np.linalg.solve(self._linear, within - self._moved)[list(self.space)]
        pixel = np.floor(at + 0.5).astype(int)
        inside = all(0 <= n < size for n, size in zip(pixel, self.shape, strict=True))
        return tuple(int(n) for n in pixel) if inside else None


def plane_axes(matrix: np.ndarray) -> list[int]:
    """Return along which two axes of a layer a plane lies, whose pixels a matrix brings there.

    The last two, where it lies across them all.
    """
    along = [n for n, row in enumerate(matrix) if np.abs(row).max(initial=0) > 1e-9]
    return along if len(along) == 2 else list(range(max(len(matrix) - 2, 0), len(matrix)))


def shown_index(layer: Any, viewer: Any) -> tuple[int, ...]:
    """Return the index on each axis of a layer at which the sliders stand, perhaps outside of it."""
    linear, moved = to_world(layer, viewer)
    point = np.asarray(viewer.dims.point, float)[-layer.ndim :]
    # A layer that has just been given more axes, or is just removed, may have more than the viewer.
    point = np.concatenate([moved[: layer.ndim - len(point)], point])
    at = np.linalg.solve(linear, point - moved)
    return tuple(int(n) for n in np.floor(np.round(at, 6) + 0.5))


def go_to_step(layer: Any, axis: int, step: int, viewer: Any) -> None:
    """Move the slider of one of a layer's axes, where the viewer has that."""
    slider = viewer.dims.ndim - layer.ndim + axis
    if slider >= 0:
        viewer.dims.set_current_step(slider, step)


def to_world(layer: Any, viewer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return matrix and offset from a layer's data to the world, in the viewer's units."""
    zero = np.zeros(layer.ndim)
    moved = np.asarray(layer.data_to_world(zero), float)
    columns = [np.asarray(layer.data_to_world(unit), float) - moved for unit in np.eye(layer.ndim)]
    units = _unit_factors(layer, viewer)
    return units[:, None] * np.stack(columns, axis=1), units * moved


def _unit_factors(layer: Any, viewer: Any) -> np.ndarray:
    """Return how many of the viewer's units one of the layer's is: the canvas draws by these."""
    world = getattr(viewer.dims, "units", None)
    units = layer.units
    if world is None or len(world) < len(units):
        return np.ones(layer.ndim)
    from pint import get_application_registry

    base = get_application_registry().get_base_units
    return np.array(
        [base(a)[0] / base(b)[0] for a, b in zip(units, world[-len(units) :], strict=True)], float
    )

"""Where a new layer lies: exactly over the image that it was computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.overlays.place import Place
from napari_neuroscope.engine.images.grid import Grid


@dataclass(frozen=True)
class Placement:
    """The transform of an image layer, and which plane of it was explained.

    Attributes
    ----------
    scale, translate
        One number an axis of the layer.
    rotate, shear
        Square matrices over the axes.
    affine
        The homogeneous matrix, one larger than the number of axes.
    units, axis_labels
        One word an axis.
    place
        Which of the layer's axes the grid's are, and where on the others it lies.
    """

    scale: np.ndarray
    translate: np.ndarray
    rotate: np.ndarray
    shear: np.ndarray
    affine: np.ndarray
    units: tuple[str, ...]
    axis_labels: tuple[str, ...]
    place: Place = field(default_factory=Place)

    @classmethod
    def of(
        cls, source: Any, axes: Sequence[str], plane: Sequence[int] | Place = (), stack: int = 0
    ) -> Placement:
        """Read the transform of a napari layer, of attributes as a mapping, or of nothing.

        Parameters
        ----------
        source
            The layer, a mapping with some of ``scale``, ``translate``, ..., or None.
        axes
            The names of the grid's axes, used where the source gives none.
        plane
            Where on the source's axes the grid lies; or the index on each of the source's axes
            before the spatial ones, and after those of a stack.
        stack
            How many of the grid's axes are those of a stack.

        Raises
        ------
        NeuroscopeError
            Where the source has been given other axes since.
        """

        def get(name: str) -> Any:
            return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)

        place = Place.of(plane, len(axes) - stack, stack)
        ndim = place.ndim
        scale = _or(get("scale"), np.ones(ndim))
        if len(scale) != ndim:
            raise NeuroscopeError(
                f"The image “{get('name')}” has other axes now than when it was looked at; explain it "
                f"anew."
            )
        labels = get("axis_labels")
        if labels is None or all(str(label).lstrip("-").isdigit() for label in labels):
            # napari's own defaults are numbers; a name says more.
            named = dict(zip((*place.stack, *place.space), axes, strict=True))
            labels = tuple(named.get(n, f"axis {n}") for n in range(ndim))
        units = get("units")
        return cls(
            scale=scale,
            translate=_or(get("translate"), np.zeros(ndim)),
            rotate=_rotation(get("rotate"), ndim),
            shear=_shear(get("shear"), ndim),
            affine=_affine(get("affine"), ndim),
            units=tuple(str(unit) for unit in units) if units is not None else ("pixel",) * ndim,
            axis_labels=tuple(str(label) for label in labels),
            place=place,
        )

    def attributes(self, grid: Grid, leading: Sequence[str] = ()) -> dict[str, Any]:
        """Return the layer attributes of an array over `grid`, laid out, after some leading axes.

        Pixel i of the grid has its centre at ``scale · i + offset`` of the image, which the
        image's own transform then carries on: so scales multiply, and the offset goes through
        rotation, shear and scale into the translation.
        """
        step, offset = np.ones(len(self.scale)), np.zeros(len(self.scale))
        image_axes = [*self.place.stack, *self.place.space]
        step[image_axes], offset[image_axes] = grid.scale, grid.offset
        for axis, start, count in self.place.others:
            # One step that lies over several of the image's.
            step[axis], offset[axis] = count, start + (count - 1) / 2
        linear = self.rotate @ self.shear @ np.diag(self.scale)
        first = len(leading)
        return {
            "scale": np.concatenate([np.ones(first), self.scale * step]),
            "translate": np.concatenate([np.zeros(first), self.translate + linear @ offset]),
            "rotate": _grown(self.rotate, first),
            "shear": _grown(self.shear, first),
            "affine": _grown(self.affine, first),
            "units": ("pixel",) * first + self.units,
            "axis_labels": (*leading, *self.axis_labels),
        }


def _or(value: Any, default: np.ndarray) -> np.ndarray:
    return default if value is None else np.asarray(value, float)


def _grown(matrix: np.ndarray, first: int) -> np.ndarray:
    """Return a matrix that leaves `first` more axes before its own as they are."""
    grown = np.eye(len(matrix) + first)
    grown[first:, first:] = matrix
    return grown


def _rotation(rotate: Any, ndim: int) -> np.ndarray:
    if rotate is None:
        return np.eye(ndim)
    if np.ndim(rotate) == 0:
        angle = np.deg2rad(float(rotate))
        turned = np.eye(ndim)
        turned[-2:, -2:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        return turned
    return np.asarray(rotate, float)


def _shear(shear: Any, ndim: int) -> np.ndarray:
    if shear is None:
        return np.eye(ndim)
    values = np.asarray(shear, float)
    if values.ndim == 2:
        return values
    matrix = np.eye(ndim)
    matrix[np.triu_indices(ndim, 1)] = values
    return matrix


def _affine(affine: Any, ndim: int) -> np.ndarray:
    if affine is None:
        return np.eye(ndim + 1)
    return np.asarray(getattr(affine, "affine_matrix", affine), float)

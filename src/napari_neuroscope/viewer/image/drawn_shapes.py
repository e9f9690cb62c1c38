"""What is drawn or pointed at in a layer, as a region of an image's own pixels.

A pixel belongs to a shape where its centre lies inside or on the border, and to a point or a line
that passes through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from typing import Any

import numpy as np
from skimage.draw import line, polygon

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.passes.target import Mask
from napari_neuroscope.viewer.image.image_pixels import Pixels, plane_axes
from napari_neuroscope.viewer.image.region_checks import (
    PARTLY_OUTSIDE,
    RegionExtent,
    kind_of,
    leave_image,
    nearest_pixel,
    outside_in_words,
)

# Shapes are kept as float32: what lies on a pixel's centre may miss it by this.
_DIGITS = 4


@dataclass(frozen=True, eq=False)
class DrawnRegions:
    """Shapes or points of a layer, and where an image's pixels lie among them.

    Attributes
    ----------
    outlines
        The kind of each, and its vertices (vertex, axis) in the layer's data, of whose axes those
        along the image's last two come last.
    """

    words: str
    pixels: Pixels
    outlines: tuple[tuple[str, np.ndarray], ...]
    matrix: np.ndarray
    offset: np.ndarray

    @classmethod
    def of(cls, layer: Any, extent: RegionExtent, pixels: Pixels, viewer: Any) -> DrawnRegions:
        """Take the shapes or points of a layer."""
        noun, nouns = ("point", "points") if kind_of(layer) == "points" else ("shape", "shapes")
        if not len(layer.data):
            raise NeuroscopeError(f"The layer “{layer.name}” is empty; draw {nouns} in it first.")
        which = sorted(layer.selected_data) if extent == "selected" else range(len(layer.data))
        if not which:
            raise NeuroscopeError(
                f"No {noun} of “{layer.name}” is selected; select some, or choose all of them."
            )
        types = layer.shape_type if noun == "shape" else [noun] * len(layer.data)
        outlines = tuple(
            (str(types[n]), np.atleast_2d(np.array(layer.data[n], float))) for n in which
        )
        words = f"all {nouns} of “{layer.name}”"
        if extent == "selected":
            numbers = ", ".join(str(n) for n in which[:8]) + (", …" if len(which) > 8 else "")
            words = f"{noun if len(which) == 1 else nouns} {numbers} of “{layer.name}”"
        matrix, offset = pixels.into(layer, viewer)
        order = _plane_last(matrix, outlines)
        turned = tuple((kind, vertices[:, order]) for kind, vertices in outlines)
        return cls(words, pixels, turned, matrix[order], offset[order])

    @cached_property
    def mask(self) -> Mask:
        """The region on the image's pixels.

        Raises
        ------
        NeuroscopeError
            Where nothing of it lies on the image, or it has no area.
        """
        region = np.zeros(self.pixels.shape, bool)
        met = flat = leaves = touches = False
        for index, linear, start in self._planes():
            for kind, vertices in self.outlines:
                here = self._on_plane(vertices, index)
                if not here.any():
                    continue
                met = True
                at = np.linalg.solve(linear, (vertices[:, -2:] - start).T).T
                if kind not in _LINES and not _has_area(at):
                    flat = True
                    continue
                leaves |= leave_image(_extent(kind, at), self.pixels.shape[-2:])
                drawn = _DRAWN[kind](at, self.pixels.shape[-2:]) & here
                touches |= _touches(at, self.pixels.shape[-2:])
                region[index] |= drawn
        if not region.any():
            self._refuse(met=met, flat=flat, touches=touches)
        return Mask(region, self.words, PARTLY_OUTSIDE if leaves else ())

    def _planes(self) -> Iterator[tuple[tuple[int, ...], np.ndarray, np.ndarray]]:
        """Yield the planes of the image with where they lie along the layer's last two axes."""
        linear = self.matrix[-2:, -2:]
        if abs(np.linalg.det(linear)) < 1e-12:
            raise NeuroscopeError(
                f"The layer of {self.words} lies across the image's plane; draw in a layer that "
                f"lies along it."
            )
        for index in product(*(range(size) for size in self.pixels.shape[:-2])):
            first = np.array(index, float)
            yield index, linear, self.offset[-2:] + self.matrix[-2:, :-2] @ first

    def _on_plane(self, vertices: np.ndarray, index: Sequence[int]) -> np.ndarray:
        """Return where on a plane of the image a shape's own plane is met."""
        behind = self.matrix[:-2]
        at = self.offset[:-2] + behind[:, :-2] @ np.array(index, float)
        shape = self.pixels.shape[-2:]
        met = np.ones((1, 1), bool)
        for axis, start in enumerate(at):
            planes = nearest_pixel(vertices[:, axis])
            if (planes != planes[0]).any():
                # A shape across the planes is no region of any of them.
                return np.zeros((1, 1), bool)
            down, along = behind[axis, -2:]
            if abs(down) < 1e-9 and abs(along) < 1e-9:
                met = met & (nearest_pixel(start) == planes[0])
            else:
                y, x = np.ogrid[: shape[0], : shape[1]]
                met = met & (nearest_pixel(start + down * y + along * x) == planes[0])
        return met

    def _refuse(self, *, met: bool, flat: bool, touches: bool) -> None:
        problem = outside_in_words(self.words, self.pixels.name)
        if not met:
            problem = (
                f"The region ({self.words}) lies on other planes than the one that is shown; move "
                f"the sliders to it."
            )
        elif touches:
            problem = f"The region ({self.words}) holds no pixel's centre; draw it larger."
        elif flat:
            problem = f"The region ({self.words}) has no area; draw around something."
        raise NeuroscopeError(problem)


def _plane_last(matrix: np.ndarray, outlines: Sequence[tuple[str, np.ndarray]]) -> list[int]:
    """Return a layer's axes, the last those along the image's last two where shapes lie in them."""
    along = plane_axes(matrix[:, -2:])
    others = [n for n in range(len(matrix)) if n not in along]
    lie = any(
        not np.ptp(nearest_pixel(vertices[:, others]), axis=0).any() for _, vertices in outlines
    )
    return [*others, *along] if lie else list(range(len(matrix)))


def _has_area(at: np.ndarray) -> bool:
    return len(at) > 2 and bool(np.linalg.svd(at - at.mean(0), compute_uv=False)[1] > 1e-3)


def _touches(at: np.ndarray, shape: Sequence[int]) -> bool:
    """Whether the box around places meets the image."""
    return bool((at.max(0) >= -0.5).all() and (at.min(0) <= np.array(shape) - 0.5).all())


def _half_axes(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre of an ellipse and its half axes as columns, from its box's corners."""
    return at.mean(0), np.stack([at[1] - at[0], at[2] - at[1]], axis=1) / 2


def _extent(kind: str, at: np.ndarray) -> np.ndarray:
    if kind != "ellipse":
        return at
    centre, axes = _half_axes(at)
    reach = np.linalg.norm(axes, axis=1)
    return np.stack([centre - reach, centre + reach])


def _filled(at: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    mask, at = np.zeros(shape, bool), np.round(at, _DIGITS)
    mask[polygon(at[:, 0], at[:, 1], shape)] = True
    return mask


def _ellipse(at: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    centre, axes = _half_axes(at)
    inverse = np.linalg.inv(axes)
    y, x = np.ogrid[: shape[0], : shape[1]]
    across, along = y - centre[0], x - centre[1]
    first = inverse[0, 0] * across + inverse[0, 1] * along
    second = inverse[1, 0] * across + inverse[1, 1] * along
    return np.asarray(first**2 + second**2 <= 1 + 1e-6)


def _along(at: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the pixels on the way through some places."""
    places = nearest_pixel(at)
    mask = np.zeros(shape, bool)
    for start, end in pairwise([places[0], *places]):
        way = np.stack(line(*start, *end), axis=1)
        way = way[((way >= 0) & (way < shape)).all(1)]
        mask[tuple(way.T)] = True
    return mask


_LINES = ("point", "line", "path")
_DRAWN: dict[str, Callable[[np.ndarray, tuple[int, ...]], np.ndarray]] = {
    "polygon": _filled,
    "rectangle": _filled,
    "ellipse": _ellipse,
    "line": _along,
    "path": _along,
    "point": _along,
}

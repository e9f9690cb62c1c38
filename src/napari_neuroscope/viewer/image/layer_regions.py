"""What is drawn, pointed at or painted in a layer as a region of an image's own pixels.

A pixel belongs to a shape where its centre lies inside or on the border, to a label where its
centre lies in one of the label's pixels, and to a point or a line that passes through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from typing import Any, Literal

import numpy as np
from skimage.draw import line, polygon

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.passes.target import Mask
from napari_neuroscope.viewer.image.image_pixels import Pixels, plane_axes

Part = Literal["all", "selected"]
# Shapes are kept as float32: what lies on a pixel's centre may miss it by this.
_DIGITS = 4


@dataclass(frozen=True)
class LayerRegion:
    """The choice of a layer as a region: all that is in it, or what is selected."""

    layer: Any
    part: Part = "all"

    @property
    def title(self) -> str:
        """The region as it is offered."""
        what = {"shapes": "shapes", "points": "points", "labels": "labels"}[kind_of(self.layer)]
        if self.part == "all":
            return f"{self.layer.name}: all {what}"
        return f"{self.layer.name}: selected {what if what != 'labels' else 'label'}"

    def take(self, pixels: Pixels, viewer: Any) -> DrawnRegions | PaintedRegions:
        """Take it as it is now, to be brought to the image's pixels later.

        Raises
        ------
        NeuroscopeError
            Where there is nothing in the layer, or nothing selected.
        """
        if self.layer not in viewer.layers:
            raise NeuroscopeError(
                f"The layer “{self.layer.name}” was removed; choose another region."
            )
        if kind_of(self.layer) == "labels":
            return PaintedRegions.of(self.layer, pixels, viewer).chosen(
                None if self.part == "all" else int(self.layer.selected_label)
            )
        return DrawnRegions.of(self.layer, self.part, pixels, viewer)


@dataclass(frozen=True, eq=False)
class TrueClassLabels:
    """Where each class truly is, as a layer of labels says.

    Attributes
    ----------
    painting
        Its labels.
    known
        The class's name of each label, where the layer's features have a column “class”.
    """

    painting: PaintedRegions
    known: Mapping[int, str]

    @classmethod
    def of(cls, layer: Any, pixels: Pixels, viewer: Any) -> TrueClassLabels:
        """Take the labels of a layer as they are now."""
        features = layer.features
        known = {}
        if "class" in features:
            labels = features["index"] if "index" in features else range(len(features))
            known = {
                int(label): str(name) for label, name in zip(labels, features["class"], strict=True)
            }
        return cls(PaintedRegions.of(layer, pixels, viewer), known)

    def mask(self, index: int, names: Sequence[str]) -> Mask:
        """Return where a class truly is."""
        return self.painting.true_class(index, names, self.known)


def kind_of(layer: Any) -> str:
    """Return "shapes", "points" or "labels"; "" for a layer that holds no regions."""
    from napari.layers import Labels, Points, Shapes

    kinds = {Shapes: "shapes", Points: "points", Labels: "labels"}
    return next((name for kind, name in kinds.items() if isinstance(layer, kind)), "")


@dataclass(frozen=True, eq=False)
class PaintedRegions:
    """The labels of a layer, and where an image's pixels lie among them.

    Attributes
    ----------
    label
        The label that is the region; None: all but the background.
    """

    name: str
    pixels: Pixels
    data: Any
    matrix: np.ndarray
    offset: np.ndarray
    label: int | None = None

    @classmethod
    def of(cls, layer: Any, pixels: Pixels, viewer: Any) -> PaintedRegions:
        """Take the labels of a layer."""
        data = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
        matrix, offset = pixels.into(layer, viewer)
        # Axes along which all of the image lies at one index are cut there.
        fixed = np.all(np.abs(matrix) < 1e-9, axis=1)
        index = np.floor(offset + 0.5).astype(int)
        outside = any(not 0 <= index[n] < data.shape[n] for n in np.flatnonzero(fixed))
        cut = tuple(
            (slice(0, 0) if outside else int(index[n])) if fixed[n] else slice(None)
            for n in range(len(fixed))
        )
        data = data[cut]
        if outside:
            data = np.zeros([1] * int((~fixed).sum()), int)
        elif isinstance(data, np.ndarray):
            # It may be painted on while it is looked at.
            data = data.copy()
        return cls(layer.name, pixels, data, matrix[~fixed], offset[~fixed])

    def chosen(self, label: int | None) -> PaintedRegions:
        """Return it with one label as the region.

        Raises
        ------
        NeuroscopeError
            Where that is the background.
        """
        if label == 0:
            raise NeuroscopeError(
                f"The background (label 0) of “{self.name}” is selected; select another label."
            )
        return PaintedRegions(self.name, self.pixels, self.data, self.matrix, self.offset, label)

    @cached_property
    def _values(self) -> np.ndarray:
        """The layer's labels, read once where they lie in a file."""
        return np.asarray(self.data)

    @cached_property
    def numbers(self) -> np.ndarray:
        """The label at the centre of each of the image's pixels (*space); 0 outside."""
        return self._read(self._values, outside=0)

    def _read(self, data: np.ndarray, outside: int) -> np.ndarray:
        shape = self.pixels.shape
        square = self.matrix.shape == (len(shape), len(shape))
        if square and np.allclose(self.matrix, np.diag(np.diag(self.matrix)), rtol=0, atol=1e-9):
            axes = [
                _nearest(step * np.arange(size) + start)
                for step, size, start in zip(np.diag(self.matrix), shape, self.offset, strict=True)
            ]
            return _looked_up(data, np.ix_(*axes), outside)
        found = np.zeros(shape, data.dtype)
        rest = np.indices(shape[1:]).reshape(len(shape) - 1, -1)
        within = self.matrix[:, 1:] @ rest + self.offset[:, None]
        for row in range(shape[0]):
            place = tuple(_nearest(within + self.matrix[:, :1] * row))
            found[row] = _looked_up(data, place, outside).reshape(shape[1:])
        return found

    @cached_property
    def mask(self) -> Mask:
        """The region on the image's pixels.

        Raises
        ------
        NeuroscopeError
            Where nothing of it lies on the image.
        """
        if self.label is None:
            values, words = self.numbers > 0, f"all labels of “{self.name}”"
        else:
            values, words = self.numbers == self.label, f"label {self.label} of “{self.name}”"
        if not values.any():
            data = self._values
            exists = (data > 0).any() if self.label is None else (data == self.label).any()
            if exists:
                raise NeuroscopeError(_outside(words, self.pixels.name))
            raise NeuroscopeError(
                f"There is nothing of {words} on the plane that is shown; paint some, or choose "
                f"another region."
            )
        return Mask(values, words, self._notes())

    def true_class(self, index: int, names: Sequence[str], known: Mapping[int, str]) -> Mask:
        """Return where a class truly is, where the labels count classes.

        Parameters
        ----------
        index, names
            The class, and the names of all.
        known
            The class's name of each label; where it is empty, labels are the classes' numbers.

        Raises
        ------
        NeuroscopeError
            Where the labels count something else, or the class is nowhere.
        """
        numbers = self._read(self._values.astype(np.int64), outside=-1)
        if known:
            wanted = [label for label, name in known.items() if name == names[index]]
            values = np.isin(numbers, wanted) & (numbers >= 0)
        elif (most := int(numbers.max(initial=0))) >= len(names):
            raise NeuroscopeError(
                f"“{self.name}” has labels up to {most}, but the network {len(names)} classes, so "
                f"they don't say where a class truly is; name each label's class in a column "
                f"“class” of the layer's features, or choose the region of all its labels."
            )
        else:
            values = numbers == index
        if not values.any():
            raise NeuroscopeError(
                f"“{self.name}” has no “{names[index]}” on the plane that is shown; choose another "
                f"class or region."
            )
        return Mask(values, f"ground truth “{self.name}”")

    def _notes(self) -> tuple[str, ...]:
        if self.matrix.shape[0] != self.matrix.shape[1]:
            return ()
        data = self._values
        painted = np.argwhere(data > 0 if self.label is None else data == self.label)
        at = np.linalg.solve(self.matrix, (painted - self.offset).T)
        return _PARTLY if _leaves(at.T, self.pixels.shape) else ()


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
    def of(cls, layer: Any, part: Part, pixels: Pixels, viewer: Any) -> DrawnRegions:
        """Take the shapes or points of a layer."""
        one, many = ("point", "points") if kind_of(layer) == "points" else ("shape", "shapes")
        if not len(layer.data):
            raise NeuroscopeError(f"The layer “{layer.name}” is empty; draw {many} in it first.")
        which = sorted(layer.selected_data) if part == "selected" else range(len(layer.data))
        if not which:
            raise NeuroscopeError(
                f"No {one} of “{layer.name}” is selected; select some, or choose all of them."
            )
        types = layer.shape_type if one == "shape" else [one] * len(layer.data)
        outlines = tuple(
            (str(types[n]), np.atleast_2d(np.array(layer.data[n], float))) for n in which
        )
        words = f"all {many} of “{layer.name}”"
        if part == "selected":
            numbers = ", ".join(str(n) for n in which[:8]) + (", …" if len(which) > 8 else "")
            words = f"{one if len(which) == 1 else many} {numbers} of “{layer.name}”"
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
        found = np.zeros(self.pixels.shape, bool)
        met = flat = leaves = touches = False
        for index, linear, start in self._planes():
            for kind, vertices in self.outlines:
                here = self._on_plane(vertices, index)
                if not here.any():
                    continue
                met = True
                at = np.linalg.solve(linear, (vertices[:, -2:] - start).T).T
                if kind not in _OPEN and not _has_area(at):
                    flat = True
                    continue
                leaves |= _leaves(_extent(kind, at), self.pixels.shape[-2:])
                drawn = _DRAWN[kind](at, self.pixels.shape[-2:]) & here
                touches |= _touches(at, self.pixels.shape[-2:])
                found[index] |= drawn
        if not found.any():
            self._refuse(met=met, flat=flat, touches=touches)
        return Mask(found, self.words, _PARTLY if leaves else ())

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
            own = _nearest(vertices[:, axis])
            if (own != own[0]).any():
                # A shape across the planes is no region of any of them.
                return np.zeros((1, 1), bool)
            down, along = behind[axis, -2:]
            if abs(down) < 1e-9 and abs(along) < 1e-9:
                met = met & (_nearest(start) == own[0])
            else:
                y, x = np.ogrid[: shape[0], : shape[1]]
                met = met & (_nearest(start + down * y + along * x) == own[0])
        return met

    def _refuse(self, *, met: bool, flat: bool, touches: bool) -> None:
        problem = _outside(self.words, self.pixels.name)
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
    lie = any(not np.ptp(_nearest(vertices[:, others]), axis=0).any() for _, vertices in outlines)
    return [*others, *along] if lie else list(range(len(matrix)))


def _nearest(at: Any) -> np.ndarray:
    # Half-way goes up, as everywhere here; rounding errors of transforms must not decide.
    return np.floor(np.round(at, 6) + 0.5).astype(int)


def _looked_up(data: np.ndarray, index: tuple[np.ndarray, ...], outside: int) -> np.ndarray:
    """Return data at an index that may reach outside of it."""
    inside: Any = True
    clipped = []
    for at, size in zip(index, data.shape, strict=True):
        inside = inside & (at >= 0) & (at < size)
        clipped.append(np.clip(at, 0, size - 1))
    return np.where(inside, data[tuple(clipped)], outside).astype(data.dtype)


def _has_area(at: np.ndarray) -> bool:
    return len(at) > 2 and bool(np.linalg.svd(at - at.mean(0), compute_uv=False)[1] > 1e-3)


def _leaves(at: np.ndarray, shape: Sequence[int]) -> bool:
    """Whether some of the places lie outside of the image."""
    return bool(((at < -0.5) | (at > np.array(shape) - 0.5)).any())


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
    return first**2 + second**2 <= 1 + 1e-6


def _along(at: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the pixels on the way through some places."""
    places = _nearest(at)
    mask = np.zeros(shape, bool)
    for start, end in pairwise([places[0], *places]):
        way = np.stack(line(*start, *end), axis=1)
        way = way[((way >= 0) & (way < shape)).all(1)]
        mask[tuple(way.T)] = True
    return mask


_PARTLY = ("a part of the region lies outside of the image and is left out",)
_OPEN = ("point", "line", "path")
_DRAWN: dict[str, Callable[[np.ndarray, tuple[int, ...]], np.ndarray]] = {
    "polygon": _filled,
    "rectangle": _filled,
    "ellipse": _ellipse,
    "line": _along,
    "path": _along,
    "point": _along,
}


def _outside(words: str, image: str) -> str:
    return (
        f"The region ({words}) lies outside of the image “{image}”; choose or draw one that lies "
        f"on it."
    )

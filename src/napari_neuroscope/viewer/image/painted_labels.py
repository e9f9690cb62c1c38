"""What is painted in a layer of labels, as a region of an image's own pixels.

A pixel belongs to a label where its centre lies in one of the label's pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.overlays.class_labels import class_of_label
from napari_neuroscope.engine.passes.target import Mask
from napari_neuroscope.viewer.image.image_pixels import Pixels
from napari_neuroscope.viewer.image.region_checks import (
    PARTLY_OUTSIDE,
    leave_image,
    nearest_pixel,
    outside_in_words,
)


@dataclass(frozen=True, eq=False)
class PaintedRegions:
    """The labels of a layer, and where an image's pixels lie among them.

    Attributes
    ----------
    label
        The label that is the region; None: all but the background.
    words
        What the region is called, where it is called otherwise than by its label and layer.
    """

    name: str
    pixels: Pixels
    labels: Any
    matrix: np.ndarray
    offset: np.ndarray
    label: int | None = None
    words: str = ""

    @classmethod
    def of(cls, layer: Any, pixels: Pixels, viewer: Any) -> PaintedRegions:
        """Take the labels of a layer."""
        labels = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
        matrix, offset = pixels.into(layer, viewer)
        # Axes along which all of the image lies at one index are cut there.
        fixed = np.all(np.abs(matrix) < 1e-9, axis=1)
        index = np.floor(offset + 0.5).astype(int)
        outside = any(not 0 <= index[n] < labels.shape[n] for n in np.flatnonzero(fixed))
        cut = tuple(
            (slice(0, 0) if outside else int(index[n])) if fixed[n] else slice(None)
            for n in range(len(fixed))
        )
        labels = labels[cut]
        if outside:
            labels = np.zeros([1] * int((~fixed).sum()), int)
        elif isinstance(labels, np.ndarray):
            # It may be painted on while it is looked at.
            labels = labels.copy()
        return cls(layer.name, pixels, labels, matrix[~fixed], offset[~fixed])

    def chosen(self, label: int | None, words: str = "") -> PaintedRegions:
        """Return it with one label as the region, which may be called by words of its own.

        Raises
        ------
        NeuroscopeError
            Where that is the background.
        """
        if label == 0:
            raise NeuroscopeError(
                f"The background (label 0) of “{self.name}” is selected; select another label."
            )
        return replace(self, label=label, words=words)

    @cached_property
    def _values(self) -> np.ndarray:
        """The layer's labels, read once where they lie in a file."""
        return np.asarray(self.labels)

    @property
    def _is_region(self) -> np.ndarray:
        return np.asarray(self._values > 0 if self.label is None else self._values == self.label)

    @cached_property
    def numbers(self) -> np.ndarray:
        """The label at the centre of each of the image's pixels (*space); 0 outside."""
        return self._read(self._values, outside=0)

    def _read(self, labels: np.ndarray, outside: int) -> np.ndarray:
        shape = self.pixels.shape
        square = self.matrix.shape == (len(shape), len(shape))
        if square and np.allclose(self.matrix, np.diag(np.diag(self.matrix)), rtol=0, atol=1e-9):
            axes = [
                nearest_pixel(step * np.arange(size) + start)
                for step, size, start in zip(np.diag(self.matrix), shape, self.offset, strict=True)
            ]
            return _looked_up(labels, np.ix_(*axes), outside)
        labels_at_pixels = np.zeros(shape, labels.dtype)
        rest = np.indices(shape[1:]).reshape(len(shape) - 1, -1)
        within = self.matrix[:, 1:] @ rest + self.offset[:, None]
        for row in range(shape[0]):
            place = tuple(nearest_pixel(within + self.matrix[:, :1] * row))
            labels_at_pixels[row] = _looked_up(labels, place, outside).reshape(shape[1:])
        return labels_at_pixels

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
        words = self.words or words
        if not values.any():
            if self._is_region.any():
                raise NeuroscopeError(outside_in_words(words, self.pixels.name))
            if self.words:
                raise NeuroscopeError(
                    f"There is no pixel of “{words}” in the image that is shown; choose another "
                    f"region."
                )
            raise NeuroscopeError(
                f"There is nothing of {words} on the plane that is shown; paint some, or choose "
                f"another region."
            )
        return Mask(values, words, self._notes())

    def true_class(
        self,
        index: int,
        names: Sequence[str],
        class_of_label: Mapping[int, str],
        void: int | None = None,
    ) -> Mask:
        """Return where a class truly is, where the labels count classes.

        Parameters
        ----------
        index, names
            The class, and the names of all.
        class_of_label
            The class's name of each label; where it is empty, labels are the classes' numbers.
        void
            The label that is of no class, where labels are the classes' numbers; None: there is none.

        Raises
        ------
        NeuroscopeError
            Where the labels count something else, or the class is nowhere.
        """
        numbers = self._read(self._values.astype(np.int64), outside=-1)
        if class_of_label:
            wanted = [label for label, name in class_of_label.items() if name == names[index]]
            values = np.isin(numbers, wanted) & (numbers >= 0)
        else:
            self._refuse_strange(numbers, len(names), void)
            values = (numbers == index) & (numbers != void)
        if not values.any():
            raise NeuroscopeError(
                f"“{self.name}” has no “{names[index]}” on the plane that is shown; choose another "
                f"class or region."
            )
        return Mask(values, f"ground truth “{self.name}”")

    def _refuse_strange(self, numbers: np.ndarray, count: int, void: int | None) -> None:
        """Say which labels are neither classes nor void."""
        # Below zero lies what is outside, and void as ground truth is read.
        strange = (numbers >= count) & (numbers != void)
        if not strange.any():
            return
        labels, pixels = np.unique(numbers[strange], return_counts=True)
        named = ", ".join(map(str, labels[:3])) + (", …" if len(labels) > 3 else "")
        labels_in_words = f"the label {named}" if len(labels) == 1 else f"the labels {named}"
        words = (
            f"“{self.name}” has {labels_in_words} in {pixels.sum():,} pixels, but the network's "
            f"classes are 0 to {count - 1}"
        )
        if len(labels) == 1:
            words += f"; if {named} means “no class”, say it under Options… as the ignore label"
        raise NeuroscopeError(
            f"{words}; or name each label's class in a column “class” of the layer's features, or "
            f"choose the region of all its labels."
        )

    def _notes(self) -> tuple[str, ...]:
        if self.matrix.shape[0] != self.matrix.shape[1]:
            return ()
        painted = np.argwhere(self._is_region)
        at = np.linalg.solve(self.matrix, (painted - self.offset).T)
        return PARTLY_OUTSIDE if leave_image(at.T, self.pixels.shape) else ()


@dataclass(frozen=True, eq=False)
class TrueClassLabels:
    """Where each class truly is, as a layer of labels says.

    Attributes
    ----------
    painting
        Its labels.
    class_of_label
        The class's name of each label, where the layer's features have a column “class”.
    void
        The label that is of no class, where labels are the classes' numbers; None: there is none.
    """

    painting: PaintedRegions
    class_of_label: Mapping[int, str]
    void: int | None = None

    @classmethod
    def of(
        cls, layer: Any, pixels: Pixels, viewer: Any, void: int | None = None
    ) -> TrueClassLabels:
        """Take the labels of a layer as they are now; `void` is the spec's ``ignore_label``."""
        return cls(PaintedRegions.of(layer, pixels, viewer), class_of_label(layer.features), void)

    def mask(self, index: int, names: Sequence[str]) -> Mask:
        """Return where a class truly is."""
        return self.painting.true_class(index, names, self.class_of_label, self.void)


def _looked_up(labels: np.ndarray, index: tuple[np.ndarray, ...], outside: int) -> np.ndarray:
    """Return labels at an index that may reach outside of them."""
    inside: Any = True
    clipped = []
    for at, size in zip(index, labels.shape, strict=True):
        inside = inside & (at >= 0) & (at < size)
        clipped.append(np.clip(at, 0, size - 1))
    return np.where(inside, labels[tuple(clipped)], outside).astype(labels.dtype)

"""The colours of classes, by which a coloured ground truth is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.images.ground_truth.kind import VOID
from napari_neuroscope.engine.spec.model_spec import ModelSpec

_MOST_COLOURS = 64
_OF_NO_CLASS = -2


@dataclass(frozen=True)
class ClassColours:
    """The colours of a network's classes.

    Attributes
    ----------
    spec, count
        What names the classes, and how many there are.
    void
        Colours that count as no class.
    """

    spec: ModelSpec
    count: int
    void: tuple[tuple[int, int, int], ...] = ()

    @cached_property
    def _classes(self) -> dict[int, int]:
        """The class of each colour, as one number."""
        classes: dict[int, int] = {}
        for index in range(self.count):
            colour = self.spec.colour(index)
            first = classes.setdefault(_packed(colour), index)
            if first != index:
                raise NeuroscopeError(
                    f"The classes “{self.spec.class_name(first)}” and "
                    f"“{self.spec.class_name(index)}” have the same colour {colour}; give each its "
                    f"own, or ground truth of class numbers."
                )
        return classes

    def hold(self, truth: np.ndarray) -> bool:
        """Whether each pixel of a coloured ground truth is of a class, or void."""
        usable = {*self._classes, *map(_packed, self.void)}
        return set(np.unique(_packed_pixels(truth)).tolist()) <= usable

    def state(self, colours: Iterable[np.ndarray]) -> bool:
        """Whether each of some colours is one that the spec states of a class, or void."""
        stated = {_packed(c.colour) for c in self.spec.classes if c.colour is not None}
        return {_packed(colour) for colour in colours} <= stated | set(map(_packed, self.void))

    def labels(self, truth: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Return the classes of a coloured ground truth (*space, 3 or 4), and what is to be noted.

        Raises
        ------
        NeuroscopeError
            Where it has colours of no class.
        """
        notes = ["read as the classes' colours"]
        present, where = np.unique(_packed_pixels(truth), return_inverse=True)
        void = set(map(_packed, self.void))
        of_colour = [
            VOID if colour in void else self._classes.get(colour, _OF_NO_CLASS)
            for colour in present.tolist()
        ]
        labels = np.array(of_colour, np.int32)[where].reshape(truth.shape[:-1])
        if truth.shape[-1] == 4 and not (opaque := truth[..., 3] != 0).all():
            labels[~opaque] = VOID
            notes.append(f"{np.count_nonzero(~opaque):,} transparent pixels are void")
        if (unknown := labels == _OF_NO_CLASS).any():
            raise NeuroscopeError(_strange_colours(truth[..., :3][unknown]))
        if self.spec.ignore_label is not None:
            labels[labels == self.spec.ignore_label] = VOID
        return labels, notes


def _strange_colours(pixels: np.ndarray) -> str:
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    first = tuple(colours[order[0]].tolist())
    more = f" and {len(colours) - 1:,} more" if len(colours) > 1 else ""
    hint = (
        "such many colours are rather a photo or a mask saved as JPEG: save it as PNG"
        if len(colours) > _MOST_COLOURS
        else "give the classes their colours, or say that it is void"
    )
    return (
        f"The ground truth has colours of no class: {first} in {counts[order[0]]:,} "
        f"pixels{more}, {len(pixels):,} pixels in all; {hint}."
    )


def _packed(colour: Iterable[int]) -> int:
    red, green, blue = (int(value) for value in colour)
    return red << 32 | green << 16 | blue


def _packed_pixels(truth: np.ndarray) -> np.ndarray:
    # Wider values are no class's colour, and must not become one.
    red, green, blue = np.moveaxis(np.clip(truth[..., :3], 0, 65535).astype(np.int64), -1, 0)
    packed: np.ndarray = red << 32 | green << 16 | blue
    return packed

"""Pairs: an image with its ground truth, and what was left out where they were looked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.images.source import Source
from napari_neuroscope.engine.plain_text import by_sides
from napari_neuroscope.engine.spec.specified_network import SpecifiedNetwork

Truth = Source | Sequence[Source] | str | int | None
"""A ground truth: an image, several of one class or instance each, a class, or none."""


@dataclass(frozen=True)
class SkippedFile:
    """Something that was left out, and why, as a sentence; perhaps a ground truth of no image."""

    name: str
    reason: str
    is_unused_truth: bool = False


@dataclass(frozen=True, eq=False)
class Pair:
    """An image and its ground truth.

    Attributes
    ----------
    name
        What people call the image; of several, no two are equal.
    image
        Where it is read from.
    truth
        Its ground truth; several are masks of one class or instance each.
    """

    name: str
    image: Source
    truth: Truth = None

    def planes(self, network: SpecifiedNetwork) -> Iterator[Pair]:
        """Return the pairs of a stack's planes that a network takes, or the pair itself.

        Each is read by itself, when it is needed.

        Raises
        ------
        NeuroscopeError
            Where the image can't be read, or its ground truth is no stack like it.
        """
        image, (shape, axes) = self.image, self.image.axes(network)
        stack = tuple(shape[n] for n in axes.stack)
        if not stack:
            yield self
            return
        truths = self._stacked_truth(stack)
        for plane in np.ndindex(*stack):
            name = f"{self.name} [{', '.join(map(str, plane))}]"
            truth: Truth = self.truth  # a class holds for each of the planes
            if truths:
                parts = [replace(part, plane=(*part.plane, *plane)) for part in truths]
                truth = parts[0] if isinstance(self.truth, Source) else parts
            yield Pair(name, image.at(axes.stack, plane, name), truth)

    def _stacked_truth(self, stack: tuple[int, ...]) -> list[Source]:
        if self.truth is None or isinstance(self.truth, str | int):
            return []
        sources = [self.truth] if isinstance(self.truth, Source) else list(self.truth)
        for source in sources:
            shape = source.shape
            if shape[: len(stack)] != stack:
                raise NeuroscopeError(
                    f"The image is a stack of {by_sides(stack)} planes, but the ground "
                    f"truth “{source.name}” has shape {shape}; give a stack as long."
                )
        return sources


@dataclass(frozen=True, eq=False)
class Pairs(Sequence[Pair]):
    """Images with their ground truth, and what was left out.

    Attributes
    ----------
    pairs
        In natural order; those without ground truth are among them.
    skipped
        Files that are no part of it, and why.
    """

    pairs: tuple[Pair, ...]
    skipped: tuple[SkippedFile, ...] = ()

    def __len__(self) -> int:
        return len(self.pairs)

    @overload
    def __getitem__(self, which: int) -> Pair: ...

    @overload
    def __getitem__(self, which: slice) -> tuple[Pair, ...]: ...

    def __getitem__(self, which: int | slice) -> Pair | tuple[Pair, ...]:
        return self.pairs[which]

    @property
    def without_truth(self) -> tuple[str, ...]:
        """The names of the images that have no ground truth."""
        return tuple(pair.name for pair in self.pairs if pair.truth is None)

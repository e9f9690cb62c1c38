"""Stacks: which axes of an image a network looks along, and the planes along the others."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError, first_line, nearest_names
from napari_neuroscope.engine.images.array_view import ArrayView
from napari_neuroscope.engine.images.axes import ImageAxes, axes_of, names_of, unnamed_axes
from napari_neuroscope.engine.images.preprocessing import as_array
from napari_neuroscope.engine.spec.specified_network import SpecifiedNetwork

Planes = str | Mapping[str, int | range | slice | str] | None
"""Which planes: None or "all"; "3" or "0:10:2" of the one axis; "t=0:10, z=3"; or a mapping."""

_RANGE = re.compile(r"(-?\d+)?(?:(:)(-?\d+)?(?::(\d+))?)?")
# What axes of an explanation are called that are none of the image.
_TAKEN = ("class", "layer", "channel", "rank")


@dataclass(frozen=True, eq=False)
class Stack:
    """An image of more axes than a network takes, which is given a plane of it at a time.

    To a 3-D network a plane is a volume.

    Attributes
    ----------
    image
        What is sliced: an array of NumPy, dask, zarr, xarray, ..., or a `LazyImage`.
    axes, shape
        The names and sizes of the axes that the network does not take; none where it takes all.
    """

    image: Any
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    _positions: tuple[int, ...]
    _order: tuple[int, ...]

    @classmethod
    def of(cls, image: Any, network: SpecifiedNetwork, axes: Sequence[str] | None = None) -> Stack:
        """Find which axes of an image are those of a stack.

        Parameters
        ----------
        image
            What can be sliced, or converted to an array.
        network
            It takes the axes of its ``input.axes``; and channels, where there are as many as it
            takes, or where they come last, as of a colour image.
        axes
            The names of the image's axes, such as "tczyx"; None: its own, as of a `LazyImage` or
            of xarray, else what its shape tells.

        Raises
        ------
        NeuroscopeError
            Where the names are not those of the image's axes, or it is empty.
        """
        if isinstance(image, Tensor) or not hasattr(image, "shape"):
            image = as_array(image)
        shape = tuple(int(n) for n in image.shape)
        if 0 in shape:
            raise NeuroscopeError(f"The image is empty: its shape is {shape}.")
        names = _names(image, shape, axes)
        return cls.of_axes(image, names, axes_of(shape, network.spec, network.channels, names))

    @classmethod
    def of_axes(cls, image: Any, names: Sequence[str], axes: ImageAxes) -> Stack:
        """Return an image as a stack whose axes are known."""
        named = (f"{names[n]} of the image" if names[n] in _TAKEN else names[n] for n in axes.stack)
        sizes = (int(image.shape[n]) for n in axes.stack)
        return cls(image, tuple(named), tuple(sizes), axes.stack, axes.order)

    def read(self, index: Sequence[int]) -> np.ndarray:
        """Read one plane, with the axes that the network takes, in its order.

        Parameters
        ----------
        index
            The plane's index on each of the stack's axes.

        Raises
        ------
        NeuroscopeError
            Where it can't be read.
        """
        place: list[Any] = [slice(None)] * (max(self._positions, default=-1) + 1)
        for position, number in zip(self._positions, index, strict=True):
            place[position] = int(number)
        try:
            plane = np.asarray(self.image[tuple(place)] if place else self.image)
        except NeuroscopeError:
            raise
        except Exception as error:
            reason = first_line(error)
            raise NeuroscopeError(
                f"The image can't be read at {self.named(index)}: {reason:.200}."
            ) from error
        rest = sorted(self._order)
        return plane.transpose([rest.index(n) for n in self._order])

    @property
    def lazily(self) -> Any:
        """The image that is no stack, with the network's axes in its order, read as it is sliced."""
        in_order = self._order == tuple(range(len(self._order)))
        # What its axes were said to be counts, and not what it calls them itself.
        if in_order and names_of(self.image) is None:
            return self.image
        return ArrayView(self.image, {}, self._order)

    def named(self, index: Sequence[int]) -> str:
        """Return what to call a plane, such as “t=3, z=1”."""
        return ", ".join(f"{axis}={n}" for axis, n in zip(self.axes, index, strict=True))

    def chosen(self, planes: Planes = None) -> tuple[range, ...]:
        """Return which steps of each of the stack's axes are chosen; of those not named, all.

        Raises
        ------
        NeuroscopeError
            Where there is no such axis or plane.
        """
        said: Mapping[str, Any] = self._parsed(planes) if isinstance(planes, str) else planes or {}
        # The same image may be without names elsewhere: then its axes are known by their numbers.
        numbered = {f"axis {n}": axis for n, axis in zip(self._positions, self.axes, strict=True)}
        asked = {
            axis if axis in self.axes else numbered.get(axis, axis): said[axis] for axis in said
        }
        for axis in asked:
            if axis not in self.axes:
                advice = nearest_names(axis, self.axes) if self.axes else "it is no stack."
                raise NeuroscopeError(f"The stack has no axis “{axis:.60}”; {advice}")
        chosen = []
        for axis, size in zip(self.axes, self.shape, strict=True):
            steps = _steps(asked.get(axis, slice(None)), size)
            if not steps:
                raise NeuroscopeError(
                    f"Of the planes 0..{size - 1} along {axis}, {asked[axis]!s:.60} chooses none."
                )
            chosen.append(steps)
        return tuple(chosen)

    def in_words(self, chosen: Sequence[range]) -> str:
        """Return planes that are chosen as a text that chooses them again."""
        said = [
            f"{axis}={steps.start}:{steps.stop}" + (f":{steps.step}" if steps.step > 1 else "")
            for axis, size, steps in zip(self.axes, self.shape, chosen, strict=True)
            if steps != range(size)
        ]
        return ", ".join(said) or "all"

    def _parsed(self, text: str) -> dict[str, str]:
        """Return the ranges of a text by axis."""
        parts = [part for said in text.split(",") if (part := said.strip())]
        if parts == ["all"]:
            return {}
        ranges = {}
        for part in parts:
            axis, equals, said = (word.strip() for word in part.rpartition("="))
            if not equals:
                long = [axis for axis, n in zip(self.axes, self.shape, strict=True) if n > 1]
                if len(parts) > 1 or len(long) > 1:
                    raise NeuroscopeError(
                        f"Say along which axis the planes {part:.60} are, as in {self.axes[0]}={part:.60}."
                    )
                axis = (long or list(self.axes) or [""])[0]
            ranges[axis] = said
        return ranges


def _names(image: Any, shape: Sequence[int], axes: Sequence[str] | None) -> tuple[str, ...]:
    if axes is None:
        return names_of(image) or unnamed_axes(shape)
    if len(axes) != len(shape) or len(set(axes)) != len(axes):
        raise NeuroscopeError(
            f"The image has {len(shape)} axes, of sizes {tuple(shape)}, but they are called "
            f"{', '.join(axes):.100}; give each its own name."
        )
    return tuple(axes)


def _steps(said: Any, size: int) -> range:
    """Return the steps of an axis as an index, a range, a slice or a text tells them."""
    if isinstance(said, str):
        match = _RANGE.fullmatch(said.strip()) if said.strip() != "all" else _RANGE.fullmatch(":")
        if match is None or not match[0] or match[4] == "0":
            raise NeuroscopeError(
                f"The planes “{said:.60}” are neither a number nor a range such as 0:10 or 0:10:2."
            )
        first, colon, last, step = match.groups()
        numbers = [None if text is None else int(text) for text in (first, last, step)]
        said = slice(*numbers) if colon else numbers[0]
    if isinstance(said, range):
        whole = range(size)
        if said.step < 0 or any(n not in whole for n in (*said[:1], *said[-1:])):
            raise NeuroscopeError(f"There are the planes 0..{size - 1}, and no {said}.")
        return said
    if isinstance(said, slice):
        if said.step is not None and said.step < 1:
            raise NeuroscopeError(
                f"Planes are taken in their order, and not in steps of {said.step}."
            )
        return range(size)[said]
    try:
        number = operator.index(said)
    except TypeError as error:
        raise NeuroscopeError(
            f"Planes are a number, a range, a slice or a text, but {said!r:.60} was given."
        ) from error
    if not -size <= number < size:
        raise NeuroscopeError(f"There are the planes 0..{size - 1}, but {number} was asked for.")
    return range(number % size, number % size + 1)

"""How the axes of a map are laid out in files that know times, channels and three axes of space."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_SPACE = "zyx"


@dataclass(frozen=True)
class Layout:
    """Where the axes of an array go in a file of axes t, c, z, y and x.

    Times and axes of space keep their names. All others, such as "class" and "layer", are folded
    into the channels, the last the fastest; a file has at least the axes y and x.

    Attributes
    ----------
    axes, shape
        Of the array.
    """

    axes: tuple[str, ...]
    shape: tuple[int, ...]

    @property
    def folded(self) -> tuple[int, ...]:
        """Which axes become the channels."""
        return tuple(n for n, axis in enumerate(self.axes) if axis not in ("t", *_SPACE))

    @property
    def file_axes(self) -> tuple[str, ...]:
        """The axes in the file, such as ("c", "y", "x")."""
        return (
            *(("t",) if "t" in self.axes else ()),
            *(("c",) if self.folded else ()),
            *(axis for axis in _SPACE if axis in self.axes or axis != "z"),
        )

    @property
    def file_shape(self) -> tuple[int, ...]:
        """The shape in the file."""
        sizes = dict(zip(self.axes, self.shape, strict=True))
        sizes["c"] = math.prod(self.shape[n] for n in self.folded)
        return tuple(sizes.get(axis, 1) for axis in self.file_axes)

    @property
    def _order(self) -> tuple[int, ...]:
        """The array's axes in the order of the file."""
        named = {axis: n for n, axis in enumerate(self.axes)}
        time = [named["t"]] if "t" in named else []
        return (*time, *self.folded, *(named[axis] for axis in _SPACE if axis in named))

    def arranged(self, values: Any) -> Any:
        """Return an array as it goes into the file."""
        return values.transpose(self._order).reshape(self.file_shape)

    def restored(self, values: Any) -> Any:
        """Return what is read from a file, NumPy's or dask's, as the array that it was."""
        order = self._order
        back = tuple(order.index(n) for n in range(len(order)))
        return values.reshape(tuple(self.shape[n] for n in order)).transpose(back)

    def channel_names(self, labels: Mapping[str, Sequence[str]]) -> list[str]:
        """Return what each channel is, such as "nucleus · dec1"; nothing where there are none."""
        if not self.folded:
            return []
        names = []
        for place in np.ndindex(*(self.shape[n] for n in self.folded)):
            words = []
            for n, step in zip(self.folded, place, strict=True):
                names_of_axis = labels.get(self.axes[n], ())
                words.append(
                    names_of_axis[step] if step < len(names_of_axis) else f"{self.axes[n]} {step}"
                )
            names.append(" · ".join(words))
        return names


def layouts_of(record: Mapping[str, Any]) -> list[Layout]:
    """Return how the values and then each of the label maps are laid out in files."""
    axes, space = tuple(record["axes"]), tuple(record["space"])
    if not space:
        # The last axes of a table are written as those of a picture.
        axes = (*axes[:-2], *"yx"[-min(len(axes), 2) :])
    layouts = [Layout(axes, tuple(record["shape"]))]
    for companion in record["companions"].values():
        shape = tuple(companion["shape"])
        # A label map may lack the last of the axes before those of space.
        layouts.append(Layout((*axes[: len(shape) - len(space)], *space), shape))
    return layouts


class RearrangedArray:
    """A file's array, sliced and written along the axes of the array that it was laid out from.

    Parameters
    ----------
    stored
        What holds the values, along the axes of the file.
    layout
        How they are laid out; times and channels come first in the order of the array's axes.
    """

    def __init__(self, stored: Any, layout: Layout) -> None:
        self._stored, self._layout = stored, layout
        self.shape, self.dtype, self.ndim = layout.shape, stored.dtype, len(layout.shape)

    def __getitem__(self, index: Any) -> np.ndarray:
        index = _complete(index, self.ndim)
        kept = [slice(None) if isinstance(n, slice) else 0 for n in index]
        slices = _as_slices(index, self.shape)
        values = np.empty([s.stop - s.start for s in slices], self.dtype)
        for within, place in self._planes(slices):
            values[within] = self._stored[place]
        return values[tuple(kept)]

    def __setitem__(self, index: Any, values: Any) -> None:
        slices = _as_slices(_complete(index, self.ndim), self.shape)
        sizes = [s.stop - s.start for s in slices]
        given = np.broadcast_to(np.asarray(values).reshape(_fitting(values, sizes)), sizes)
        for within, place in self._planes(slices):
            self._stored[place] = given[within]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[()], dtype)

    def _planes(self, slices: Sequence[slice]) -> Iterator[tuple[Any, Any]]:
        """Yield what one channel and time holds: where in what is asked for, and in the file."""
        layout = self._layout
        leading = [n for n, axis in enumerate(layout.axes) if axis not in _SPACE]
        sizes = [layout.shape[n] for n in layout.folded]
        for steps in np.ndindex(*(slices[n].stop - slices[n].start for n in leading)):
            at = dict(zip(leading, steps, strict=True))
            within = tuple(at.get(n, slice(None)) for n in range(len(slices)))
            place: list[Any] = []
            for axis in layout.file_axes:
                if axis == "c":
                    step = [slices[n].start + at[n] for n in layout.folded]
                    place.append(int(np.ravel_multi_index(step, sizes)))
                elif axis not in layout.axes:
                    place.append(0)
                else:
                    n = layout.axes.index(axis)
                    place.append(slices[n].start + at[n] if n in at else slices[n])
            yield within, tuple(place)


def _complete(index: Any, ndim: int) -> tuple[Any, ...]:
    index = index if isinstance(index, tuple) else (index,)
    if Ellipsis in index:
        at = index.index(Ellipsis)
        index = (*index[:at], *(slice(None),) * (ndim - len(index) + 1), *index[at + 1 :])
    return (*index, *(slice(None),) * (ndim - len(index)))


def _as_slices(index: Sequence[Any], shape: Sequence[int]) -> list[slice]:
    slices = []
    for item, size in zip(index, shape, strict=True):
        if isinstance(item, slice):
            start, stop, step = item.indices(size)
            if step != 1:
                raise IndexError("A folded array is sliced step by step.")
            slices.append(slice(start, max(start, stop)))
        else:
            step = int(item) % size
            slices.append(slice(step, step + 1))
    return slices


def _fitting(values: Any, sizes: Sequence[int]) -> Sequence[int]:
    """Return the shape of values with the axes of one step that an index by number took away."""
    shape = np.shape(values)
    return sizes if math.prod(shape) == math.prod(sizes) else shape

"""A map at several resolutions, each half of the one before, kept up while it is written."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError

Part = tuple[slice, ...]

# A map of no more along an axis is seen at once, so it has no coarser levels.
_ALONE = {1: 1 << 20, 2: 2048, 3: 512}
# The coarsest level has no more along an axis, and lies in memory.
_COARSEST = 512
# Magnitudes of 2⁻⁴⁰ to 2⁴⁰ are told apart by bins whose ends are a tenth apart.
_BINS_AN_OCTAVE = 8
_ZERO_EXPONENT = 40 * _BINS_AN_OCTAVE + 1
_BINS = 2 * _ZERO_EXPONENT
_CHUNK = {1: 1 << 16, 2: 512, 3: 64}


def level_shapes(shape: Sequence[int], space: int) -> list[tuple[int, ...]]:
    """Return the shapes of a map and its coarser levels, the last `space` axes halved each time.

    A small map has none.
    """
    shapes = [tuple(shape)]
    if max(shape[-space:]) <= _ALONE[space]:
        return shapes
    while max(shapes[-1][-space:]) > _COARSEST:
        last = shapes[-1]
        shapes.append((*last[:-space], *(-(-n // 2) for n in last[-space:])))
    return shapes


def coarsen(fine: Any, coarse: Any, part: Part, space: int) -> Part:
    """Bring part of a coarser level up to what was written to a part of the finer one.

    Parameters
    ----------
    fine, coarse
        Arrays that can be sliced, of a shape and of half of it along the last `space` axes.
    part
        What was written of `fine`, a slice with ends for each axis.

    Returns
    -------
    tuple of slice
        What was written of `coarse`: means of the values that each cell covers.
    """
    leading = part[:-space]
    halved = tuple(slice(s.start // 2, -(-s.stop // 2)) for s in part[-space:])
    sides = fine.shape[-space:]
    read = tuple(slice(2 * s.start, min(2 * s.stop, n)) for s, n in zip(halved, sides, strict=True))
    values = np.asarray(fine[(*leading, *read)])
    lacking = [
        2 * (s.stop - s.start) - n for s, n in zip(halved, values.shape[-space:], strict=True)
    ]
    values = np.pad(values, [(0, 0)] * len(leading) + [(0, n) for n in lacking], mode="edge")
    pairs = [size for s in halved for size in (s.stop - s.start, 2)]
    halves = tuple(range(len(leading) + 1, len(leading) + 2 * space, 2))
    coarse[(*leading, *halved)] = values.reshape(*values.shape[:-space], *pairs).mean(halves)
    return (*leading, *halved)


class Pyramid:
    """A map and its coarser levels, empty (NaN) until they are written.

    Parameters
    ----------
    shape
        (*leading, *space) of the map.
    space
        How many of its axes are spatial.
    folder
        Where all but the coarsest level are kept, as zarr; None: in memory.

    Attributes
    ----------
    levels
        The map first, then its coarser levels: float32 arrays that can be sliced.
    most
        The largest finite magnitude that was written, (*leading); 0 where there is none.

    Raises
    ------
    NeuroscopeError
        Where the folder's disk has too little room.
    """

    def __init__(self, shape: Sequence[int], space: int, folder: Path | None = None) -> None:
        self._space = space
        shapes = level_shapes(shape, space)
        if folder is None:
            self.levels: list[Any] = [_empty(level) for level in shapes]
        else:
            self.levels = [*_on_disk(shapes[:-1], space, folder), _empty(shapes[-1])]
        self.most = np.zeros(tuple(shape[:-space]), np.float32)
        # How many magnitudes lie in each bin, the first of which is of zeros.
        self._counts = np.zeros((*shape[:-space], _BINS), np.uint32)

    def written(self, part: Part) -> None:
        """Bring all that hangs on a part of the map up to what was just written there."""
        values = np.asarray(self.levels[0][part])
        axes = tuple(range(values.ndim - self._space, values.ndim))
        largest = np.abs(values).max(axes, initial=0, where=np.isfinite(values))
        leading = part[: -self._space]
        self.most[leading] = np.maximum(self.most[leading], largest)
        counts = self._counts[leading]
        for at in np.ndindex(counts.shape[:-1]):
            counts[at] += _binned(values[at])
        for fine, coarse in zip(self.levels, self.levels[1:], strict=False):
            part = coarsen(fine, coarse, part, self._space)

    def percentile(self, steps: Sequence[int], percent: float, sparse: float) -> float:
        """Return a percentile of the magnitudes that were written, to a tenth of it.

        Parameters
        ----------
        steps
            Of which steps of its first axes; of the others all count.
        percent
            How many of a hundred values are not above it.
        sparse
            Where fewer values than this share are not zero, those alone are counted.
        """
        counts = self._counts[tuple(steps)].reshape(-1, _BINS).sum(0, dtype=np.int64)
        if counts[1:].sum() < sparse * counts.sum():
            counts[0] = 0
        below = np.cumsum(counts)
        number = int(np.searchsorted(below, percent / 100 * below[-1]))
        if not number:
            return 0.0
        upper_end: float = 2.0 ** ((number + 1 - _ZERO_EXPONENT) / _BINS_AN_OCTAVE)
        return min(upper_end, float(self.most[tuple(steps)].max()))


def _binned(values: np.ndarray) -> np.ndarray:
    """Return how many magnitudes of finite values lie in each bin."""
    magnitudes = np.abs(values[np.isfinite(values)])
    positive = magnitudes[magnitudes > 0]
    numbers = np.floor(np.log2(positive) * _BINS_AN_OCTAVE).astype(np.int64) + _ZERO_EXPONENT
    counts = np.bincount(numbers.clip(1, _BINS - 1), minlength=_BINS)
    counts[0] = magnitudes.size - positive.size
    return counts.astype(np.uint32)


def _empty(shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, np.nan, np.float32)


def _on_disk(shapes: list[tuple[int, ...]], space: int, folder: Path) -> list[Any]:
    import zarr

    needed = 4 * sum(int(np.prod(shape)) for shape in shapes)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise NeuroscopeError(
            f"The map takes {needed / 1e9:.1f} GB, but the disk of {folder} has {free / 1e9:.1f} GB "
            f"free; make room there, or explain a part of the image."
        )
    return [
        zarr.create_array(
            store=str(folder / str(number)),
            shape=shape,
            chunks=(*(1 for _ in shape[:-space]), *(min(_CHUNK[space], n) for n in shape[-space:])),
            dtype="float32",
            fill_value=np.nan,
            # Numbers of a map hardly shrink, and are read as they are looked at.
            compressors=None,
        )
        for number, shape in enumerate(shapes)
    ]

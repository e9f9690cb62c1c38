"""A view of an array, of which only what is sliced is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


class ArrayView:
    """An array of which some axes stand at an index, and the others come in an order of their own.

    Parameters
    ----------
    array
        What can be sliced, of NumPy, dask, zarr, h5py or xarray.
    index
        The step on each of the axes that are left out, by their position.
    order
        The other axes' positions, in the order of the view's.
    """

    def __init__(self, array: Any, index: Mapping[int, int], order: Sequence[int]) -> None:
        self._array, self._index, self._order = array, dict(index), tuple(order)
        self.shape = tuple(int(array.shape[n]) for n in self._order)
        self.dtype, self.ndim = np.dtype(array.dtype), len(self._order)

    def __getitem__(self, cut: Any) -> np.ndarray:
        """Read a part of it, given by indices and slices."""
        cut = cut if isinstance(cut, tuple) else (cut,)
        if Ellipsis in cut:
            at = cut.index(Ellipsis)
            cut = (*cut[:at], *(slice(None),) * (self.ndim - len(cut) + 1), *cut[at + 1 :])
        cut = (*cut, *(slice(None),) * (self.ndim - len(cut)))
        place: dict[int, Any] = {**self._index, **dict(zip(self._order, cut, strict=True))}
        values = np.asarray(self._array[tuple(place[n] for n in sorted(place))])
        kept = [n for n in self._order if isinstance(place[n], slice)]
        return values.transpose([sorted(kept).index(n) for n in kept])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype)

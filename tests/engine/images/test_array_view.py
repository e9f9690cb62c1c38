"""A view of an array reads what is sliced of it, and no more."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_neuroscope.engine.images.array_view import ArrayView


def test_a_view_reads_what_is_sliced_and_no_more() -> None:
    values, read = np.arange(120).reshape(2, 3, 4, 5), []

    class Told:
        shape, dtype = values.shape, values.dtype

        def __getitem__(self, which: Any) -> np.ndarray:
            read.append(which)
            return values[which]

    view, expected = ArrayView(Told(), {1: 2}, (3, 0, 2)), values[:, 2].transpose(2, 0, 1)
    assert (view.shape, view.ndim, view.dtype) == ((5, 2, 4), 3, values.dtype)
    assert not read
    for cut in (np.s_[1:3, :, 2], np.s_[..., 1:], np.s_[2], np.s_[0, 1, 3], np.s_[::2, ..., 0]):
        np.testing.assert_array_equal(view[cut], expected[cut])
    assert read[0] == (slice(None), 2, 2, slice(1, 3))
    np.testing.assert_array_equal(np.asarray(view), expected)

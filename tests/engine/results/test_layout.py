"""Axes of maps in files of times, channels and three axes of space."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neuroscope.engine.results.layout import Layout, RearrangedArray


@pytest.mark.parametrize("axes", [("a", "t", "b", "y", "x"), ("t", "z", "y", "x"), ("b", "x")])
def test_an_array_is_folded_and_unfolded(axes: tuple[str, ...], rng: np.random.Generator) -> None:
    shape = tuple(range(2, 2 + len(axes)))
    values, layout = rng.normal(size=shape), Layout(axes, shape)
    stored = layout.arranged(values)
    assert stored.shape == layout.file_shape
    assert len(stored.shape) <= 5
    np.testing.assert_array_equal(layout.restored(stored), values)
    view = RearrangedArray(stored, layout)
    np.testing.assert_array_equal(np.asarray(view), values)
    for index in [(1,), (slice(0, 2), 1), (..., slice(1, 3)), (-1, ..., 0), ()]:
        np.testing.assert_array_equal(view[index], values[index])
    changed = values.copy()
    changed[1, ..., 1:3] = 7
    view[1, ..., 1:3] = 7
    part = (slice(0, 2), *(slice(0, n) for n in shape[1:]))
    changed[part] += 1
    view[part] = view[part] + 1
    np.testing.assert_array_equal(layout.restored(stored), changed)

"""Grids: which pixels of the image a cell covers, and resampling between grids."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from napari_neuroscope.engine.images.grid import Grid, resample, resample_nearest

_SIZES = st.lists(st.integers(1, 700), min_size=2, max_size=2).map(tuple)


def corners(grid: Grid) -> np.ndarray:
    """Return where the outer edges of a grid lie on the image: (2, axis)."""
    scale, offset, shape = map(np.asarray, (grid.scale, grid.offset, grid.shape))
    return np.stack([offset - scale / 2, offset + scale * (shape - 0.5)])


@given(_SIZES, _SIZES)
def test_a_division_has_the_corners_of_the_whole(image: tuple, cells: tuple) -> None:
    whole = Grid.of_image(image)
    np.testing.assert_allclose(corners(whole), [[-0.5, -0.5], np.subtract(image, 0.5)])
    part = whole.divided(cells)
    np.testing.assert_allclose(corners(part), corners(whole), rtol=0, atol=1e-9)


@given(_SIZES, _SIZES, _SIZES)
def test_dividing_twice_is_dividing_once(image: tuple, first: tuple, second: tuple) -> None:
    direct = Grid.of_image(image).divided(second)
    detour = Grid.of_image(image).divided(first).divided(second)
    np.testing.assert_allclose(corners(detour), corners(direct), rtol=0, atol=1e-9)
    np.testing.assert_allclose(detour.scale, direct.scale, rtol=1e-12)


def test_half_pixel_centres_by_hand() -> None:
    # 12 pixels in 3 cells of 4: the first covers 0..3, so its centre is at 1.5 = (4 - 1) / 2.
    grid = Grid.of_image((12,)).divided((3,))
    assert grid.scale == (4.0,)
    assert grid.offset == (1.5,)


def test_a_window_begins_where_it_is_cut() -> None:
    # Cells of 2 pixels; the window's first cell is cell 3, whose centre is at 0.5 + 3 · 2 = 6.5.
    grid = Grid.of_image((20,)).divided((10,)).window((3,), (4,))
    assert (grid.shape, grid.scale, grid.offset) == ((4,), (2.0,), (6.5,))
    # And it may begin before the image: cell -2 has its centre at 0.5 - 4.
    assert Grid.of_image((20,)).divided((10,)).window((-2,), (4,)).offset == (-3.5,)


def test_points_of_the_image_as_cells() -> None:
    grid = Grid.of_image((12, 8)).divided((3, 8))
    np.testing.assert_allclose(
        grid.to_cells(np.array([[1.5, 0], [5.5, 7], [-0.5, 2]])), [[0, 0], [1, 7], [-0.5, 2]]
    )


@given(
    coarse=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    fine=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_resampling_is_linear_between_half_pixel_centres(coarse: tuple, fine: tuple) -> None:
    values = torch.randn(2, *coarse, dtype=torch.float64)
    whole = Grid.of_image(fine)
    ours = resample(values, whole.divided(coarse), whole)
    theirs = functional.interpolate(values[None], fine, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_resampling_three_axes() -> None:
    values = torch.randn(1, 2, 3, 4, dtype=torch.float64)
    whole = Grid.of_image((5, 9, 7))
    ours = resample(values, whole.divided((2, 3, 4)), whole)
    theirs = functional.interpolate(values[None], (5, 9, 7), mode="trilinear")[0]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_resampling_stays_within_the_values() -> None:
    values = torch.rand(1, 5, 6)
    whole = Grid.of_image((50, 61))
    fine = resample(values, whole.divided((5, 6)), whole)
    assert fine.min() >= values.min()
    assert fine.max() <= values.max()


def test_what_a_window_does_not_cover_is_nan() -> None:
    image = Grid.of_image((6, 8))
    window = image.window((1, 2), (3, 4))
    fine = resample(torch.ones(3, 4), window, image).numpy()
    expected = np.full((6, 8), np.nan)
    expected[1:4, 2:6] = 1
    np.testing.assert_array_equal(fine, expected)


def test_resampling_leaves_its_values_alone() -> None:
    values = torch.rand(3, 4)
    kept = values.clone()
    image = Grid.of_image((6, 8))
    for grid in (image.window((1, 2), (3, 4)), image.divided((3, 4))):
        resample(values, grid, image)
    assert torch.equal(values, kept)
    labels = np.ones((3, 4), int)
    resample_nearest(labels, image.window((1, 2), (3, 4)), image, outside=-1)
    assert (labels == 1).all()


def test_labels_are_never_mixed() -> None:
    labels = np.array([[0, 7], [7, 0]])
    whole = Grid.of_image((4, 6))
    fine = resample_nearest(labels, whole.divided((2, 2)), whole)
    np.testing.assert_array_equal(fine, np.kron(labels, np.ones((2, 3), int)))
    outside = resample_nearest(labels, whole.window((1, 1), (2, 2)), whole, outside=-1)
    assert outside[0, 0] == -1
    np.testing.assert_array_equal(outside[1:3, 1:3], labels)


@pytest.mark.parametrize("image", [(7, 11), (224, 225), (33, 1)])
def test_borders_are_inside(image: tuple[int, int]) -> None:
    whole = Grid.of_image(image)
    fine = resample(torch.ones(3, 5), whole.divided((3, 5)), whole)
    assert torch.isfinite(fine).all()

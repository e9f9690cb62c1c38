"""A map's coarser levels follow what is written, wherever its parts begin and end."""

from __future__ import annotations

import itertools
import shutil
from collections import namedtuple

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.images import pyramid as pyramids
from napari_neuroscope.engine.images.pyramid import Pyramid, level_shapes

PARTS = [((0, 301), (0, 250)), ((301, 700), (0, 250)), ((0, 301), (250, 1101)),
         ((301, 700), (250, 1101))]  # fmt: skip


def means(values: np.ndarray) -> np.ndarray:
    """Return the means of 2 × 2 values; the last row or column stands for one that is missing."""
    h, w = values.shape
    rows, columns = [np.minimum(np.arange(2 * -(-n // 2)), n - 1) for n in (h, w)]
    even = values[rows][:, columns].astype(np.float64)
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


@pytest.fixture(autouse=True)
def small(monkeypatch) -> None:
    monkeypatch.setattr(pyramids, "_ALONE", {2: 600, 3: 100})


@pytest.mark.parametrize("on_disk", [False, True])
def test_levels_are_means_of_what_is_written_part_by_part(rng, tmp_path, on_disk: bool) -> None:
    values = rng.normal(size=(2, 700, 1101)).astype(np.float32)
    made = Pyramid(values.shape, 2, tmp_path if on_disk else None)
    assert [one.shape for one in made.levels] == [(2, 700, 1101), (2, 350, 551), (2, 175, 276)]
    assert np.isnan(np.asarray(made.levels[0][0, :5, :5])).all()
    before = made.most.copy()
    for y, x in PARTS:
        part = (slice(0, 2), slice(*y), slice(*x))
        made.levels[0][part] = values[part]
        made.written(part)
        assert (made.most >= before).all()
        before = made.most.copy()
    np.testing.assert_array_equal(made.most, np.abs(values).max((1, 2)))
    expected = values
    for level in made.levels:
        np.testing.assert_allclose(np.asarray(level[:]), expected, atol=1e-6)
        expected = np.stack([means(one) for one in expected])
    assert isinstance(made.levels[-1], np.ndarray), "the coarsest is at hand"
    assert sorted(path.name for path in tmp_path.iterdir()) == (["0", "1"] if on_disk else [])


def test_a_volume_is_halved_along_all_three_axes() -> None:
    assert level_shapes((3, 40, 600, 513), 3) == [(3, 40, 600, 513), (3, 20, 300, 257)]
    assert level_shapes((600, 600), 2) == [(600, 600)], "small"


def test_values_that_are_not_finite_are_no_limit() -> None:
    made = Pyramid((2, 2), 2)
    made.levels[0][:] = [[np.nan, np.inf], [-3, 1]]
    made.written((slice(0, 2), slice(0, 2)))
    assert made.most == 3


def test_a_full_disk_is_said_before(tmp_path, monkeypatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100, 90, 10))
    with pytest.raises(
        ns.NeuroscopeError, match=r"takes 0.0 GB, but the disk of .* has 0.0 GB free"
    ):
        pyramids.Pyramid((601, 600), 2, tmp_path)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.01])
def test_percentiles_of_what_is_written_are_told_to_a_tenth(share: float) -> None:
    rng = np.random.default_rng(0)
    values = (rng.standard_normal((2, 1200, 1300)) * [[[1]], [[1e-4]]]).astype(np.float32)
    values[rng.random(values.shape) >= share] = 0
    values[1, 0, :3] = 50
    values[0, :5] = np.nan
    pyramid = Pyramid(values.shape, 2)
    for step, top in itertools.product((0, 1), range(0, 1200, 400)):
        part = (slice(step, step + 1), slice(top, top + 400), slice(0, 1300))
        pyramid.levels[0][part] = values[part]
        pyramid.written(part)
    for step in (0, 1):
        magnitudes = np.abs(values[step][np.isfinite(values[step])])
        if share < 0.05:
            magnitudes = magnitudes[magnitudes > 0]
        expected = np.percentile(magnitudes, 99.5)
        seen = pyramid.percentile((step,), 99.5, 0.05)
        assert expected * 0.999 <= seen <= expected * 1.1
    assert pyramid.most.tolist()[1] == 50
    assert Pyramid(values.shape, 2).percentile((0,), 99.5, 0.05) == 0

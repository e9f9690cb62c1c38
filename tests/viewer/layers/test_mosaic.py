"""Mosaics of channels: where each tile lies, and how it is scaled."""

from __future__ import annotations

import numpy as np

from napari_neuroscope.viewer.layers.mosaic import Mosaic


def test_tiles_on_paper() -> None:
    channels = np.float32([[[0, 2], [4, 1]], [[0, 0], [0, 0]], [[1, -4], [np.nan, 2]]])
    found = Mosaic.of(channels, ("5", "0", "7"))
    gap = np.nan
    np.testing.assert_array_equal(
        found.values,
        [
            [0, 0.5, gap, 0, 0],
            [1, 0.25, gap, 0, 0],
            [gap, gap, gap, gap, gap],
            [0.25, -1, gap, gap, gap],
            [gap, 0.5, gap, gap, gap],
        ],
    )
    assert found.corners == ((0, 0), (0, 3), (3, 0))
    assert found.names == ("5", "0", "7")
    assert found.signed
    assert [found.at(0.5, 1.5), found.at(1, 3), found.at(4.5, 1)] == [0, 1, 2]
    # Between tiles, where no tile is, and outside.
    assert [found.at(0.5, 2.5), found.at(4, 4), found.at(-1, 0)] == [None, None, None]


def test_long_tiles_stand_side_by_side() -> None:
    found = Mosaic.of(np.ones((4, 8, 2)), tuple("abcd"))
    assert {y for y, _ in found.corners} == {0}
    assert not found.signed


def test_large_channels_are_thinned_out_and_volumes_cut() -> None:
    volume = np.zeros((2, 5, 300, 200))
    volume[:, 2] = 3
    found = Mosaic.of(volume, ("0", "1"))
    assert max(found.tile) <= 128
    assert np.nanmin(found.values) == 1

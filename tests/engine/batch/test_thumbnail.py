"""Small pictures for the report: an image beside the same with its map over it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_neuroscope.engine.batch.thumbnail import thumbnail, write_thumbnail
from results import explanation_of


def test_the_map_lies_over_the_right_half() -> None:
    image = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    picture = thumbnail(explanation_of(("y", "x"), (3, 4)), image)
    assert picture is not None
    assert picture.dtype == np.uint8
    assert picture.shape == (3, 2 * 4 + 4, 3)
    left, gap, right = picture[:, :4], picture[:, 4:8], picture[:, 8:]
    assert (left[..., 0] == left[..., 1]).all(), "the image is gray"
    assert (gap == 255).all()
    assert (right != left).any()


def test_a_large_image_is_thinned_out_and_of_a_volume_one_plane_is_shown() -> None:
    large = thumbnail(explanation_of(("y", "x"), (30, 400)), np.zeros((30, 400)))
    assert large is not None
    assert large.shape == (10, 2 * 134 + 4, 3)
    volume = thumbnail(explanation_of(("z", "y", "x"), (3, 8, 8)), np.zeros((3, 8, 8)))
    assert volume is not None
    assert volume.shape == (8, 20, 3)


def test_a_table_has_none(tmp_path: Path) -> None:
    table = explanation_of(("class",), (3,), space=0)
    assert not write_thumbnail(table, np.zeros((4, 4)), tmp_path / "a.jpg")
    assert not (tmp_path / "a.jpg").exists()

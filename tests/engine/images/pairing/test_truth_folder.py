"""A folder of ground truth is found beside that of its images."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_neuroscope.engine.images.pairing.truth_folder import with_truths_beside
from pair_files import put


@pytest.mark.parametrize(
    ("images", "truths"),
    [("images", "labels"), ("Images", "Masks"), ("train", "trainannot"), ("val", "val_labels")],
)
def test_by_the_names_that_people_give(images: str, truths: str, tmp_path: Path) -> None:
    put(tmp_path, f"{images}/a.png", f"{truths}/a.png", "other/a.png")
    expected = (tmp_path / images, tmp_path / truths)
    assert with_truths_beside(tmp_path / images) == expected
    if images.casefold() == "images":
        # The folder of both does as well.
        assert with_truths_beside(str(tmp_path)) == expected


def test_none_where_there_is_none_or_several(tmp_path: Path) -> None:
    put(tmp_path, "one/images/a.png", "two/images/a.png", "two/labels/a.png", "two/masks/a.png")
    for folder in ("one", "two"):
        images = tmp_path / folder / "images"
        assert with_truths_beside(images) == (images, None)
    files = [tmp_path / "one" / "images" / "a.png"]
    assert with_truths_beside(files) == (files, None)
    assert with_truths_beside("*.png") == ("*.png", None)


def test_a_folder_of_images_is_left_as_it_is(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "images/b.png", "labels/b.png")
    assert with_truths_beside(tmp_path) == (tmp_path, None)

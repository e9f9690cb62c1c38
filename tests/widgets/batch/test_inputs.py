"""What lies where a batch is to read and write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from napari_neuroscope.widgets.batch.inputs import BatchInputs


def test_images_with_their_truth_and_what_is_none(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.zeros((4, 4), np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "truth").mkdir()
    tifffile.imwrite(tmp_path / "truth" / "a.tif", np.ones((4, 4), np.uint8))
    images = [str(tmp_path / "*.*")]
    found = BatchInputs.at(None, images, str(tmp_path / "truth"), "")
    assert [Path(path).name for path in found.paths] == ["a.tif", "b.tif"]
    assert found.without_truth == 1
    assert found.records == ()
    said = found.in_words(with_truth=True)
    assert said.startswith("2 images, 1 without ground truth")
    assert "without" not in found.in_words(with_truth=False)


def test_what_can_not_be_read_is_a_problem(tmp_path: Path) -> None:
    recipe = tmp_path / "bad.neuroscope-recipe.yaml"
    recipe.write_text("a: b")
    found = BatchInputs.at(str(recipe), [str(tmp_path / "nowhere")], "", str(tmp_path))
    assert found.recipe is None
    assert found.recipe_problem
    assert "nowhere" in found.images_problem
    assert found.in_words(with_truth=True) == ""

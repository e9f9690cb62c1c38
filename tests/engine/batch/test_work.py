"""The images of a batch: stacks, ground truth, names of all kinds, and kinds of output."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import tifffile
from skimage.io import imread, imsave

import napari_neuroscope as ns
from batches import images_in, recipe_in
from napari_neuroscope.engine.evaluation.metrics.localisation import energy_inside
from napari_neuroscope.engine.results.save import file_name, read_result


def run(recipe: Path, images: Any, out: Path, **more: Any) -> pandas.DataFrame:
    result = ns.run_batch(recipe, images, out, device="cpu", trust=True, **more)
    assert result.failed == ()
    return pandas.read_parquet(out / "summary.parquet")


def test_a_stack_is_one_file_and_a_row_for_each_plane(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path / "recipe")
    planes = [imread(path) for path in images_in(tmp_path / "images", 4)[::3]]
    stack = np.stack(planes)
    tifffile.imwrite(tmp_path / "series.ome.tif", stack, metadata={"axes": "TYX"})
    table = run(recipe, tmp_path / "series.ome.tif", tmp_path / "out")
    found = tifffile.imread(tmp_path / "out" / "maps" / "series.ome.neuroscope.tif")
    assert list(table["plane"]) == ["t=0", "t=1"]
    assert set(table["shape"]) == {"2 × 12 × 10"}
    made = ns.Recipe.load(recipe)
    network = made.load_network(device="cpu", trust=True)
    for number, plane in enumerate(planes):
        alone = made.run(network, plane)
        np.testing.assert_array_equal(found[number], alone.on_image())
        row, target = table.iloc[number], alone.provenance["targets"][0]
        assert row["logit"] == target["value"]
        assert row["map most"] == alone.values.max()
        assert row["share: bright"] == (network.predict(plane).labels == 1).mean()


def test_the_ground_truth_of_a_stack_is_a_stack(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path / "recipe", target=ns.Target("bright", "predicted"))
    rng = np.random.default_rng(1)
    stack = rng.integers(0, 250, (3, 12, 10), dtype=np.uint8)
    truth = rng.integers(0, 2, stack.shape, dtype=np.uint8)
    for name, values in (("images", stack), ("truths", truth)):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "a.tif", values)
    table = run(recipe, tmp_path / "images", tmp_path / "out", truths=tmp_path / "truths")
    network = ns.Recipe.load(recipe).load_network(device="cpu", trust=True)
    right = [(network.predict(image).labels == true).mean()
             for image, true in zip(stack, truth, strict=True)]  # fmt: skip
    np.testing.assert_allclose(table["Accuracy"], right)


def test_figures_against_the_ground_truth(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path / "recipe", target=ns.Target("bright", "ground_truth"))
    paths = images_in(tmp_path / "images", 2)
    (tmp_path / "truths").mkdir()
    for path in paths:
        truth = (imread(path) > 100).astype(np.uint8)
        imsave(tmp_path / "truths" / path.name, truth, check_contrast=False)
    table = run(recipe, tmp_path / "images", tmp_path / "out", truths=tmp_path / "truths")
    made = ns.Recipe.load(recipe)
    network = made.load_network(device="cpu", trust=True)
    for path, (_, row) in zip(paths, table.iterrows(), strict=True):
        image = imread(path)
        truth, labels = (image > 100).astype(int), network.predict(image).labels
        found = made.run(network, image, ground_truth=truth)
        assert row["logit"] == found.provenance["targets"][0]["value"]
        assert row["Accuracy"] == pytest.approx((truth == labels).mean())
        both, either = ((truth == 1) & (labels == 1)).sum(), ((truth == 1) | (labels == 1)).sum()
        assert row["IoU: bright"] == pytest.approx(both / either)
        inside = energy_inside(found, found.values, truth == 1)
        assert row["map share in truth"] == pytest.approx(inside)


def test_images_without_ground_truth_are_told_where_the_recipe_needs_it(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path / "recipe", target=ns.Target("bright", "ground_truth"))
    images_in(tmp_path / "images", 2)
    result = ns.run_batch(recipe, tmp_path / "images", tmp_path / "out", device="cpu", trust=True)
    assert len(result.failed) == 2
    assert "ground truth" in result.failed[0].reason


def test_a_ground_truth_that_does_not_fit_costs_no_map(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path / "recipe")
    images_in(tmp_path / "images", 2)
    (tmp_path / "truths").mkdir()
    imsave(tmp_path / "truths" / "cell0.png", np.full((12, 10), 7, np.uint8), check_contrast=False)
    table = run(recipe, tmp_path / "images", tmp_path / "out", truths=tmp_path / "truths")
    assert "7" in table["notes"][0]
    assert table["notes"][1] == ""
    assert (tmp_path / "out" / "maps" / "cell0.neuroscope.tif").exists()


def test_classes_of_a_classification(tmp_path: Path) -> None:
    spec = {"task": "classification", "input": {"size": [20, 20], "channels": 3}}
    network = ns.load("demo:blood-cells", device="cpu")
    assert spec["task"] == network.spec.task
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in "ab":
        imsave(folder / f"{name}.png", rng.integers(0, 255, (80, 80, 3), dtype=np.uint8),
               check_contrast=False)  # fmt: skip
    found = ns.explain(network, imread(folder / "a.png"), "grad_cam")
    recipe = tmp_path / "cells.neuroscope-recipe.yaml"
    ns.Recipe.of(found).save(recipe)
    best = [network.class_names[int(network.predict(imread(folder / f"{name}.png")).labels)]
            for name in "ab"]  # fmt: skip
    other = next(name for name in network.class_names if name != best[1])
    (tmp_path / "classes.csv").write_text(f"name,class\na,{best[0]}\nb.png,{other}\n")
    table = run(recipe, folder, tmp_path / "out", truths=tmp_path / "classes.csv")
    assert list(table["predicted"]) == best
    assert list(table["true class"]) == [best[0], other]
    assert list(table["right"]) == [1, 0]
    assert table["rank of the true class"][0] == 1


def test_outputs_are_named_as_their_images_whatever_these_are_called(tmp_path: Path) -> None:
    folder = tmp_path / "zwei Zellen"
    first, second, third = images_in(folder, 3)
    names = ["é ü 細胞.png", "cell #2?%.png", "-o.png"]
    for path, name in zip((first, second, third), names, strict=True):
        path.rename(folder / name)
    out = tmp_path / "out put"
    table = run(recipe_in(tmp_path / "re cipe"), folder, out)
    assert set(table["image"]) == set(names)
    found = {path.name.removesuffix(".neuroscope.tif") for path in (out / "maps").iterdir()}
    assert found == {unicodedata.normalize("NFC", "é ü 細胞"), "cell #2_%", "-o"}
    report = (out / "report.html").read_text("utf-8")
    assert 'src="thumbnails/cell%20%232_%25.jpg"' in report
    assert "細胞" in report


def test_all_kinds_of_output_are_read_back(tmp_path: Path) -> None:
    recipe, images = recipe_in(tmp_path / "recipe"), tmp_path / "images"
    image = imread(images_in(images, 1)[0])
    kinds = (".tif", ".zarr", ".npy", ".png")
    run(recipe, images, tmp_path / "out", outputs=kinds)
    made = ns.Recipe.load(recipe)
    alone = made.run(made.load_network(device="cpu", trust=True), image)
    maps = tmp_path / "out" / "maps"
    for kind in kinds[:3]:
        found = read_result(maps / file_name("cell0", kind)).explanation
        np.testing.assert_array_equal(found.on_image(), alone.on_image())
    assert imread(maps / "cell0.png").ndim == 3
    # Each of them is looked after.
    (maps / "cell0.neuroscope.json").unlink()
    again = ns.run_batch(recipe, images, tmp_path / "out", device="cpu", trust=True, outputs=kinds)
    assert again.done == 1
    assert (maps / "cell0.neuroscope.json").exists()
    with pytest.raises(ns.NeuroscopeError, match="no kind of file"):
        run(recipe, images, tmp_path / "out", outputs=[".jpeg"])

"""Recipes, scripts and results that were written before the engine's files had folders.

`fixtures/written_before` holds them as the program of then wrote them. What it explained and where
is told by the recipe of each: the shipped network of nuclei, on `image.tif` or the film.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.explain.recipe import recipe_in
from napari_neuroscope.engine.images.source import read_truth
from places import FIXTURES

WRITTEN = FIXTURES / "written_before"
# Which result holds what each recipe made.
MADE = {
    "cam": "cam.npy",
    "tiled": "tiled.ome.zarr",
    "point": "point.tif",
    "ground_truth": "ground_truth.npy",
    "layers": "layers.ome.zarr",
    "stack": "stack.tif",
}
SHAPES = {
    "cam": (64, 48),
    "tiled": (64, 48),
    "point": (64, 48),
    "ground_truth": (64, 48),
    "layers": (2, 2, 64, 48),
    "stack": (2, 64, 48),
}


def recipe_of(name: str) -> ns.Recipe:
    return ns.Recipe.load(WRITTEN / f"{name}.neuroscope-recipe.yaml")


def values_of(file: str) -> np.ndarray:
    return np.asarray(ns.read_result(WRITTEN / file).explanation.values)


def assert_same(values: np.ndarray, written: np.ndarray) -> None:
    # Other versions of PyTorch and other processors add in another order.
    np.testing.assert_allclose(values, written, rtol=1e-3, atol=1e-4 * np.abs(written).max())


@pytest.mark.parametrize("file", ["cam.tif", "cam.ome.zarr", "tiled.ome.zarr"])
def test_every_kind_of_file_holds_the_values(file: str) -> None:
    written = np.load(WRITTEN / "cam.npy")
    assert_same(values_of(file), written)
    assert written.max() > 1


@pytest.mark.parametrize("name", MADE)
def test_results_open_with_all_that_was_said_of_them(name: str) -> None:
    explanation = ns.read_result(WRITTEN / MADE[name]).explanation
    assert explanation.values.shape == SHAPES[name]
    assert explanation.method == recipe_of(name).method
    # The recipe that is within the result is the one that lies beside it.
    assert recipe_in(explanation.provenance) == recipe_of(name)


@pytest.mark.filterwarnings("ignore::napari_neuroscope.NeuroscopeWarning")
@pytest.mark.parametrize("name", MADE)
def test_recipes_make_the_same_again(name: str) -> None:
    image = ns.open_image(WRITTEN / ("film.tif" if name == "stack" else "image.tif"))
    truth = read_truth(WRITTEN / "truth.tif") if name == "ground_truth" else None
    explanation = recipe_of(name).run(None, image, ground_truth=truth, device="cpu")
    assert_same(np.asarray(explanation.values), values_of(MADE[name]))


@pytest.mark.filterwarnings("ignore::napari_neuroscope.NeuroscopeWarning")
@pytest.mark.parametrize("name", ["cam", "tiled", "ground_truth", "stack"])
def test_scripts_run_though_they_name_files_of_then(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(WRITTEN)
    script = Path(f"{name}.script.txt").read_text()
    # A target without a region was asked about everywhere; scripts name theirs since.
    script = script.replace("ns.Target('nucleus')", "ns.Target('nucleus', 'everywhere')")
    assert re.search(r"^from napari_neuroscope\.engine\.sources import read_image$", script, re.M)
    namespace: dict[str, object] = {}
    exec(compile(script, name, "exec"), namespace)
    explanation = namespace["explanation"]
    assert isinstance(explanation, ns.Explanation)
    assert_same(np.asarray(explanation.values), values_of(MADE[name]))

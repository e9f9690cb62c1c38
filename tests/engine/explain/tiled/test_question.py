"""Recipes, stacks and the command line of what is explained tile by tile."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile

import napari_neuroscope as ns
from napari_neuroscope.cli.main import main
from napari_neuroscope.engine.explain.recipe import Recipe
from napari_neuroscope.engine.explain.stacked_planes import explain_stack
from napari_neuroscope.engine.results.save import read_result
from napari_neuroscope.engine.tiles.tiling import Tiling

TILED = {"tile": 130, "weights": "tile"}


@pytest.fixture(scope="module")
def network() -> ns.Network:
    return ns.load("demo:nuclei", device="cpu")


def image(*stack: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (*stack, 150, 160)).astype(np.uint8)


@pytest.fixture(scope="module")
def tiled(network: ns.Network) -> ns.Explanation:
    return ns.explain_tiled(network, image(), "grad_cam", "nucleus", "dec1", **TILED)


def test_a_recipe_repeats_it_bit_for_bit(network: ns.Network, tiled: ns.Explanation) -> None:
    recipe = Recipe.of(tiled)
    assert recipe.tiling == Tiling(**TILED)
    again = Recipe.from_yaml(recipe.to_yaml())
    assert again == recipe
    found = again.run(network, image())
    np.testing.assert_array_equal(found.values, tiled.values)
    assert found.provenance["tiling"] == tiled.provenance["tiling"]
    with pytest.raises(ns.NeuroscopeError, match="tiling"):
        Recipe.parse({**recipe.plain(), "tiling": {"tile": 130, "weights": "none"}})


def test_the_script_and_the_command_do(
    tiled: ns.Explanation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "an image.tif", image())
    recipe = Recipe.of(tiled)
    script = recipe.as_python(tmp_path / "an image.tif")
    assert "ns.explain_tiled(" in script
    made: dict[str, object] = {}
    exec(compile(script, "script", "exec"), made)
    found = made["explanation"]
    assert isinstance(found, ns.Explanation)
    np.testing.assert_array_equal(found.values, tiled.values)

    path = tmp_path / "a.neuroscope-recipe.yaml"
    recipe.save(path)
    command = recipe.as_command(tmp_path / "an image.tif", tmp_path / "a.ome.zarr", recipe=path)
    assert main(shlex.split(command)[1:]) == 0
    values = np.asarray(read_result(tmp_path / "a.ome.zarr").explanation.values)
    np.testing.assert_array_equal(values, tiled.values)


def test_a_part_of_an_image_has_no_recipe(network: ns.Network) -> None:
    found = ns.explain_tiled(
        network, image(), "score_map", "nucleus", window=((0, 64), (0, 64)), tile=130
    )
    with pytest.raises(ns.NeuroscopeError, match="part of one image"):
        Recipe.of(found)


def test_planes_of_a_stack_are_tiled_each(network: ns.Network) -> None:
    stack = image(5)
    found = explain_stack(
        network, stack, "grad_cam", "nucleus", "dec1", planes="0:2", tiling=Tiling(**TILED)
    )
    for plane in range(2):
        alone = ns.explain_tiled(network, stack[plane], "grad_cam", "nucleus", "dec1", **TILED)
        np.testing.assert_array_equal(found.values[plane], alone.values)
    recipe = Recipe.of(found)
    np.testing.assert_array_equal(recipe.run(network, stack).values, found.values)
    assert "tiling=ns.Tiling(tile=130, weights='tile')" in recipe.as_python()


def test_an_image_of_other_axes_is_read_by_windows(network: ns.Network) -> None:
    colours = np.random.default_rng(2).random((3, 160, 150), np.float32)
    read = []

    class Sliced:
        shape, dtype, ndim = colours.shape, colours.dtype, 3
        dims = ("c", "x", "y")

        def __getitem__(self, cut):  # type: ignore[no-untyped-def]
            found = colours[cut]
            read.append(found.size)
            return found

    given = {"axes": ("c", "x", "y"), "tiling": Tiling(tile=130)}
    found = explain_stack(network, Sliced(), "score_map", "nucleus", **given)
    whole = ns.explain(network, colours.transpose(2, 1, 0), "score_map", "nucleus")
    np.testing.assert_allclose(found.values, whole.values, rtol=0, atol=2e-5)


@pytest.mark.parametrize("forced", [False, True])
def test_the_command_line_writes_as_it_goes(tmp_path: Path, forced: bool) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", image(), metadata={"axes": "YX", "PhysicalSizeX": 0.5,
                                               "PhysicalSizeY": 0.25}, ome=True,
    )  # fmt: skip
    out = tmp_path / "map.ome.zarr"
    words = ["explain", "demo:nuclei", str(tmp_path / "a.tif"), "--class", "nucleus", "--layer",
             "dec1", "--tile", "130", "--device", "cpu", "-o", str(out)]  # fmt: skip
    assert main(words) == 0
    if forced:
        assert main(words) == 1
        assert main([*words, "--force", "--overlap", "8", "--weights", "tile"]) == 0
    result = read_result(out)
    record = json.loads((out / "zarr.json").read_text())["attributes"]["neuroscope"]
    assert "growing" not in record
    assert record["recipe"]["tiling"]["tile"] == 130
    assert record["tiling"]["overlap"] == (8 if forced else "receptive field")
    assert result.spacing is not None
    assert result.spacing.along("yx").steps == (0.25, 0.5)
    network = ns.load("demo:nuclei", device="cpu")
    how = {"overlap": 8, "weights": "tile"} if forced else {}
    wanted = ns.explain_tiled(network, image(), "grad_cam", "nucleus", "dec1", tile=130, **how)
    np.testing.assert_array_equal(np.asarray(result.explanation.values), wanted.values)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_folder_of_something_else_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", image())
    out = tmp_path / "mine.zarr"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    words = ["explain", "demo:nuclei", str(tmp_path / "a.tif"), "--class", "nucleus", "--method",
             "score_map", "--tile", "130", "--device", "cpu", "-o", str(out), "--force"]  # fmt: skip
    assert main(words) == 1
    assert "holds no Zarr, so it stays" in capsys.readouterr().err
    assert (out / "notes.txt").read_text() == "mine"


def test_wrong_words_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["explain", "demo:nuclei", "a.tif", "--tile", "0", "-o", "a.tif"])
    assert "0 is less than 1" in capsys.readouterr().err

"""The command line on stacks: which planes, where they lie, and in what units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import napari_neuroscope as ns
from napari_neuroscope.cli.main import main

NUCLEI = Path(ns.__file__).parent / "samples" / "nuclei" / "images" / "04acab7636c4.png"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of nuclei that move, as OME-TIFF: (t=4, z=2, y, x)."""
    nuclei = np.asarray(ns.open_image(NUCLEI))[:64, :64]
    values = np.stack(
        [[np.roll(nuclei, (3 * t, 5 * z), (0, 1)) for z in range(2)] for t in range(4)]
    )
    said = {"axes": "TZYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 2.0,
            "TimeIncrement": 5.0, "TimeIncrementUnit": "s"}  # fmt: skip
    path = tmp_path_factory.mktemp("films") / "film ü.ome.tif"
    tifffile.imwrite(path, values, metadata=said, compression="zlib")
    return path


def run(*arguments: Any) -> int:
    return main([str(argument) for argument in arguments])


def test_planes_of_a_stack_are_explained_and_made_again(
    film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "a.neuroscope-recipe.yaml"
    asking = (
        "explain",
        "demo:nuclei",
        film,
        "--device",
        "cpu",
        "--class",
        "nucleus",
        "--layer",
        "dec1",
    )
    every_second = ("--planes", "t=0:4:2, z=1")
    assert run(*asking, *every_second, "-o", tmp_path / "a.tif", "--save-recipe", recipe) == 0
    said = capsys.readouterr().out
    assert "2 × 1 × 64 × 64 (t, z, y, x)" in said
    assert "the mean of 2 planes" in said
    assert run("run", recipe, film, "--device", "cpu", "-o", tmp_path / "again.zarr") == 0
    assert (
        run("run", recipe, film, "--device", "cpu", "--planes", "all", "-o", tmp_path / "all.npy")
        == 0
    )
    network = ns.load("demo:nuclei", device="cpu")
    with ns.open_image(film) as image:
        whole = ns.explain_stack(network, image, "grad_cam", "nucleus", "dec1")
    np.testing.assert_array_equal(np.load(tmp_path / "all.npy"), whole.values)
    for name in ("a.tif", "again.zarr"):
        with ns.open_image(tmp_path / name) as saved:
            spacing = saved.spacing
            np.testing.assert_allclose(np.asarray(saved).reshape(2, 64, 64), whole.values[::2, 1])
        # Every second image, twice as long after the one before.
        assert (spacing.steps[0], spacing.units[0]) == (10, "second")
        assert spacing.along("yx").steps == (0.25, 0.25)


def test_planes_that_can_t_be_meant(
    film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asking = ("explain", "demo:nuclei", film, "--device", "cpu", "--class", "nucleus")
    assert run(*asking, "--planes", "3", "-o", tmp_path / "a.tif") == 1
    assert "Say along which axis the planes 3 are, as in t=3." in capsys.readouterr().err
    assert run(*asking, "--planes", "t=9", "-o", tmp_path / "a.tif") == 1
    assert "the planes 0..3, but 9 was asked for" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())

"""Explanations as files: what all kinds have in common."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.explain.recipe import recipe_in
from napari_neuroscope.engine.images.spacing import Spacing
from napari_neuroscope.engine.results.formats import FORMATS
from napari_neuroscope.engine.results.save import read_result, save
from results import explanation_of, of_stack, with_regions

KINDS = [".tif", ".zarr", ".npy"]


SPACING = Spacing(("y", "x"), (0.5, 0.25), (10.0, -3.0), ("micrometer", "micrometer"))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_is_read_back(kind: str, tmp_path: Path) -> None:
    made = explanation_of(("class", "layer", "y", "x"), (2, 3, 5, 4), scale=2.0, offset=0.5)
    path = tmp_path / f"Größe μ 1{kind}"
    save(made, None, path, spacing=SPACING)
    result = read_result(path)
    found = result.explanation
    on_pixels = kind == ".tif"
    wanted = made.on_image() if on_pixels else made.values
    np.testing.assert_array_equal(np.asarray(found.values), wanted)
    assert found.grid == (made.image if on_pixels else made.grid)
    np.testing.assert_array_equal(found.on_image(), made.on_image())
    for name in ("axes", "labels", "image", "signed", "unit", "classes", "ordered"):
        assert getattr(found, name) == getattr(made, name)
    assert made.provenance.items() <= found.provenance.items()
    assert result.spacing == SPACING


@pytest.mark.parametrize("kind", KINDS)
def test_label_maps_are_read_back(kind: str, tmp_path: Path) -> None:
    made = with_regions()
    save(made, None, tmp_path / f"map{kind}")
    found = read_result(tmp_path / f"map{kind}").explanation
    assert found.ordered == {"order"}
    for name in ("prediction", "order"):
        wanted = made.companion_on_image(name) if kind == ".tif" else made.companions[name]
        np.testing.assert_array_equal(np.asarray(found.companions[name]), wanted)
    # What was read is saved anew.
    save(found, None, tmp_path / "again.zarr")
    again = read_result(tmp_path / "again.zarr").explanation
    for name, labels in found.companions.items():
        np.testing.assert_array_equal(np.asarray(again.companions[name]), np.asarray(labels))


@pytest.mark.parametrize("kind", KINDS)
def test_stacks_of_times_and_channels_are_read_back(kind: str, tmp_path: Path) -> None:
    made, spacing = of_stack()
    save(made, None, tmp_path / f"map{kind}", spacing=spacing)
    result = read_result(tmp_path / f"map{kind}")
    np.testing.assert_array_equal(np.asarray(result.explanation.values), made.values)
    assert result.explanation.axes == ("class", "c", "t", "z", "y", "x")
    assert result.spacing == spacing


@pytest.mark.parametrize("kind", [*KINDS, ".png"])
def test_what_is_equal_makes_equal_files(kind: str, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        save(with_regions(), None, tmp_path / name / f"map{kind}", spacing=SPACING)
    first, second = (
        {one.relative_to(tmp_path / name): one.read_bytes()
         for one in (tmp_path / name).rglob("*") if one.is_file()}
        for name in ("first", "second")
    )  # fmt: skip
    assert first == second


@pytest.mark.parametrize("kind", KINDS)
def test_an_unfinished_map_stays_so(kind: str, tmp_path: Path) -> None:
    made = explanation_of(("y", "x"), (3, 4))
    made = made.so_far(312, 2000)
    save(made, None, tmp_path / f"map{kind}")
    found = read_result(tmp_path / f"map{kind}").explanation
    assert found.unfinished == "312 of 2,000 passes"


@pytest.mark.parametrize("kind", KINDS)
def test_the_recipe_goes_along(kind: str, tmp_path: Path) -> None:
    network = ns.load("demo:nuclei", device="cpu")
    image = np.random.default_rng(0).integers(0, 255, (32, 48), np.uint8)
    made = ns.explain(network, image, "grad_cam", "nucleus", "dec1")
    save(made, image, tmp_path / f"map{kind}")
    found = read_result(tmp_path / f"map{kind}").explanation
    again = recipe_in(found.provenance).run(network, image)
    np.testing.assert_array_equal(again.values, made.values)
    # It goes along when what was read is saved again.
    save(found, image, tmp_path / f"again{kind}")
    second = read_result(tmp_path / f"again{kind}").explanation
    assert recipe_in(second.provenance) == recipe_in(found.provenance)
    np.testing.assert_array_equal(np.asarray(second.values), np.asarray(found.values))


def test_why_there_is_no_recipe_is_said(tmp_path: Path) -> None:
    save(explanation_of(("y", "x"), (3, 4)), None, tmp_path / "map.npy")
    found = read_result(tmp_path / "map.npy").explanation
    with pytest.raises(ns.NeuroscopeError, match="was not asked for by itself"):
        recipe_in(found.provenance)


@pytest.mark.parametrize("axes", [("class",), ("class", "score"), ("layer", "class", "score")])
@pytest.mark.parametrize("kind", [".tif", ".npy"])
def test_a_table_is_read_back(kind: str, axes: tuple[str, ...], tmp_path: Path) -> None:
    made = explanation_of(axes, (2, 3, 4)[: len(axes)], space=0)
    save(made, None, tmp_path / f"table{kind}")
    found = read_result(tmp_path / f"table{kind}").explanation
    assert found.is_table
    assert found.axes == axes
    np.testing.assert_array_equal(found.values, made.values)


@pytest.mark.parametrize("kind", [".zarr", ".png"])
def test_a_table_has_no_picture(kind: str, tmp_path: Path) -> None:
    made = explanation_of(("class",), (2,), space=0)
    with pytest.raises(ns.NeuroscopeError, match=r"save it as \.npy or \.tif"):
        save(made, None, tmp_path / f"table{kind}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", [*KINDS, ".png"])
def test_nothing_is_written_over_what_is_there(kind: str, tmp_path: Path) -> None:
    first = explanation_of(("y", "x"), (3, 4))
    second = explanation_of(("y", "x"), (5, 6))
    path = tmp_path / f"map{kind}"
    save(first, None, path)
    with pytest.raises(ns.NeuroscopeError, match="is there already"):
        save(second, None, path)
    if kind != ".png":
        assert read_result(path).explanation.values.shape == (3, 4)
    save(second, None, path, overwrite=True)
    if kind != ".png":
        assert read_result(path).explanation.values.shape == (5, 6)
    assert {one.name for one in tmp_path.iterdir()} <= {path.name, "map.json"}


def test_someones_json_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text("mine")
    with pytest.raises(ns.NeuroscopeError, match=r"map\.json is there already"):
        save(explanation_of(("y", "x"), (3, 4)), None, tmp_path / "map.npy")


def test_someones_folder_is_not_written_over(tmp_path: Path) -> None:
    mine = tmp_path / "map.zarr" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(ns.NeuroscopeError, match="holds no Zarr, so it stays"):
        save(explanation_of(("y", "x"), (3, 4)), None, mine.parent, overwrite=True)
    assert mine.read_text() == "mine"


def test_a_folder_that_cannot_take_its_place_leaves_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rename = tmp_path / "map.zarr", Path.rename
    save(explanation_of(("y", "x"), (3, 4)), None, path)

    def refused(this: Path, target: Path) -> Path:
        if target == path and this.parent == tmp_path:
            raise PermissionError(13, "Permission denied")
        return rename(this, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(ns.NeuroscopeError, match="can't be written: Permission denied"):
        save(explanation_of(("y", "x"), (5, 6)), None, path, overwrite=True)
    assert read_result(path).explanation.values.shape == (3, 4)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", [".tif", ".zarr"])
def test_a_failed_write_leaves_the_old(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, path = explanation_of(("y", "x"), (3, 4)), tmp_path / f"map{kind}"
    save(made, None, path)
    write = FORMATS[kind].write

    def full(*args: object) -> None:
        write(*args)  # type: ignore[arg-type]
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(FORMATS, kind, replace(FORMATS[kind], write=full))
    with pytest.raises(ns.NeuroscopeError, match="can't be written: No space left"):
        save(explanation_of(("y", "x"), (5, 6)), None, path, overwrite=True)
    assert read_result(path).explanation.values.shape == (3, 4)
    assert list(tmp_path.iterdir()) == [path]

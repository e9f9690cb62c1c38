"""Saved results: records that lie, lead elsewhere or never end; tables that hold formulas."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array  # noqa: F401  so that it is not imported in each case anew
import numpy as np
import tifffile
import torch
import zarr

from hostile.watch import Opener, case, marker
from napari_neuroscope.engine.explain.recipe import recipe_in
from napari_neuroscope.engine.explanation.record import Record
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.images.pairing.find_pairs import pairs_of
from napari_neuroscope.engine.results.save import is_result, read_result, save
from results import explanation_of, with_regions

Change = Callable[[dict[str, Any]], Any]


def read(path: Path) -> Opener:
    """Ask whether it is a result, as napari does at each drop, and read it."""

    def reading() -> Any:
        assert is_result(path) in (True, False)
        result = read_result(path)
        return np.asarray(result.explanation.values).shape

    return reading


def npy(folder: Path, change: Change) -> Path:
    """Save a result as .npy, and change its record."""
    path = folder / "map.neuroscope.npy"
    save(with_regions(), None, path)
    beside = path.with_suffix(".json")
    record = json.loads(beside.read_text("utf-8"))
    change(record)
    beside.write_text(json.dumps(record), "utf-8")
    return path


def _changed(**fields: Any) -> Callable[[Path], Opener]:
    return lambda folder: read(npy(folder, lambda record: record.update(fields)))


GRID = {"shape": [6, 5], "scale": [2.0, 2.0], "offset": [0.5, 0.5]}

grid_that_is_no_number = case()(_changed(grid={**GRID, "scale": [float("nan"), 2.0]}))
grid_without_width = case()(_changed(grid={**GRID, "scale": [0, 2.0]}))
grid_at_the_end_of_the_world = case()(_changed(grid={**GRID, "offset": [1e308, -1e308]}))
grid_of_another_shape = case()(_changed(grid={**GRID, "shape": [60_000, 50_000]}))
grid_of_numbers_too_long = case()(_changed(grid={**GRID, "offset": [10**400, 0]}))
image_of_huge_sides = case()(_changed(image_grid={**GRID, "shape": [2**40, 2**40]}))
shape_below_zero = case()(_changed(shape=[-2, 3, 6, 5]))
shape_that_is_text = case()(_changed(shape="abcd"))
axes_that_are_alike = case()(_changed(axes=["y", "y", "y", "y"]))
axes_without_end = case()(_changed(axes=["y"] * 100_000))
space_that_is_not_last = case()(_changed(space=["class", "y"]))
classes_of_strange_colours = case()(_changed(classes=[["<script>", [999, -5, 0]]]))
classes_that_are_no_pairs = case()(_changed(classes=[["a"]]))
targets_that_are_lists = case()(_changed(targets=[{"class": ["a"]}]))
labels_that_are_numbers = case()(_changed(labels={"class": 7}))
title_that_is_a_list = case()(_changed(title=["a"]))
notes_that_are_a_mapping = case()(_changed(notes={"a": 1}))
format_that_is_text = case()(_changed(format="1"))
format_of_the_future = case()(_changed(format=99))
class_by_its_number = case("opens")(_changed(targets=[{"class": 5}]))
unfinished_in_words = case()(_changed(unfinished={"done": "many", "total": "more"}))
companions_that_are_a_list = case()(_changed(companions=["order"]))
look_of_no_sense = case()(_changed(look={"opacity": "high", "colormap": {"colors": []}}))
spacing_without_steps = case()(_changed(spacing={"axes": ["y", "x"]}))
spacing_of_no_width = case()(
    _changed(spacing={"axes": ["y", "x"], "steps": [0, 1], "origin": [0, 0], "units": ["m", "m"]})
)


def _companion(name: str) -> Callable[[Path], Opener]:
    def build(folder: Path) -> Opener:
        np.save(folder.parent / f"{folder.name}-secret.npy", np.zeros((6, 5), np.int32))

        def change(record: dict[str, Any]) -> None:
            said = {"ordered": False, "shape": [6, 5]}
            record["companions"][name.format(folder.name)] = said

        return read(npy(folder, change))

    return build


companion_of_the_folder_above = case()(_companion("../{}-secret"))
companion_beyond_a_folder = case()(_companion("a/../../{}-secret"))
companion_with_a_backslash = case()(_companion("..\\{}-secret"))
companion_with_nul = case()(_companion("a\0b"))


@case()
def companion_that_is_a_link(folder: Path) -> Opener:
    path = npy(folder, dict.copy)
    secret = folder.parent / f"{folder.name}-secret.npy"
    np.save(secret, np.zeros((2, 6, 5), np.int32))
    beside = folder / "map.neuroscope.order.npy"
    beside.unlink()
    beside.symlink_to(secret)
    return read(path)


@case(seconds=5)
def companion_that_is_a_pipe(folder: Path) -> Opener:
    path = npy(folder, dict.copy)
    (folder / "map.neuroscope.order.npy").unlink()
    os.mkfifo(folder / "map.neuroscope.order.npy")
    return read(path)


@case(seconds=5)
def record_that_is_a_pipe(folder: Path) -> Opener:
    path = npy(folder, dict.copy)
    path.with_suffix(".json").unlink()
    os.mkfifo(path.with_suffix(".json"))
    return read(path)


@case()
def record_nested_too_deeply(folder: Path) -> Opener:
    path = npy(folder, dict.copy)
    path.with_suffix(".json").write_text("[" * 200_000)
    return read(path)


@case()
def record_of_too_many_values(folder: Path) -> Opener:
    path = npy(folder, lambda record: record.update(more=list(range(3000))))

    def reading() -> Any:
        limits.MOST_NODES = 1000
        return read(path)()

    return reading


@case()
def values_that_are_a_pickle(folder: Path) -> Opener:
    path = npy(folder, dict.copy)

    class Ran:
        def __reduce__(self) -> Any:
            return (Path.touch, (marker(folder),))

    np.save(path, np.array([Ran()], object), allow_pickle=True)
    return read(path)


@case()
def values_of_another_shape(folder: Path) -> Opener:
    path = npy(folder, dict.copy)
    np.save(path, np.zeros((2, 3, 7, 5), np.float32))
    return read(path)


@case("trust")
def recipe_that_calls_the_system(folder: Path) -> Opener:
    network = {"source": "m.pt", "factory": "os:system",
               "arguments": {"command": f"touch {marker(folder)}"}}  # fmt: skip
    torch.save({"w": torch.zeros(2)}, folder / "m.pt")
    recipe = {"network": network, "spec": {"task": "classification"}, "method": "input"}
    path = npy(folder, lambda record: record.update(recipe=recipe))
    return lambda: recipe_in(read_result(path).explanation.provenance).load_network()


# --- OME-TIFF -------------------------------------------------------------------------------------


def tiff(folder: Path, old: str, new: str) -> Path:
    """Save a result as OME-TIFF, and change its description in a file of one page."""
    path = folder / "map.neuroscope.tif"
    save(explanation_of(("y", "x"), (6, 5)), None, path)
    with tifffile.TiffFile(path) as file:
        text, values = file.pages.first.description, file.asarray()
    assert old in text
    tifffile.imwrite(path, values, description=text.replace(old, new).encode(), metadata=None)
    return path


@case()
def tiff_that_takes_pixels_elsewhere(folder: Path) -> Opener:
    secret = folder.parent / f"{folder.name}-secret.tif"
    tifffile.imwrite(secret, np.full((6, 5), 77, np.float32))
    named = f'<UUID FileName="../{secret.name}">urn:uuid:7</UUID></TiffData>'
    path = folder / "map.neuroscope.tif"
    save(explanation_of(("y", "x"), (6, 5)), None, path)
    with tifffile.TiffFile(path) as file:
        text, values = file.pages.first.description, file.asarray()
    start = text.index("<TiffData")
    end = (
        text.index("/>", start)
        if "</TiffData>" not in text
        else text.index("</TiffData>", start) + 11
    )
    text = f'{text[:start]}<TiffData IFD="0" PlaneCount="1">{named}{text[end:].removeprefix("/>")}'
    tifffile.imwrite(path, values, description=text.encode(), metadata=None)
    return read(path)


@case()
def tiff_whose_record_is_no_json(folder: Path) -> Opener:
    return read(tiff(folder, "&quot;format&quot;", "&quot;format"))


@case()
def tiff_whose_record_expands(folder: Path) -> Opener:
    words = "<!DOCTYPE OME [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;'>]><OME "
    return read(tiff(folder, "<OME ", words))


@case()
def tiff_of_another_shape(folder: Path) -> Opener:
    return read(tiff(folder, "[6, 5]", "[60000, 50000]"))


@case(seconds=5)
def pipe_as_result(folder: Path) -> Opener:
    os.mkfifo(folder / "map.neuroscope.tif")
    return read(folder / "map.neuroscope.tif")


@case("opens")
def names_of_control_characters(folder: Path) -> Opener:
    strange = "a\0b\x1b[31m\ud800\uffff\u202e]]><&"
    made = explanation_of(("class", "y", "x"), (2, 6, 5))
    target = {"class": strange, "region": "everywhere", "value": 1.0}
    made = replace(
        made, labels={"class": (strange, "b")}, classes=((strange, (1, 2, 3)),),
        record=Record.from_json({**made.provenance, "targets": [target], "notes": [strange]}),
    )  # fmt: skip
    paths = [folder / f"map{kind}" for kind in (".tif", ".npy", ".ome.zarr")]
    for path in paths:
        save(made, None, path)

    def reading() -> Any:
        for path in paths:
            found = read_result(path).explanation
            assert found.labels == made.labels
            assert found.classes == made.classes
            assert found.provenance["notes"] == [strange]
        return "the same"

    return reading


# --- OME-Zarr -------------------------------------------------------------------------------------


def zarred(folder: Path, change: Change) -> Path:
    """Save a result as OME-Zarr, and change what its folder says."""
    path = folder / "map.ome.zarr"
    save(with_regions(), None, path)
    described = json.loads((path / "zarr.json").read_text())
    change(described["attributes"])
    (path / "zarr.json").write_text(json.dumps(described))
    return path


def _levels(paths: list[str]) -> Callable[[Path], Opener]:
    def build(folder: Path) -> Opener:
        outside = folder.parent / f"{folder.name}-secret.zarr"
        zarr.create_array(outside, shape=(6, 6, 5), dtype="f4", fill_value=9)

        def change(said: dict[str, Any]) -> None:
            levels = said["ome"]["multiscales"][0]["datasets"]
            levels[:] = [{**levels[0], "path": one.format(folder.name)} for one in paths]

        return read(zarred(folder, change))

    return build


zarr_of_the_folder_above = case()(_levels(["../../{}-secret.zarr"]))
zarr_of_an_absolute_path = case()(_levels(["/{}-secret.zarr"]))
zarr_of_no_level = case()(_levels([]))
zarr_of_a_level_that_is_not_there = case()(_levels(["7"]))


@case()
def zarr_whose_level_is_a_link(folder: Path) -> Opener:
    path = zarred(folder, dict.copy)
    outside = folder.parent / f"{folder.name}-secret"
    (path / "0").rename(outside)
    (path / "0").symlink_to(outside)
    return read(path)


@case()
def zarr_whose_labels_are_a_link(folder: Path) -> Opener:
    path = zarred(folder, dict.copy)
    outside = folder.parent / f"{folder.name}-secret"
    (path / "labels" / "order").rename(outside)
    (path / "labels" / "order").symlink_to(outside)
    return read(path)


@case()
def zarr_of_a_damaged_chunk(folder: Path) -> Opener:
    path = zarred(folder, dict.copy)
    chunk = next(one for one in (path / "0" / "c").rglob("*") if one.is_file())
    chunk.write_bytes(b"damaged")
    return read(path)


@case()
def zarr_of_another_shape(folder: Path) -> Opener:
    return read(zarred(folder, lambda said: said["neuroscope"].update(shape=[2, 3, 60, 50])))


@case()
def zarr_of_a_trillion_chunks(folder: Path) -> Opener:
    path = folder / "map.ome.zarr"
    save(explanation_of(("y", "x"), (6, 5)), None, path)
    side = 10**6
    for place, change in {
        path / "zarr.json": lambda d: d["attributes"]["neuroscope"].update(
            shape=[side, side], grid={"shape": [side, side], "scale": [1, 1], "offset": [0, 0]}
        ),
        path / "0" / "zarr.json": lambda d: d.update(
            shape=[side, side],
            chunk_grid={"name": "regular", "configuration": {"chunk_shape": [1, 1]}},
        ),
    }.items():
        described = json.loads(place.read_text())
        change(described)
        place.write_text(json.dumps(described))
    return read(path)


# --- tables ---------------------------------------------------------------------------------------


@case()
def table_of_an_endless_cell(folder: Path) -> Opener:
    np.save(folder / "i.npy", np.zeros((4, 4), np.uint8))
    (folder / "t.csv").write_text('image,class\ni.npy,"' + "a" * 200_000 + '"\n')
    return lambda: pairs_of(folder / "i.npy", folder / "t.csv")[0].truth


@case(seconds=5)
def table_that_is_a_pipe(folder: Path) -> Opener:
    np.save(folder / "i.npy", np.zeros((4, 4), np.uint8))
    os.mkfifo(folder / "t.csv")
    return lambda: pairs_of(folder / "i.npy", folder / "t.csv")[0].truth

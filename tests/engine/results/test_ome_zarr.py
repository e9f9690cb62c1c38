"""Explanations as OME-Zarr, as the standard says and others read them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from ome_zarr_models.v05 import Image

from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.images.spacing import Spacing
from napari_neuroscope.engine.results import ome_zarr
from napari_neuroscope.engine.results.ome_zarr import Store
from napari_neuroscope.engine.results.save import read_result, save
from results import CLASSES, explanation_of, of_stack, with_regions

SPACING = Spacing(("y", "x"), (0.5, 250.0), (10.0, -3.0), ("µm", "nm"))


def validated(path: Path) -> Any:
    """Return what a folder says of itself, where it keeps to the standard."""
    return Image.from_zarr(zarr.open_group(str(path), mode="r"))


def seen_by_napari_ome_zarr(path: Path) -> list[tuple]:
    from napari_ome_zarr.ome_zarr_reader import read_ome_zarr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_ome_zarr(zarr.open_group(str(path), mode="r"))(str(path))


def transforms(path: Path, level: int = 0) -> tuple[list[float], list[float]]:
    dataset = validated(path).ome_attributes.multiscales[0].datasets[level]
    scale, translation = dataset.coordinateTransformations
    return list(scale.scale), list(translation.translation)


def test_a_coarse_map_lies_where_its_cells_are(tmp_path: Path) -> None:
    made = explanation_of(("class", "layer", "y", "x"), (2, 3, 5, 4), scale=8.0, offset=3.5)
    save(made, None, tmp_path / "map.zarr", spacing=SPACING)
    image = validated(tmp_path / "map.zarr")
    said = image.ome_attributes.multiscales[0]
    assert [axis.name for axis in said.axes] == ["c", "y", "x"]
    assert [axis.unit for axis in said.axes] == [None, "micrometer", "nanometer"]
    assert transforms(tmp_path / "map.zarr") == (
        [1, 8 * 0.5, 8 * 250], [0, 10 + 3.5 * 0.5, -3 + 3.5 * 250]
    )  # fmt: skip
    ((levels, attributes, kind),) = seen_by_napari_ome_zarr(tmp_path / "map.zarr")
    assert kind == "image"
    np.testing.assert_array_equal(np.asarray(levels[0]), made.values.reshape(6, 5, 4))
    np.testing.assert_allclose(attributes["scale"], [4, 2000])
    # Of an image of version 0.5, napari-ome-zarr 0.10 takes no translation.
    ends = [name.rpartition(": ")[2] for name in attributes["name"]]
    assert ends == [f"class {a} · layer {b}" for a in "αβ" for b in "αβγ"]
    most = np.abs(made.values).max((2, 3)).ravel()
    np.testing.assert_allclose(attributes["contrast_limits"], np.stack([-most, most], 1))


def test_a_stack_has_times_channels_and_three_axes_of_space(tmp_path: Path) -> None:
    made, spacing = of_stack()
    save(made, None, tmp_path / "map.ome.zarr", spacing=spacing)
    said = validated(tmp_path / "map.ome.zarr").ome_attributes.multiscales[0]
    assert [(axis.name, axis.type) for axis in said.axes] == [
        ("t", "time"), ("c", "channel"), ("z", "space"), ("y", "space"), ("x", "space"),
    ]  # fmt: skip
    assert transforms(tmp_path / "map.ome.zarr") == (
        [2.5, 1, 2, 0.5, 0.5], [1, 0, 7, 0, -1]
    )  # fmt: skip
    ((levels, _, _),) = seen_by_napari_ome_zarr(tmp_path / "map.ome.zarr")
    np.testing.assert_array_equal(np.asarray(levels[0])[1, 3], made.values[1, 1, 1])


def test_label_maps_have_colours_and_names(tmp_path: Path) -> None:
    made = with_regions()
    save(made, None, tmp_path / "map.zarr", spacing=SPACING)
    labels = validated(tmp_path / "map.zarr").labels
    assert labels.label_paths == ["prediction", "order"]
    _, first, second = seen_by_napari_ome_zarr(tmp_path / "map.zarr")
    np.testing.assert_array_equal(np.asarray(first[0][0]), made.companions["prediction"])
    np.testing.assert_array_equal(np.asarray(second[0][0]), made.companions["order"])
    np.testing.assert_allclose(first[1]["scale"], [1.0, 500.0])
    group = zarr.open_group(str(tmp_path / "map.zarr" / "labels" / "prediction"), mode="r")
    about = group.attrs["ome"]["image-label"]
    assert max(second[1]["colormap"]) == made.companions["order"].max()
    assert [one["rgba"] for one in about["colors"]] == [
        [*colour, 255 if number else 0] for number, (_, colour) in enumerate(CLASSES)
    ]
    assert [one["class"] for one in about["properties"]] == [name for name, _ in CLASSES]


def test_large_maps_have_coarser_levels_in_their_place(tmp_path: Path) -> None:
    made = explanation_of(("class", "y", "x"), (2, 30, 4099))
    values = np.arange(30 * 4099, dtype=np.float32).reshape(30, 4099)
    made.values[...] = [values, -values]
    made = replace(made, companions={"prediction": (values % 3).astype(np.int32)})
    save(made, None, tmp_path / "map.zarr", spacing=SPACING)
    image = validated(tmp_path / "map.zarr")
    levels = [zarr.open_array(str(tmp_path / "map.zarr" / str(n)), mode="r") for n in range(5)]
    assert len(image.ome_attributes.multiscales[0].datasets) == 5
    assert [one.shape[1:] for one in levels] == [
        (30, 4099), (15, 2050), (8, 1025), (4, 513), (2, 257)
    ]  # fmt: skip
    np.testing.assert_array_equal(levels[0], made.values)
    half = made.values[:, :, :4098].reshape(2, 15, 2, 2049, 2).mean((2, 4))
    np.testing.assert_allclose(levels[1][:, :, :2049], half)
    scale, translation = transforms(tmp_path / "map.zarr", 2)
    assert scale == [1, 4 * 0.5, 4 * 250]
    assert translation == [0, 10 + 1.5 * 0.5, -3 + 1.5 * 250]
    result = read_result(tmp_path / "map.zarr")
    assert [one.shape for one in result.levels] == [one.shape for one in levels]
    assert result.most == values.max()


def test_many_chunks_share_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ome_zarr, "_MOST_FILES", 4)
    made = explanation_of(("y", "x"), (600, 2000))
    save(made, None, tmp_path / "map.zarr")
    array = zarr.open_array(str(tmp_path / "map.zarr" / "0"), mode="r")
    assert array.shards == (4096, 4096)
    assert array.chunks == (512, 512)
    np.testing.assert_array_equal(array, made.values)
    validated(tmp_path / "map.zarr")


def empty_like(made: Explanation) -> Explanation:
    return explanation_of(made.axes, made.values.shape)


@pytest.mark.parametrize("axes", [("class", "y", "x"), ("class", "layer", "y", "x")])
def test_a_store_that_is_written_part_by_part_is_the_whole(
    axes: tuple[str, ...], tmp_path: Path
) -> None:
    shape = (2, 3, 2100, 50)[4 - len(axes) :]
    made = explanation_of(axes, shape)
    save(made, None, tmp_path / "whole.zarr")
    store = Store.create(tmp_path / "grown.zarr", empty_like(made).full_record(), chunk=(256, 32))
    growing = read_result(tmp_path / "grown.zarr").explanation
    assert np.isnan(np.asarray(growing.values)).all()
    assert "its writing was interrupted: parts are missing" in growing.provenance["notes"]
    leading = tuple(slice(0, n) for n in shape[:-2])
    for y in range(0, 2100, 700):
        for x in (slice(0, 21), slice(21, 50)):
            part = (*leading, slice(y, y + 700), x)
            store.array[part] = made.values[part]
            store.written(part)
    store.finish(made.full_record())
    found, whole = read_result(tmp_path / "grown.zarr"), read_result(tmp_path / "whole.zarr")
    assert found.explanation.provenance == whole.explanation.provenance
    assert found.most == whole.most
    for one, other in zip(found.levels, whole.levels, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    validated(tmp_path / "grown.zarr")


def test_a_store_is_not_made_where_one_is(tmp_path: Path) -> None:
    made = explanation_of(("y", "x"), (5, 4))
    save(made, None, tmp_path / "map.zarr")
    with pytest.raises(FileExistsError):
        Store.create(tmp_path / "map.zarr", made.full_record())
    np.testing.assert_array_equal(
        np.asarray(read_result(tmp_path / "map.zarr").explanation.values), made.values
    )

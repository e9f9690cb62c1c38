"""Images and their ground truth, found and paired by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

import napari_neuroscope as ns
from napari_neuroscope.engine.images.formats.image_file import open_image
from napari_neuroscope.engine.images.pairing.find_pairs import pairs_of
from napari_neuroscope.engine.images.source import Source
from pair_files import partners, put
from zarr_files import FILM, put_ome_zarr


def test_images_and_ground_truth_in_one_folder(tmp_path: Path) -> None:
    folder = put(tmp_path, "a.png", "a_mask.png", "b.png", "b_mask.png", "lone_mask.png")
    pairs = pairs_of(folder, folder)
    assert partners(pairs) == {"a.png": "a_mask.png", "b.png": "b_mask.png", "lone_mask.png": None}


def test_an_image_without_partner_is_there_without(tmp_path: Path) -> None:
    pairs = pairs_of(put(tmp_path / "i", "a.png", "b.png"), put(tmp_path / "t", "b.png"))
    assert partners(pairs) == {"a.png": None, "b.png": "b.png"}
    assert pairs.without_truth == ("a.png",)
    assert partners(pairs_of(tmp_path / "i")) == {"a.png": None, "b.png": None}


def test_a_folder_of_ground_truth_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ns.NeuroscopeError, match="There is no ground truth"):
        pairs_of(put(tmp_path, "a.png"), tmp_path / "nowhere")


def test_folders_named_by_classes(tmp_path: Path) -> None:
    folder = put(tmp_path, "red/a.png", "white/a.png", "white/b.png")
    pairs = pairs_of(folder, folder_names=True)
    assert partners(pairs) == {"red/a.png": "red", "white/a.png": "white", "b.png": "white"}


def put_plate(path: Path) -> Path:
    plate = zarr.open_group(path, mode="w")
    wells = ("A/1", "B/12")
    plate.attrs["ome"] = {"version": "0.5", "plate": {"wells": [{"path": well} for well in wells]}}
    for well in wells:
        images = [{"path": "0"}, {"path": "1"}]
        group = plate.create_group(well)
        group.attrs["ome"] = {"version": "0.5", "well": {"images": images}}
        for image in images:
            put_ome_zarr(path / well / image["path"])
    return path


def test_a_plate_is_an_image_a_field(tmp_path: Path) -> None:
    path = put_plate(tmp_path / "scans" / "plate.zarr")
    put_ome_zarr(tmp_path / "scans" / "other.zarr")
    pairs = pairs_of(tmp_path / "scans")
    assert [pair.name for pair in pairs] == [
        "other.zarr", "plate.zarr/A/1/0", "plate.zarr/A/1/1", "plate.zarr/B/12/0",
        "plate.zarr/B/12/1",
    ]  # fmt: skip
    assert pairs.skipped == ()
    np.testing.assert_array_equal(pairs[3].image.read(), FILM)
    assert [pair.name for pair in pairs_of(path)] == [pair.name for pair in pairs][1:]
    with pytest.raises(ns.NeuroscopeError, match="several images; choose one, such as A/1/0"):
        open_image(path)
    assert Source.of(path / "A" / "1" / "0").name == "plate.zarr/A/1/0"
    assert Source.of(path / "A" / "1" / "0").shape == FILM.shape


def test_ground_truth_of_plates_and_zarrs(tmp_path: Path) -> None:
    path = put_plate(tmp_path / "plate.zarr")
    truth = put_plate(tmp_path / "truth" / "plate_gt.zarr")
    put_ome_zarr(tmp_path / "a.ome.zarr")
    np.save(tmp_path / "truth" / "a_mask.npy", FILM)
    pairs = pairs_of([path, tmp_path / "a.ome.zarr"], tmp_path / "truth")
    found = {pair.name: pair.truth for pair in pairs}
    assert isinstance(found["plate.zarr/B/12/1"], Source)
    assert found["plate.zarr/B/12/1"].path == truth / "B" / "12" / "1"
    assert isinstance(found["a.ome.zarr"], Source)
    assert found["a.ome.zarr"].path == tmp_path / "truth" / "a_mask.npy"


def test_a_damaged_plate_is_left_out(tmp_path: Path) -> None:
    path = put_plate(tmp_path / "plate.zarr")
    np.save(tmp_path / "a.npy", FILM)
    for well in ("C/3", "../a"):
        zarr.open_group(path).attrs["ome"] = {"plate": {"wells": [{"path": well}]}}
        pairs = pairs_of(tmp_path)
        assert [pair.name for pair in pairs] == ["a.npy"]
        assert "is damaged" in pairs.skipped[0].reason

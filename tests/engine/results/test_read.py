"""Saved explanations are read back, and what is none of ours is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.results.save import is_result, read_result, save
from results import explanation_of, with_regions


def test_other_files_are_none_of_ours(tmp_path: Path) -> None:
    import tifffile
    import zarr

    values = np.zeros((4, 5), np.float32)
    np.save(tmp_path / "a.npy", values)
    np.save(tmp_path / "b.npy", values)
    (tmp_path / "b.json").write_text(json.dumps({"axes": ["y", "x"]}))
    np.save(tmp_path / "c.npy", values)
    (tmp_path / "c.json").write_bytes(b"\xff\xfe not json")
    tifffile.imwrite(tmp_path / "a.tif", values)
    tifffile.imwrite(tmp_path / "b.ome.tif", values, metadata={"axes": "YX"})
    (tmp_path / "c.tif").write_bytes(b"II*\0 broken")
    zarr.save_array(str(tmp_path / "a.zarr"), values)
    zarr.open_group(str(tmp_path / "b.zarr"), mode="w")
    (tmp_path / "c.zarr").mkdir()
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "folder.tif").mkdir()
    for path in tmp_path.iterdir():
        assert not is_result(path), path
        with pytest.raises(ns.NeuroscopeError):
            read_result(path)
    with pytest.raises(ns.NeuroscopeError, match="There is no file"):
        read_result(tmp_path / "missing.tif")


def test_a_record_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    save(explanation_of(("y", "x"), (3, 4)), None, tmp_path / "map.npy")
    record = json.loads((tmp_path / "map.json").read_text("utf-8"))
    (tmp_path / "map.json").write_text(json.dumps({**record, "format": 99}), "utf-8")
    with pytest.raises(ns.NeuroscopeError, match="format 99, newer than"):
        read_result(tmp_path / "map.npy")


def test_a_record_that_names_other_folders_is_refused(tmp_path: Path) -> None:
    save(with_regions(), None, tmp_path / "map.npy")
    record = json.loads((tmp_path / "map.json").read_text("utf-8"))
    record["companions"]["../secret"] = record["companions"].pop("order")
    (tmp_path / "map.json").write_text(json.dumps(record), "utf-8")
    with pytest.raises(ns.NeuroscopeError, match="names files of other folders"):
        read_result(tmp_path / "map.npy")

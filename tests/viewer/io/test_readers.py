"""Files that are no saved explanation are left to other readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

import napari_neuroscope as ns
from napari_neuroscope.engine.results.save import save
from napari_neuroscope.viewer.io import readers
from napari_neuroscope.viewer.io.readers import result_reader
from results import explanation_of


def test_files_of_others_are_left_to_others(tmp_path: Path) -> None:
    np.save(tmp_path / "other.npy", np.zeros((4, 5)))
    (tmp_path / "tiffs").mkdir()
    made = explanation_of(("class",), (2,), space=0)
    save(made, None, tmp_path / "table.npy")
    for name in ("other.npy", "tiffs", "missing.tif"):
        assert result_reader(str(tmp_path / name)) is None
    assert result_reader([str(tmp_path / "table.npy"), str(tmp_path / "other.npy")]) is None
    reader = result_reader(str(tmp_path / "table.npy"))
    with pytest.raises(ns.NeuroscopeError, match="is a table of scores"):
        reader(str(tmp_path / "table.npy"))  # type: ignore[misc]


def test_a_file_named_as_ours_that_holds_values_alone_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(readers, "show_info", said.append)
    path = tmp_path / "map.neuroscope.tif"
    tifffile.imwrite(path, np.zeros((4, 4), np.float32))
    # Others open it.
    assert result_reader(str(path)) is None
    assert "holds values alone" in said[0]
    tifffile.imwrite(tmp_path / "map.tif", np.zeros((4, 4), np.float32))
    assert result_reader(str(tmp_path / "map.tif")) is None
    assert len(said) == 1

"""Files that are no saved explanation are left to other readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.results.save import save
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

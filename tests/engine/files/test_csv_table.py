"""Tables whose texts look like formulas are read back as they were."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from napari_neuroscope.engine.files.csv_table import write_csv
from napari_neuroscope.engine.images.pairing.find_pairs import pairs_of


def test_a_table_of_formulas_is_read_back(tmp_path: Path) -> None:
    np.save(tmp_path / "=a.npy", np.zeros((4, 4)))
    rows = [["image", "class"], ["=a.npy", "@b"], ["\udcff.npy", "-1.5"]]
    write_csv(tmp_path / "t.csv", rows)
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [rows[0], ["'=a.npy", "'@b"], ["\\udcff.npy", "-1.5"]]
    (pair,) = pairs_of(tmp_path / "=a.npy", tmp_path / "t.csv")
    assert pair.truth == "@b"

"""Tables that programs for spreadsheets open: no text in them is a formula."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_neuroscope.engine.files.csv_table import write_csv
from napari_neuroscope.engine.files.reading.csv_cells import with_formula, without_formula
from napari_neuroscope.engine.images.pairing.find_pairs import pairs_of


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"), ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"), ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"), ("\t=1", "'\t=1"), ("\r=1", "'\r=1"), ("＝1+1", "'＝1+1"),
        ("'=1", "''=1"), ("nucleus", "nucleus"), ("-", "-"), ("'tis", "'tis"), ("", ""),
        ("-0.5", "-0.5"), ("+1e-3", "+1e-3"), ("-inf", "-inf"), (-0.5, -0.5), (None, None),
    ],
)  # fmt: skip
def test_texts_are_no_formulas_and_numbers_stay(cell: Any, written: Any) -> None:
    assert without_formula(cell) == written
    if isinstance(cell, str):
        assert with_formula(written) == cell


def test_a_table_of_formulas_is_read_back(tmp_path: Path) -> None:
    np.save(tmp_path / "=a.npy", np.zeros((4, 4)))
    rows = [["image", "class"], ["=a.npy", "@b"], ["\udcff.npy", "-1.5"]]
    write_csv(tmp_path / "t.csv", rows)
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [rows[0], ["'=a.npy", "'@b"], ["\\udcff.npy", "-1.5"]]
    (pair,) = pairs_of(tmp_path / "=a.npy", tmp_path / "t.csv")
    assert pair.truth == "@b"

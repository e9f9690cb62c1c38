"""Tables that programs for spreadsheets open: no text in them is a formula."""

from __future__ import annotations

from typing import Any

import pytest

from napari_neuroscope.engine.files.reading.csv_cells import with_formula, without_formula


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

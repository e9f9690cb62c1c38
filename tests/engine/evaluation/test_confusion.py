"""Confusion matrices and their figures, by hand."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_neuroscope as ns
from confusions import ANSWER, NAMES, TRUTH, example
from napari_neuroscope.engine.evaluation.confusion import Confusion
from napari_neuroscope.engine.files.csv_table import write_csv

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def test_rows_are_true_and_columns_predicted() -> None:
    expected = [[2, 1, 0, 0], [1, 2, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(example().counts, expected)
    assert example().counts.dtype == np.int64
    assert example().total == 7


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.int64, np.uint16])
def test_any_type_of_whole_numbers(dtype: type) -> None:
    # As many classes as the narrowest types leave no room to multiply in.
    truth, answer = np.array([0, 90, 100, 100], dtype), np.array([1, 90, 99, 0], dtype)
    counts = Confusion.of(truth, answer, 101).counts
    assert {(int(t), int(p)) for t, p in np.argwhere(counts)} == {
        (0, 1), (90, 90), (100, 99), (100, 0),
    }  # fmt: skip


def test_what_is_given_stays_as_it_is() -> None:
    truth, answer = TRUTH.astype(np.int32), ANSWER.astype(np.int32)
    Confusion.of(truth, answer, NAMES)
    np.testing.assert_array_equal(truth, TRUTH)
    np.testing.assert_array_equal(answer, ANSWER)


def test_shares_of_nothing_are_not_applicable() -> None:
    by_true = example().normalised("true")
    np.testing.assert_allclose(by_true[:3], [[2 / 3, 1 / 3, 0, 0], [1 / 3, 2 / 3, 0, 0],
                                             [0, 1, 0, 0]])  # fmt: skip
    assert np.isnan(by_true[3]).all()
    by_predicted = example().normalised("predicted")
    np.testing.assert_allclose(by_predicted[:, 0], [2 / 3, 1 / 3, 0, 0])
    assert np.isnan(by_predicted[:, 2:]).all()
    np.testing.assert_allclose(example().normalised("all").sum(), 1)
    np.testing.assert_array_equal(example().normalised(), example().counts)


@pytest.mark.parametrize(
    ("truth", "answer", "says"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), "(2, 3), but the prediction (3, 2)"),
        ([0, 4], [0, 0], "The ground truth has the classes 0..4, but there are 4: 0..3."),
        ([0, 0], [0, 4], "The prediction has the classes 0..4"),
        ([0, 0], [-2, 0], "The prediction has the classes -2..0"),
        ([-5, 0], [0, 0], "The ground truth has the classes -5..0"),
        ([0.0, 1.0], [0, 0], "The ground truth's type is float64"),
        ([0, 2**32], [0, 0], "0..4294967296"),
    ],
)
def test_what_is_no_class(truth: Any, answer: Any, says: str) -> None:
    with pytest.raises(ns.NeuroscopeError) as refusal:
        Confusion.of(truth, answer, NAMES)
    assert says in str(refusal.value)


def test_other_mistakes_are_said() -> None:
    with pytest.raises(ns.NeuroscopeError, match="don't add up"):
        example() + Confusion.of([0], [0], 2)
    with pytest.raises(ns.NeuroscopeError, match="not “rows”"):
        example().normalised("rows")  # type: ignore[arg-type]


def test_as_csv(tmp_path: Path) -> None:
    path = tmp_path / "confusion.csv"
    example().to_csv(path)
    rows = list(csv.reader(path.open(encoding="utf-8")))
    assert rows[0] == ["true \\ predicted", *NAMES]
    assert rows[1] == ["sky", "2", "1", "0", "0"]
    assert rows[2] == ["car", "1", "2", "0", "0"]
    with pytest.raises(ns.NeuroscopeError, match="is there already"):
        example().to_csv(path)
    example().to_csv(path, "true", overwrite=True)
    rows = list(csv.reader(path.open(encoding="utf-8")))
    assert [float(cell) for cell in rows[1][1:]] == [2 / 3, 1 / 3, 0, 0]
    assert rows[4] == ["tree"] + ["n/a"] * 4
    assert [p.name for p in tmp_path.iterdir()] == ["confusion.csv"]
    with pytest.raises(ns.NeuroscopeError, match="can't be written"):
        example().to_csv(tmp_path / "nowhere" / "x.csv")


def test_a_disk_that_fills_up_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("mine")

    def rows() -> Iterator[list[str]]:
        yield ["one"]
        raise OSError(28, "No space left on device")

    with pytest.raises(ns.NeuroscopeError, match="can't be written: No space left on device"):
        write_csv(path, rows(), overwrite=True)
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]

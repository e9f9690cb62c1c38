"""Confusion matrices and their figures, by hand."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import napari_neuroscope as ns
from napari_neuroscope.engine.evaluation.confusion import Confusion
from napari_neuroscope.engine.evaluation.confusion_metrics import (
    CONFUSION_METRICS,
    metrics_for_task,
    top_k,
    true_rank,
)
from napari_neuroscope.engine.files.csv_table import write_csv

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

NAMES = ("sky", "car", "road", "tree")
TRUTH = np.array([[0, 0, 1], [1, 1, -1], [0, 2, 2]])
ANSWER = np.array([[0, 1, 1], [0, 1, 1], [0, 1, -1]])


def example() -> Confusion:
    return Confusion.of(TRUTH, ANSWER, NAMES)


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


def test_figures_by_hand() -> None:
    found = {name: metric(example()) for name, metric in CONFUSION_METRICS.items()}
    nan = np.nan
    expected = {
        "iou": [2 / 4, 2 / 5, 0, nan],
        "dice": [4 / 6, 4 / 7, 0, nan],
        "f1": [4 / 6, 4 / 7, 0, nan],
        "precision": [2 / 3, 2 / 4, nan, nan],
        "recall": [2 / 3, 2 / 3, 0, nan],
        "accuracy": 4 / 7,
        "mean_iou": (2 / 4 + 2 / 5) / 3,
        "mean_dice": (4 / 6 + 4 / 7) / 3,
        "mean_f1": (4 / 6 + 4 / 7) / 3,
        "mean_precision": (2 / 3 + 2 / 4) / 2,
        "mean_recall": (2 / 3 + 2 / 3) / 3,
    }
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-12, err_msg=name)
        assert CONFUSION_METRICS[name].per_class == (np.ndim(value) == 1)


def test_an_image_of_void_has_no_figures() -> None:
    nothing = Confusion.of(np.full((3, 3), -1), ANSWER, NAMES)
    assert nothing.total == 0
    assert np.isnan(nothing.normalised("all")).all()
    assert all(np.isnan(metric(nothing)).all() for metric in CONFUSION_METRICS.values())
    assert Confusion.of(np.zeros((0, 3), int), np.zeros((0, 3), int), NAMES).total == 0


def test_figures_of_each_task() -> None:
    assert "mean_iou" in metrics_for_task("segmentation")
    assert "mean_iou" not in metrics_for_task("classification")
    assert "f1" in metrics_for_task("classification")
    assert "f1" not in metrics_for_task("segmentation")


_labels = arrays(np.int16, (3, 2, 8), elements=st.integers(-1, 3))


@given(_labels)
def test_images_add_up_to_all_of_them(labels: np.ndarray) -> None:
    one_by_one = Confusion.none(NAMES)
    for truth, answer in labels:
        one_by_one += Confusion.of(truth, answer, NAMES)
    together = Confusion.of(labels[:, 0], labels[:, 1], NAMES)
    np.testing.assert_array_equal(one_by_one.counts, together.counts)
    # Taking the one for the other turns the matrix over, and precision into recall.
    turned = Confusion.of(labels[:, 1], labels[:, 0], NAMES)
    np.testing.assert_array_equal(turned.counts, together.counts.T)
    np.testing.assert_array_equal(
        CONFUSION_METRICS["precision"](turned), CONFUSION_METRICS["recall"](together)
    )


@given(_labels)
def test_a_stack_of_matrices_is_each_of_them(labels: np.ndarray) -> None:
    each = [Confusion.of(truth, answer, NAMES) for truth, answer in labels]
    stack = np.stack([one.counts for one in each])
    for metric in CONFUSION_METRICS.values():
        np.testing.assert_array_equal(metric(stack), [metric(one) for one in each])


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


def test_the_rank_of_the_true_class() -> None:
    scores = np.array([[3.0, 2, 1], [3, 2, 1], [1, 1, 1], [1, 1, 1]])
    np.testing.assert_array_equal(true_rank(scores, [0, 2, 0, 2]), [1, 3, 1, 3])
    assert top_k(scores, [0, 2, 0, 2], 1) == 0.5
    assert top_k(scores, [0, 2, 0, 2], 3) == 1.0
    assert np.isnan(top_k(np.zeros((0, 3)), np.zeros(0, int), 1))
    with pytest.raises(ns.NeuroscopeError, match="at least 1, not 0"):
        top_k(scores, [0, 0, 0, 0], 0)


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

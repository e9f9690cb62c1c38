"""Metrics of confusion matrices, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import napari_neuroscope as ns
from confusions import ANSWER, NAMES, example
from napari_neuroscope.engine.evaluation.confusion import Confusion
from napari_neuroscope.engine.evaluation.confusion_metrics import (
    CONFUSION_METRICS,
    metrics_for_task,
    top_k,
    true_rank,
)

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


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


def test_the_rank_of_the_true_class() -> None:
    scores = np.array([[3.0, 2, 1], [3, 2, 1], [1, 1, 1], [1, 1, 1]])
    np.testing.assert_array_equal(true_rank(scores, [0, 2, 0, 2]), [1, 3, 1, 3])
    assert top_k(true_rank(scores, [0, 2, 0, 2]), 1) == 0.5
    assert top_k(true_rank(scores, [0, 2, 0, 2]), 3) == 1.0
    assert np.isnan(top_k([], 1))
    with pytest.raises(ns.NeuroscopeError, match="at least 1, not 0"):
        top_k(true_rank(scores, [0, 0, 0, 0]), 0)

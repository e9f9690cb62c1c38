"""Confusion matrices and figures against scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sklearn

from napari_neuroscope.engine.evaluation.confusion import Confusion
from napari_neuroscope.engine.evaluation.confusion_metrics import (
    CONFUSION_METRICS,
    top_k,
    true_rank,
)

COUNT = 4
# Few pixels of many classes: some are in neither, some in one alone, and all may be void.
_labels = arrays(np.int32, (2, 3, 4), elements=st.integers(-1, COUNT - 1))


def close(ours: object, theirs: object) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12, equal_nan=True)


@given(_labels)
def test_counts_shares_and_figures(labels: np.ndarray) -> None:
    truth, predicted = labels
    seen = (truth >= 0) & (predicted >= 0)
    ours = Confusion.of(truth, predicted, COUNT)
    every = np.arange(COUNT)
    if not seen.any():
        assert ours.total == 0
        assert all(np.isnan(metric(ours)).all() for metric in CONFUSION_METRICS.values())
        return
    t, p = truth[seen], predicted[seen]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = sklearn.confusion_matrix(t, p, labels=every)
        np.testing.assert_array_equal(ours.counts, theirs)
        close(ours.normalised("all"), sklearn.confusion_matrix(t, p, labels=every, normalize="all"))
        for by, name, axis in (("true", "true", 1), ("predicted", "pred", 0)):
            shares = sklearn.confusion_matrix(t, p, labels=every, normalize=name)
            # They say 0 where there is nothing to share.
            nothing = np.broadcast_to(theirs.sum(axis, keepdims=True) == 0, shares.shape)
            close(ours.normalised(by), np.where(nothing, np.nan, shares))
        precision, recall, f1, _ = sklearn.precision_recall_fscore_support(
            t, p, labels=every, zero_division=np.nan
        )
        jaccard = sklearn.jaccard_score(t, p, labels=every, average=None, zero_division=0)
    absent = theirs.sum(0) + theirs.sum(1) == 0
    close(CONFUSION_METRICS["precision"](ours), precision)
    close(CONFUSION_METRICS["recall"](ours), recall)
    close(CONFUSION_METRICS["f1"](ours), np.where(absent, np.nan, f1))
    close(CONFUSION_METRICS["dice"](ours), np.where(absent, np.nan, f1))
    close(CONFUSION_METRICS["iou"](ours), np.where(absent, np.nan, jaccard))
    close(CONFUSION_METRICS["accuracy"](ours), sklearn.accuracy_score(t, p))
    close(CONFUSION_METRICS["mean_iou"](ours), jaccard[~absent].mean())
    close(CONFUSION_METRICS["mean_dice"](ours), f1[~absent].mean())
    close(CONFUSION_METRICS["mean_f1"](ours), f1[~absent].mean())
    close(CONFUSION_METRICS["mean_precision"](ours), np.nanmean(precision))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        close(CONFUSION_METRICS["mean_recall"](ours), sklearn.balanced_accuracy_score(t, p))


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_top_k(k: int, rng: np.random.Generator) -> None:
    scores, truth = rng.normal(size=(40, 6)), rng.integers(0, 6, 40)
    theirs = sklearn.top_k_accuracy_score(truth, scores, k=k, labels=np.arange(6))
    close(top_k(true_rank(scores, truth), k), theirs)

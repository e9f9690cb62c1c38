"""Metrics of a confusion matrix, of pixels or of images: how good a network is.

A metric with nothing to divide by is NaN, not applicable: a class that is neither there nor
predicted has no IoU. Means leave such classes out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.evaluation.confusion import Confusion


@dataclass(frozen=True)
class ConfusionMetric:
    """A metric of a confusion matrix.

    Attributes
    ----------
    title
        What people call it.
    function
        From counts (..., class, class), rows true, to (..., class), or (...) where it is of all
        classes together.
    per_class
        Whether each class has its own.
    tasks
        For which it is usual.
    in_summary
        Whether the summary of a batch of segmentations has it.
    """

    title: str
    function: Callable[[np.ndarray], np.ndarray]
    per_class: bool
    tasks: tuple[str, ...] = ("segmentation", "classification")
    in_summary: bool = False

    def __call__(self, confusion: Confusion | np.ndarray) -> Any:
        """Return the value for a confusion, or of a stack of counts: a number, or one a class."""
        counts = confusion.counts if isinstance(confusion, Confusion) else confusion
        values = self.function(counts)
        return float(values) if values.ndim == 0 else values


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    shares = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares


def _hits(counts: np.ndarray) -> np.ndarray:
    return np.diagonal(counts, axis1=-2, axis2=-1)


def iou(counts: np.ndarray) -> np.ndarray:
    """Return the intersection over the union of each class: TP / (TP + FP + FN)."""
    hits = _hits(counts)
    return _share(hits, counts.sum(-1) + counts.sum(-2) - hits)


def dice(counts: np.ndarray) -> np.ndarray:
    """Return the Dice coefficient, or F1, of each class: 2 TP / (2 TP + FP + FN)."""
    return _share(2 * _hits(counts), counts.sum(-1) + counts.sum(-2))


def precision(counts: np.ndarray) -> np.ndarray:
    """Return the share of each predicted class that is right: TP / (TP + FP)."""
    return _share(_hits(counts), counts.sum(-2))


def recall(counts: np.ndarray) -> np.ndarray:
    """Return the share of each true class that is found: TP / (TP + FN)."""
    return _share(_hits(counts), counts.sum(-1))


def accuracy(counts: np.ndarray) -> np.ndarray:
    """Return the share of all that is right."""
    return _share(_hits(counts).sum(-1), counts.sum((-2, -1)))


def mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis, NaN left out; NaN where nothing else is there."""
    applicable = ~np.isnan(values)
    return _share(np.where(applicable, values, 0).sum(-1), applicable.sum(-1))


def _mean_of(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda counts: mean(function(counts))


_PIXELS, _IMAGES = ("segmentation",), ("classification",)

CONFUSION_METRICS: dict[str, ConfusionMetric] = {
    "accuracy": ConfusionMetric("Accuracy", accuracy, False, in_summary=True),
    "mean_iou": ConfusionMetric("Mean IoU", _mean_of(iou), False, _PIXELS, in_summary=True),
    "mean_dice": ConfusionMetric("Mean Dice", _mean_of(dice), False, _PIXELS, in_summary=True),
    "mean_precision": ConfusionMetric("Mean precision", _mean_of(precision), False),
    "mean_recall": ConfusionMetric("Mean recall", _mean_of(recall), False),
    "mean_f1": ConfusionMetric("Mean F1", _mean_of(dice), False, _IMAGES),
    "iou": ConfusionMetric("IoU", iou, True, _PIXELS, in_summary=True),
    "dice": ConfusionMetric("Dice", dice, True, _PIXELS),
    "precision": ConfusionMetric("Precision", precision, True),
    "recall": ConfusionMetric("Recall", recall, True),
    "f1": ConfusionMetric("F1", dice, True, _IMAGES),
}
"""The metrics by name: first those of all classes together, then those of each class."""


def metrics_for_task(task: str) -> dict[str, ConfusionMetric]:
    """Return the metrics that are usual for a task."""
    return {name: metric for name, metric in CONFUSION_METRICS.items() if task in metric.tasks}


def true_rank(scores: Any, truth: Any) -> np.ndarray:
    """Return the place of the true class among the scores, 1 for the highest.

    Parameters
    ----------
    scores
        (..., class).
    truth
        The true class (...).

    Returns
    -------
    numpy.ndarray
        int64 (...). Of equal scores, the earlier class comes first, as in a prediction.
    """
    scores, truth = np.asarray(scores), np.asarray(truth)
    true_score = np.take_along_axis(scores, truth[..., None], -1)
    before = np.arange(scores.shape[-1]) < truth[..., None]
    return np.asarray(1 + ((scores > true_score) | ((scores == true_score) & before)).sum(-1))


def top_k(ranks: Any, k: int = 5) -> float:
    """Return the share of true classes whose rank is at most k; NaN of none.

    Raises
    ------
    NeuroscopeError
        Where k is below 1.
    """
    if k < 1:
        raise NeuroscopeError(f"Top-k needs k of at least 1, not {k}.")
    return float(np.mean(np.asarray(ranks) <= k)) if np.size(ranks) else float("nan")

"""What a summary says of one image: scores, predictions, the map's values, and how right they are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from napari_neuroscope.engine.evaluation.confusion import Confusion
from napari_neuroscope.engine.evaluation.confusion_metrics import CONFUSION_METRICS, true_rank
from napari_neuroscope.engine.evaluation.metrics.localisation import energy_inside
from napari_neuroscope.engine.explain.recipe import Recipe
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.prediction import Prediction

# A summary of more is read by nobody; numbers of single classes are left out then.
_MOST_CLASSES = 40
_MOST_MAPS = 200


def summary_row(
    recipe: Recipe, network: Network, explanation: Explanation, prediction: Prediction, truth: Any
) -> dict[str, Any]:
    """Return what the summary says of an image, by the names of its columns.

    Parameters
    ----------
    recipe, network
        How it was explained.
    explanation
        Of the image.
    prediction
        What the network says of it.
    truth
        The true class of each pixel, int32 (*space), −1 for void; of a classification, the true
        class by name or number; None: not known.

    Returns
    -------
    dict
        Text, whole numbers and finite floats; None where there is no such number.
    """
    columns: dict[str, Any] = {}
    columns |= _targets(recipe, explanation)
    columns |= _predicted(network, prediction)
    if truth is not None and not prediction.outputs.has_nan:
        columns |= _rightness(network, prediction, truth)
    if not explanation.is_table:
        columns |= _maps(explanation, prediction, truth)
    return {name: _finite(value) for name, value in columns.items()}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _targets(recipe: Recipe, explanation: Explanation) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for target in explanation.record.targets:
        score = str(target.score).replace("_", " ")
        if recipe.several:
            columns[f"{score}: {target.class_}"] = target.value
        else:
            columns["class"] = target.class_
            columns["region"] = target.region
            columns[score] = target.value
    return columns


def _predicted(network: Network, prediction: Prediction) -> dict[str, Any]:
    names = network.class_names
    if prediction.outputs.has_nan:
        return {}
    if prediction.grid is None:
        best = int(prediction.labels)
        return {"predicted": names[best], "probability": float(prediction.probabilities[best])}
    if len(names) > _MOST_CLASSES:
        return {}
    labels = prediction.labels
    counts = np.bincount(labels[labels >= 0].ravel(), minlength=len(names))
    seen = max(int(counts.sum()), 1)
    return {f"share: {name}": int(n) / seen for name, n in zip(names, counts, strict=True)}


def _rightness(network: Network, prediction: Prediction, truth: Any) -> dict[str, Any]:
    names = network.class_names
    if prediction.grid is None:
        index = network.spec.class_index(truth, len(names))
        return {
            "true class": names[index],
            "right": int(index == int(prediction.labels)),
            "rank of the true class": int(true_rank(prediction.scores, np.asarray(index))),
        }
    confusion = Confusion.of(truth, prediction.labels, names)
    columns: dict[str, Any] = {}
    for metric in CONFUSION_METRICS.values():
        if not metric.in_summary:
            continue
        value = metric(confusion)
        if not metric.per_class:
            columns[metric.title] = value
        elif len(names) <= _MOST_CLASSES:
            columns |= {
                f"{metric.title}: {name}": float(share)
                for name, share in zip(names, value, strict=True)
            }
    return columns


def _maps(explanation: Explanation, prediction: Prediction, truth: Any) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    regions = [target.region for target in explanation.record.targets]
    indices = [target.index for target in explanation.record.targets]
    for name, values, which in _each_map(explanation):
        behind = f": {name}" if name else ""
        finite = values[np.isfinite(values)].astype(np.float64)
        columns |= {
            f"map least{behind}": float(finite.min()) if finite.size else None,
            f"map most{behind}": float(finite.max()) if finite.size else None,
            f"map sum{behind}": float(finite.sum()),
            f"map positive share{behind}": float((finite > 0).mean()) if finite.size else None,
        }
        if which >= len(indices) or values.ndim != len(explanation.image.shape):
            continue
        if prediction.grid is not None and regions[which] == "predicted":
            inside = prediction.labels == indices[which]
            columns[f"map share in prediction{behind}"] = energy_inside(explanation, values, inside)
        if prediction.grid is not None and truth is not None:
            inside = truth == indices[which]
            columns[f"map share in truth{behind}"] = energy_inside(explanation, values, inside)
    return columns


def _each_map(explanation: Explanation) -> Iterator[tuple[str, np.ndarray, int]]:
    """Yield what each map is called, its values, and the place of its target."""
    values, axes = explanation.values, list(explanation.axes)
    leading = [axis for axis in axes if axis in ("class", "layer")]
    steps = values.shape[: len(leading)]
    if math.prod(steps) > _MOST_MAPS:
        leading, steps = [], ()
    for at in np.ndindex(*steps):
        place = dict(zip(leading, at, strict=True))
        names = [explanation.labels[axis][step] for axis, step in place.items()]
        yield ", ".join(names), values[at], place.get("class", 0)

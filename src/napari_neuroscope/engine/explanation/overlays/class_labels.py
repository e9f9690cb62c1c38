"""What the numbers in a layer of labels mean: the class of each, whatever number shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_neuroscope.engine.images.ground_truth.kind import VOID


def class_of_label(features: Any) -> dict[int, str]:
    """Return the class's name of each label of a layer; empty where its features name none.

    Layers of ours name theirs, and who has labels of their own may do the same: a column “class”,
    and a column “index” with the label of each row. Without that the rows are the labels 0, 1, ….
    Nothing else says which number shows which class: a layer may show class 0 by label 1, so that
    label 0 stays clear.

    Parameters
    ----------
    features
        The layer's, or those of its layer data.
    """
    if "class" not in features:
        return {}
    names = features["class"]
    labels = features["index"] if "index" in features else range(len(names))
    named = zip(labels, names, strict=True)
    return {int(label): str(name) for label, name in named if _is_name(name)}


def classes_of_labels(labels: Any, features: Any, names: Sequence[str]) -> np.ndarray:
    """Return the class of each pixel of a layer of ours, int32, −1 where it is none.

    Parameters
    ----------
    labels, features
        The layer's data and features.
    names
        The names of the classes.
    """
    number_of: Mapping[str, int] = {name: number for number, name in enumerate(names)}
    labels = np.asarray(labels)
    classes = np.full(labels.shape, VOID, np.int32)
    for label, name in class_of_label(features).items():
        if name in number_of:
            classes[labels == label] = number_of[name]
    return classes


def _is_name(name: Any) -> bool:
    # A row that says nothing of a label is empty, or NaN in a table.
    is_missing = name is None or (isinstance(name, float) and math.isnan(name))
    return not is_missing and str(name) != ""

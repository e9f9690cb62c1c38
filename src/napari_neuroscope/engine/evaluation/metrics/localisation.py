"""Localisation: whether a map lies on what truly is of the class."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.evaluation.class_maps import ClassMap
from napari_neuroscope.engine.evaluation.map_metric import MetricInput, metric
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.images.grid import resample_nearest


def _inside(class_map: ClassMap, ground_truth: Any) -> np.ndarray:
    """Return where the map's class truly is, bool on the image.

    Raises
    ------
    NeuroscopeError
        Where the ground truth does not fit the image, or has none of the class.
    """
    explanation = class_map.explanation
    truth = np.asarray(ground_truth)
    if truth.shape != explanation.image.shape:
        raise NeuroscopeError(
            f"The ground truth has shape {truth.shape}, but the image {explanation.image.shape}; "
            f"they must be equal."
        )
    inside = truth.astype(bool) if truth.dtype == bool else truth == class_map.target.index
    if not inside.any():
        raise NeuroscopeError(
            f"The ground truth has nothing of “{class_map.labels.get('class', 'the class')}” on "
            f"this image, so there is nothing to find."
        )
    return inside


@metric(
    "Pointing game",
    short="Point",
    better="higher",
    undefined="no value of the map is above zero",
    needs_truth=True,
)
def pointing_game(class_map: ClassMap, given: MetricInput) -> float:
    """Return whether the maximum lies where the class truly is.

    1 or 0; of several equal maxima, the share that lies there. Zhang et al., ECCV 2016, without its
    tolerance.
    """
    values, inside = _fine(class_map), _inside(class_map, given.ground_truth)
    most = np.nanmax(values) if np.isfinite(values).any() else -np.inf
    if most <= 0:
        return float("nan")
    return float(inside[values == most].mean())


@metric(
    "Energy in mask",
    short="Energy",
    better="higher",
    undefined="no value of the map is above zero",
    needs_truth=True,
)
def energy_in_mask(class_map: ClassMap, given: MetricInput) -> float:
    """Return the share of the map that lies where the class truly is.

    Of its positive values. Wang et al., CVPR workshops 2020.
    """
    inside = _inside(class_map, given.ground_truth)
    return energy_inside(class_map.explanation, class_map.values, inside)


def energy_inside(explanation: Explanation, values: np.ndarray, inside: np.ndarray) -> float:
    """Return the share of positive values that lies inside a region of the image, 0 to 1.

    Parameters
    ----------
    explanation
        Tells where the map lies.
    values
        One map of it (*space), on its own grid.
    inside
        The region, bool (*space), on the image.

    Returns
    -------
    float
        NaN where no value is above zero.
    """
    fine = resample_nearest(values, explanation.grid, explanation.image, outside=np.nan)
    positive = np.nan_to_num(fine, nan=0.0).clip(min=0).astype(np.float64)
    whole = positive.sum()
    return float(positive[inside].sum() / whole) if whole > 0 else float("nan")


def _fine(class_map: ClassMap) -> np.ndarray:
    """Return the map at the image's own pixels, each with the value of the cell it lies in."""
    explanation = class_map.explanation
    return resample_nearest(class_map.values, explanation.grid, explanation.image, outside=np.nan)

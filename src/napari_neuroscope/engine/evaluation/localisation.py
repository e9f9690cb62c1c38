"""Localisation: whether a map lies on what truly is of the class."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.evaluation.measured import ClassMap
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.images.grid import resample_nearest


def _inside(measured: ClassMap, ground_truth: Any) -> np.ndarray:
    """Return where the map's class truly is, bool on the image.

    Raises
    ------
    NeuroscopeError
        Where the ground truth does not fit the image, or has none of the class.
    """
    explanation = measured.explanation
    truth = np.asarray(ground_truth)
    if truth.shape != explanation.image.shape:
        raise NeuroscopeError(
            f"The ground truth has shape {truth.shape}, but the image {explanation.image.shape}; "
            f"they must be equal."
        )
    inside = truth.astype(bool) if truth.dtype == bool else truth == measured.target.index
    if not inside.any():
        raise NeuroscopeError(
            f"The ground truth has nothing of “{measured.labels.get('class', 'the class')}” on "
            f"this image, so there is nothing to find."
        )
    return inside


def pointing_game(measured: ClassMap, ground_truth: Any) -> float:
    """Return whether the map's maximum lies where the class truly is: 1.0 or 0.0.

    Zhang et al., ECCV 2016, without its tolerance. Of several equal maxima, the share that lies
    there counts; NaN where no value is above zero.

    Parameters
    ----------
    measured
        The map.
    ground_truth
        Classes of the image's pixels, or where the class is (bool), (*space).
    """
    values, inside = _fine(measured), _inside(measured, ground_truth)
    most = np.nanmax(values) if np.isfinite(values).any() else -np.inf
    if most <= 0:
        return float("nan")
    return float(inside[values == most].mean())


def energy_in_mask(measured: ClassMap, ground_truth: Any) -> float:
    """Return the share of the map's positive values that lies where the class truly is, 0 to 1.

    Wang et al., CVPR workshops 2020. NaN where no value is above zero.
    """
    inside = _inside(measured, ground_truth)
    return energy_inside(measured.explanation, measured.values, inside)


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


def _fine(measured: ClassMap) -> np.ndarray:
    """Return the map at the image's own pixels, each with the value of the cell it lies in."""
    explanation = measured.explanation
    return resample_nearest(measured.values, explanation.grid, explanation.image, outside=np.nan)

"""A metric of another package: whether a map says much of few pixels, or a little of all."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_neuroscope import metric


@metric(
    "Sparseness",
    short="Sparse",
    better="higher",
    undefined="the map is zero everywhere",
)
def sparseness(class_map: Any, given: Any) -> float:
    """Return how few pixels hold most of the map.

    The Gini index of the magnitudes (Chalasani et al., ICML 2020): 0 where all are equal, near 1
    where one has everything.
    """
    magnitudes = np.sort(np.abs(np.nan_to_num(class_map.values)), axis=None).astype(float)
    whole, count = magnitudes.sum(), magnitudes.size
    if whole == 0:
        return float("nan")
    ranks = np.arange(1, count + 1)
    return float(((2 * ranks - count - 1) * magnitudes).sum() / (count * whole))

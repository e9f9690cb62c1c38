"""What all regions of layers share: which layers hold some, and what is said of those outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

RegionExtent = Literal["all", "selected"]
"""All that is in a layer, or what is selected in it."""
PARTLY_OUTSIDE = ("a part of the region lies outside of the image and is left out",)
"""What is noted of a region that leaves the image."""


def kind_of(layer: Any) -> str:
    """Return "shapes", "points" or "labels"; "" for a layer that holds no regions."""
    from napari.layers import Labels, Points, Shapes

    kinds = {Shapes: "shapes", Points: "points", Labels: "labels"}
    return next((name for kind, name in kinds.items() if isinstance(layer, kind)), "")


def nearest_pixel(at: Any) -> np.ndarray:
    """Return the pixels that positions lie in, half-way up as everywhere here."""
    # Rounding errors of transforms must not decide.
    return np.asarray(np.floor(np.round(at, 6) + 0.5).astype(int))


def leave_image(at: np.ndarray, shape: Sequence[int]) -> bool:
    """Whether some of the places lie outside of the image."""
    return bool(((at < -0.5) | (at > np.array(shape) - 0.5)).any())


def outside_in_words(words: str, image: str) -> str:
    """Return the sentence that says of a region that it lies beside an image."""
    return (
        f"The region ({words}) lies outside of the image “{image}”; choose or draw one that lies "
        f"on it."
    )

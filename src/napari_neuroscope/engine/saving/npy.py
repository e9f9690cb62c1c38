"""Explanations as NumPy files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_neuroscope.engine.explanation import Explanation
from napari_neuroscope.engine.spacing import Spacing


def save_npy(
    explanation: Explanation, image: np.ndarray, path: Path, spacing: Spacing | None
) -> None:
    """Write the values on their own grid."""
    np.save(path, explanation.values)

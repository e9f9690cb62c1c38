"""How two maps are compared."""

from __future__ import annotations

from typing import Any

import numpy as np


def assert_close(ours: Any, theirs: Any, relative: float = 1e-5) -> None:
    """Compare to a part of the largest magnitude, and refuse maps that say nothing."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    largest = np.abs(theirs).max()
    assert largest > 0, "an all-zero map compares with nothing"
    assert np.abs(ours - theirs).max() <= relative * largest

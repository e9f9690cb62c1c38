"""What the tests of LRP share."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((16, 16, 3)).astype(np.float32)

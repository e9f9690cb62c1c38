"""Networks with maps, which tests of metrics share."""

from __future__ import annotations

import numpy as np
import pytest

import napari_neuroscope as ns
from maps_to_evaluate import CLASSIFIER, Weighted


@pytest.fixture
def weighted() -> tuple[ns.Network, np.ndarray, ns.Explanation]:
    network = ns.wrap(Weighted(), CLASSIFIER, device="cpu")
    image = np.ones((2, 2), np.float32)
    return network, image, ns.explain(network, image, "saliency", "patch")


@pytest.fixture(scope="module")
def cells() -> tuple[ns.Network, np.ndarray]:
    samples = pytest.importorskip("napari_neuroscope.viewer.io.samples")
    stack = samples.blood_cells()[0][0]
    return ns.load("demo:blood-cells"), np.asarray(stack[0])

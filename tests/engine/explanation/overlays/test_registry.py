"""Which explanations have layers."""

from __future__ import annotations

import numpy as np
from torch import nn

import napari_neuroscope as ns


def test_a_table_has_no_layer(rng: np.random.Generator) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    network = ns.wrap(model, {"input": {"channels": 1, "size": (8, 8)}}, device="cpu")
    explanation = ns.explain(network, rng.random((8, 8)), "score_map")
    assert explanation.axes == ("class",)
    assert explanation.to_layer_data() == []

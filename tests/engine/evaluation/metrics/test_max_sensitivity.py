"""Max-sensitivity, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import napari_neuroscope as ns
from maps_to_evaluate import CLASSIFIER, RAW


def test_sensitivity_of_a_linear_network_is_zero_and_of_a_square_is_the_noise() -> None:
    image = np.random.default_rng(0).random((6, 6)).astype(np.float32)
    spec = CLASSIFIER | {"input": {**RAW, "size": [6, 6], "channels": 1}}
    linear = ns.wrap(nn.Sequential(nn.Flatten(), nn.Linear(36, 2)), spec, device="cpu")
    flat = ns.explain(linear, image, "saliency", 1)
    assert (
        ns.evaluate(linear, image, flat, ["max_sensitivity"]).rows[0].values["max_sensitivity"] == 0
    )

    class Square(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return (x**2).flatten(1).sum(1, keepdim=True).repeat(1, 2)

    square = ns.wrap(Square(), CLASSIFIER, device="cpu")
    explanation = ns.explain(square, image, "saliency", 1)
    found = ns.evaluate(square, image, explanation, ["max_sensitivity"], samples=5, seed=1)
    generator = torch.Generator().manual_seed(1)
    x = torch.from_numpy(image)[None]
    reach = 0.02 * float(x.max() - x.min())
    most = 0.0
    for _ in range(5):
        noisy = x + (torch.rand(x.shape, generator=generator) * 2 - 1) * reach
        most = max(most, float((2 * noisy.abs() - 2 * x).norm() / (2 * x).norm()))
    assert found.rows[0].values["max_sensitivity"] == pytest.approx(most, rel=1e-5)

"""What of a network is guided, and what is not is named."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import napari_neuroscope as ns
from guided_networks import (
    Relu,
    Straight,
    image_of,
)
from guided_parts import Clamp, Neck
from networks import as_network, settled


class OutOfSight(Clamp):
    """A relu by NumPy, of which PyTorch sees nothing."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.from_numpy(np.maximum(x.detach().numpy(), 0))


class OfNeighbours(Clamp):
    """A relu of more than one value."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return F.avg_pool2d(x, 3, 1, 1).relu()


def scaled_in_place(x: Tensor) -> Tensor:
    x = x.clone()
    x[x < 0] *= 0.1
    return x


PLAIN = SimpleNamespace(relu=F.relu, sigmoid=torch.sigmoid, tanh=torch.tanh)


class ImportedName(nn.Module):
    def __init__(self, function: Relu) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: x**2, "pow in as_modules.1 can't be told"),
        (torch.exp, "exp in as_modules.1 can't be told"),
        (scaled_in_place, "as_modules.1 can't be told"),
        (OutOfSight.apply, "OutOfSight in as_modules.1 can't be looked into"),
        (OfNeighbours.apply, "OfNeighbours in as_modules.1 can't be looked into"),
    ],
    ids=["square", "exp", "index", "NumPy", "neighbours"],
)
def test_what_is_not_guided_is_named(function: Relu, said: str, rng: np.random.Generator) -> None:
    network = as_network(settled(Straight(lambda: [nn.ReLU(), ImportedName(function), nn.ReLU()])))
    with pytest.warns(ns.NeuroscopeWarning, match=said):
        found = ns.explain(network, image_of(rng), "guided_backprop", 1)
    assert len(found.provenance["notes"]) == 1


def test_a_part_that_is_used_elsewhere_is_not_taken_for_an_activation(
    rng: np.random.Generator,
) -> None:
    def torn(m: Any, a: Any, x: Tensor) -> Tensor:
        gate = torch.sigmoid(x)
        return m.third(x * gate) + m.second(gate)

    network = as_network(settled(Neck(torn, PLAIN)))
    with pytest.warns(ns.NeuroscopeWarning, match="mul can't be told"):
        ns.explain(network, image_of(rng), "guided_backprop", 1)

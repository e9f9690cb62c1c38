"""What of a network is guided, and what is not is named."""

from __future__ import annotations

from collections.abc import Callable
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
from networks import as_network, settled


class Clamp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> Tensor:
        return above[0] * (ctx.saved_tensors[0] > 0)


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


class Neck(nn.Module):
    """Two relus around a part that is written with given activations."""

    def __init__(self, part: Callable[[Any, Any, Tensor], Tensor], activations: Any) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.third, self.widen = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(3, 6, 1)
        self.dense, self.last = nn.Linear(6, 6), nn.Conv2d(6, 4, 1)
        self.weight = nn.Parameter(torch.ones(6, 1, 1))
        self.part, self.activations = part, activations

    def forward(self, x: Tensor) -> Tensor:
        relu = self.activations.relu
        x = self.part(self, self.activations, self.second(relu(self.first(x))))
        return 7 * self.last(relu(self.third(x))).mean((2, 3)) - 3


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

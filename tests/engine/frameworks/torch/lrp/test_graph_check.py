"""What LRP has no rule for is refused by name, and signs are told from the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns
from closeness import assert_close
from networks import as_network, settled
from relevance import Middle, lrp


@pytest.mark.parametrize("rule", ["z_plus", "gamma"])
def test_a_difference_of_positive_values_may_be_negative(rule: str, image: np.ndarray) -> None:
    class Difference(nn.Module):
        def __init__(self, *, by_factor: bool) -> None:
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(n, 4, 3, padding=1) for n in (3, 3, 4))
            self.head, self.by_factor = nn.Linear(4, 3), by_factor

        def forward(self, x: Tensor) -> Tensor:
            y, z = (torch.relu(conv(x)) for conv in self.convs[:2])
            y = torch.add(y, z, alpha=-1) if self.by_factor else y - z
            return self.head(torch.relu(self.convs[2](y)).mean((2, 3)))

    networks = [as_network(settled(Difference(by_factor=one))) for one in (True, False)]
    found, expected = (lrp(network, image, 1, rule=rule) for network in networks)
    assert_close(found, expected)


def attended(z: Tensor) -> Tensor:
    flat = z.flatten(2)
    return functional.scaled_dot_product_attention(flat, flat, flat).view_as(z)


@pytest.mark.parametrize(
    ("middle", "message"),
    [
        (attended, "scaled_dot_product_attention” the network (computes|multiplies)"),
        (nn.Softmax(1), "at the layer “middle” the network computes .* no rule for .softmax"),
        (lambda z: z * (z + 1), "“mul” the network multiplies activations .* neither is a gate"),
        (lambda z: z @ z.transpose(2, 3), "“matmul” the network multiplies activations"),
        (lambda z: z / (1 + z.amax((2, 3), keepdim=True)), r"multiplies activations .*\(div\)"),
        (lambda z: torch.ones(1) / (1 + z.abs()), r"no rule for \(div\)"),
        (lambda z: z**2, r"no rule for \(pow\)"),
        (lambda z: (z[:, :2].pow_(2), z)[1], r"no rule for \(pow\)"),
        (lambda z: (z[:, :2].mul_(z[:, 2:]), z)[1], "multiplies activations"),
        (lambda z: functional.glu(torch.cat([z, z], 1), 1), r"no rule for \(glu\)"),
        (lambda z: functional.conv2d(z, z.mean((2, 3))[:, :, None, None]).expand_as(z),
         "weights that depend on the image"),
        (torch.jit.script(nn.Conv2d(4, 4, 1)), "can't be followed"),
        (lambda z: torch.fft.rfft2(z).abs(), "no rule for"),
    ],
)  # fmt: skip
def test_what_has_no_rule_is_refused_by_name(middle: Any, message: str, image: np.ndarray) -> None:
    network = as_network(settled(Middle(middle)))
    with pytest.raises(ns.NeuroscopeError, match=message + ".*; use integrated_gradients"):
        lrp(network, image, 1)


class Doubled(torch.autograd.Function):
    """Somebody's own function; what it does to relevance nobody knows."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        return z * 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * 3


Relu = type("Relu", (Doubled,), {})


def test_functions_of_others_are_refused_whatever_their_name(image: np.ndarray) -> None:
    with pytest.raises(ns.NeuroscopeError, match="no rule for"):
        lrp(as_network(settled(Middle(Relu.apply))), image, 1)

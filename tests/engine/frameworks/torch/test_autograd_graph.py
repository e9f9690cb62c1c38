"""Gradients of batch norms before tokens, against the same network in float64.

PyTorch's own are wrong on the CPU for one image; see docs/known_issues.md.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns

IMAGE = np.random.default_rng(0).random((32, 32, 3)).astype(np.float32)


class Tokens(nn.Module):
    """A convolution, a batch norm, and tokens of what it answers."""

    def __init__(self, to_tokens: Callable[[Tokens, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches, self.norm, self.more = nn.Conv2d(3, 16, 4, 4), _settled(2), _settled(2)
        self.row, self.depthwise = _settled(1), nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.layer_norm, self.queries, self.head = (
            nn.LayerNorm(16),
            nn.Linear(16, 48),
            nn.Linear(16, 5),
        )
        self.to_tokens = to_tokens

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.to_tokens(self, self.patches(x))
        return self.head(functional.relu(self.layer_norm(tokens))).mean(1)


def _settled(axes: int) -> nn.Module:
    norm = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}[axes](16)
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.2, 2)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    return norm


def _flat(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def _attention(self: Tokens, x: Tensor) -> Tensor:
    queries, keys, values = self.queries(_flat(self.norm(x))).chunk(3, -1)
    return (queries @ keys.transpose(1, 2) / 4).softmax(-1) @ values


def _cross_covariance(self: Tokens, x: Tensor) -> Tensor:
    queries, keys, values = self.queries(_flat(self.norm(x))).chunk(3, -1)
    queries, keys = (functional.normalize(one, dim=1) for one in (queries, keys))
    return values @ (queries.transpose(1, 2) @ keys).softmax(-1)


def _functional(self: Tokens, x: Tensor) -> Tensor:
    return _flat(functional.batch_norm(x, self.norm.running_mean, self.norm.running_var))


NETWORKS: dict[str, Callable[[Tokens, Tensor], Tensor]] = {
    "flattened": lambda self, x: _flat(self.norm(x)),
    "reshaped": lambda self, x: self.norm(x).reshape(len(x), 16, -1).permute(0, 2, 1),
    "permuted": lambda self, x: self.norm(x).permute(0, 2, 3, 1).reshape(len(x), -1, 16),
    "by einsum": lambda self, x: torch.einsum("bchw->bhwc", self.norm(x)).flatten(1, 2),
    "after two": lambda self, x: _flat(
        self.more(self.depthwise(functional.hardswish(self.norm(x))))
    ),
    "in a row": lambda self, x: self.row(_flat(x).flatten(0, 1)).view(len(x), -1, 16),
    "attending": _attention,
    "of channels": _cross_covariance,
    "channels last": lambda self, x: _flat(
        self.norm(x.contiguous(memory_format=torch.channels_last))
    ),
    "functional": _functional,
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_gradients_are_those_of_float64(kind: str) -> None:
    model = Tokens(NETWORKS[kind]).eval()
    double = copy.deepcopy(model).double()
    x = torch.tensor(IMAGE.transpose(2, 0, 1)[None], dtype=torch.float64, requires_grad=True)
    # Two images, which PyTorch's kernel tells the order of.
    held: list[Tensor] = []
    hook = double.patches.register_forward_hook(lambda _, __, output: held.append(output))
    score = double(torch.cat([x, x]))[0, 1]
    hook.remove()
    by_input, by_layer = torch.autograd.grad(score, [x, held[0]])
    layer, gradient = held[0][0].detach(), by_layer[0]
    expected = {
        "saliency": by_input[0].abs().amax(0),
        "hires_cam": (layer * gradient).sum(0),
        "grad_cam": (layer * gradient.mean((1, 2), keepdim=True)).sum(0),
    }
    network = ns.wrap(model)
    for method, values in expected.items():
        options = {} if method == "saliency" else {"layer": "patches", "relu": False}
        made = ns.explain(network, IMAGE, method, 1, **options).values
        np.testing.assert_allclose(made, values, rtol=0, atol=1e-4 * float(values.abs().max()))


def test_classes_together_are_those_alone() -> None:
    network = ns.wrap(Tokens(NETWORKS["flattened"]).eval())
    classes = [0, 1, 2]
    together = ns.explain(network, IMAGE, "grad_cam", classes, "patches", keep="asked", relu=False)
    for number, values in zip(classes, together.values, strict=True):
        alone = ns.explain(network, IMAGE, "grad_cam", number, "patches", relu=False)
        np.testing.assert_allclose(values, alone.values, rtol=1e-4, atol=1e-7)

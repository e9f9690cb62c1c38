"""What runs inside of custom autograd Functions is no layer, against PyTorch's own gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import napari_neuroscope as ns

IMAGE = np.random.default_rng(0).random((16, 16, 3)).astype(np.float32)
INPUT = torch.tensor(IMAGE.transpose(2, 0, 1)[None])


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.sigmoid(x) * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        gate = torch.sigmoid(x)
        return gradient * gate * (1 + x * (1 - gate))


# Taken before any pass, as modules of packages do.
swish = Swish.apply


class Activation(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return swish(x)


class Pooled(nn.Module):
    """Two convolutions with a custom activation, and a head; perhaps without a gradient."""

    def __init__(self, *, frozen: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.act = nn.Conv2d(3, 8, 3, padding=1), Activation()
        self.second, self.head, self.frozen = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 3), frozen

    def features(self, x: Tensor) -> Tensor:
        return swish(self.second(self.act(self.first(x))))

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            x = self.features(x)
        return self.head(x.mean((2, 3)))


def test_a_custom_function_is_one_step_of_the_network() -> None:
    network = ns.wrap(Pooled().eval())
    assert list(network.layers) == ["first", "act", "second", "mean", "head"]
    assert network.layers["act"].inputs == ("first",)
    assert network.layers["second"].altered

    model = Pooled().eval()
    activation = model.first(INPUT)
    scores = model.head(swish(model.second(swish(activation))).mean((2, 3)))
    (gradient,) = torch.autograd.grad(scores[0, 1], activation)
    expected = functional.relu((activation * gradient.mean((2, 3), keepdim=True)).sum(1))[0]
    made = ns.explain(network, IMAGE, "grad_cam", 1, layer="first").values
    np.testing.assert_allclose(made, expected.detach(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("method", ["grad_cam", "score_map", "occlusion", "ablation_cam"])
def test_methods_run_by_default(method: str) -> None:
    explained = ns.explain(ns.wrap(Pooled().eval()), IMAGE, method, 1)
    assert np.isfinite(explained.values).all()


def test_scores_of_what_runs_without_a_gradient_are_a_table() -> None:
    model = Pooled(frozen=True).eval()
    made = ns.explain(ns.wrap(model), IMAGE, "score_map", 1)
    np.testing.assert_allclose(made.values, model(INPUT)[0].detach(), rtol=1e-5)


def test_what_a_reentrant_checkpoint_runs_are_layers() -> None:
    class Checkpointed(Pooled):
        def features(self, x: Tensor) -> Tensor:
            x = checkpoint(
                lambda t: functional.relu(self.second(t)), self.first(x), use_reentrant=True
            )
            assert isinstance(x, Tensor)
            return x

    assert "relu" in ns.wrap(Checkpointed().eval()).layers

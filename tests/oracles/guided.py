"""Guided backpropagation, written out: the reference for every way to write an activation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class GuidedRelu(torch.autograd.Function):
    """A relu that lets positive gradient through where its input is positive."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x > 0, x, torch.zeros_like(x))

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return torch.where((x > 0) & (above[0] > 0), above[0], torch.zeros_like(x))


class _GuidedPointwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            y = function(leaf)
            (slope,) = torch.autograd.grad(y.sum(), leaf)
        ctx.save_for_backward(slope)
        return y.detach()

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, None]:
        return above[0].clamp(min=0) * ctx.saved_tensors[0], None


def guided_pointwise(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return a function of one number with the rule R_in = max(R_out, 0) · f'(z)."""
    return lambda x: _GuidedPointwise.apply(x, function)


def reference(model: nn.Module, x: Tensor, index: int) -> Tensor:
    """Return the gradient of a class's score, of a model that is written with guided functions."""
    leaf = x.detach().clone().requires_grad_()
    output = model(leaf)[:, index].sum()
    return torch.autograd.grad(output, leaf)[0][0]

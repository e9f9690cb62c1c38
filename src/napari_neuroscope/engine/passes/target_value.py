"""T, the scalar of an answer that is explained, and the gradient that a way back starts with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from napari_neuroscope.engine.passes.output.outputs import Outputs
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.spec.model_spec import ModelSpec


def target_value(outputs: Outputs, raw: Tensor, target: ResolvedTarget) -> Tensor:
    """Return T of one answer, of the meaning that `outputs` has."""
    score = outputs.value(raw, target.score, target.index)
    if target.positions is not None:
        # Indices, and no mask: the number of positions is then known where many are asked.
        score = score[target.positions]
    return score.sum() if target.reduce == "sum" else score.mean()


class TargetScores(NamedTuple):
    """What an answer says of a target.

    Attributes
    ----------
    value
        T, the scalar that is explained.
    probability
        The mean probability of its class over its region.
    positions
        How many positions the region has; None where the answer has none.
    """

    value: float
    probability: float
    positions: int | None


def target_values(
    outputs: Outputs, spec: ModelSpec, raw: Tensor, targets: Sequence[ResolvedTarget]
) -> Tensor:
    """Return T of many answers of the network: `raw`, one an input, to (target, input)."""
    is_batched = "b" in spec.input.axes
    batch_axis = spec.output.axis_of("b", 0)

    def of_answer(answer: Tensor) -> Tensor:
        whole = answer.unsqueeze(batch_axis) if is_batched else answer
        return torch.stack([target_value(outputs, whole, target) for target in targets])

    return torch.vmap(of_answer, batch_axis if is_batched else 0, out_dims=1)(_in_float(raw))


def seed_of(raw: Tensor, scalar: Callable[[Tensor], Tensor]) -> tuple[Tensor, float]:
    """Return ∂(scalar of `raw`)/∂raw, and what it was multiplied by.

    The network's own graph then starts at its scores, whatever the scalar is.
    """
    with torch.inference_mode(False), torch.enable_grad():
        leaf = _in_float(raw).detach().clone().requires_grad_()
        seed, scale = torch.autograd.grad(scalar(leaf), leaf)[0], 1.0
    if raw.dtype == torch.float16 and (most := float(seed.abs().max())):
        # Halves end at 6e-8: small gradients are carried larger, and taken back in float32.
        scale = 2.0 ** -math.floor(math.log2(most))
        seed = seed * scale
    return seed.to(raw.dtype), scale


def _in_float(raw: Tensor) -> Tensor:
    return raw if raw.dtype in (torch.float32, torch.float64) else raw.float()

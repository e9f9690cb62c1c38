"""Nodes of the autograd graph that share relevance out by rules, where a plain gradient won't do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from napari_neuroscope.engine.frameworks.base import RelevanceRule
from napari_neuroscope.engine.frameworks.torch.lrp.rules import (
    WeightedSums,
    at_least_float32,
    share,
    share_alike,
)


@dataclass
class ActiveRule:
    """By which rule nodes go now.

    Attributes
    ----------
    rule
        How layers share.
    carrying
        Whether relevance itself is carried now, and not g; behind the first layers alone.
    """

    rule: RelevanceRule = field(default_factory=RelevanceRule)
    carrying: bool = False


@dataclass
class Tape:
    """What one forward pass recorded.

    Attributes
    ----------
    active_rule
        What its nodes go by; they know this alone, since a tape that they knew would know them.
    slots
        Where the relevance of what the first layers take arrives, and the places of that.
    nbytes
        The memory of what was kept.
    """

    active_rule: ActiveRule = field(default_factory=ActiveRule)
    slots: list[tuple[Tensor, GradientEdge]] = field(default_factory=list)
    nbytes: int = 0


class WeightedLayer(torch.autograd.Function):
    """A convolution or dense layer.

    `slot` is there where it takes the network's input; `positive` tells that no input is negative.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        slot: Tensor | None,
        kept: Tensor,
        sums: WeightedSums,
        active_rule: ActiveRule,
        positive: bool,
        make: Callable[[], Tensor],
    ) -> Tensor:
        ctx.x, ctx.source, ctx.version, ctx.sums, ctx.active_rule = (
            kept,
            x,
            x._version,
            sums,
            active_rule,
        )
        ctx.of_input, ctx.gives_scores, ctx.positive = slot is not None, False, positive
        return make()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        g, x, rule, sums = (
            at_least_float32(gradients[0]),
            at_least_float32(ctx.x),
            ctx.active_rule.rule,
            ctx.sums,
        )
        nothing = (None,) * 5
        dense = sums.geometry is None or ctx.gives_scores
        if ctx.of_input and rule.flat_input and not ctx.gives_scores:
            return None, share_alike(sums, x, g).to(ctx.x.dtype), *nothing
        kind = "epsilon" if dense else rule.convolution
        below = share(sums, x, g, kind, rule, positive=ctx.positive)
        if ctx.of_input:
            return None, (x * below).to(ctx.x.dtype), *nothing
        return below.to(ctx.x.dtype), None, *nothing


class PassThrough(torch.autograd.Function):
    """An operation that acts on each value alone: all of the relevance goes on."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        ratio: Tensor,
        value: list[Tensor],
        operation: str,
        active_rule: ActiveRule,
    ) -> Tensor:
        # The value is in a list, so that autograd does not take it for an input that is returned.
        ctx.ratio, ctx.operation, ctx.active_rule = ratio, operation, active_rule
        return value[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        g = gradients[0]
        return g if ctx.active_rule.carrying else g * ctx.ratio, None, None, None, None


weighted_layer: Callable[..., Tensor] = WeightedLayer.apply
pass_through: Callable[..., Tensor] = PassThrough.apply

WEIGHTED, PASSED = f"{WeightedLayer.__name__}Backward", f"{PassThrough.__name__}Backward"
"""What the autograd graph calls these nodes."""

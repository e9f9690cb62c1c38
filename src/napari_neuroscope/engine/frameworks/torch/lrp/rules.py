"""How convolutions and dense layers share relevance out, each rule as a change of g in R = x · g."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from napari_neuroscope.engine.frameworks.base import RelevanceRule


@dataclass(frozen=True)
class WeightedSums:
    """What a convolution or dense layer computes, and a batch norm that was merged into it.

    Attributes
    ----------
    weight, bias
        Its own.
    geometry
        A convolution's stride, padding, dilation, transposed, output padding and groups.
    factor, offset
        What the merged norm does to each channel of the result.
    """

    weight: Tensor
    bias: Tensor | None
    geometry: tuple[Any, ...] | None = None
    factor: Tensor | None = None
    offset: Tensor | None = None

    def weights(self) -> tuple[Tensor, Tensor | None]:
        """Return the weight and bias with the norm in them, of 32 bits at least."""
        weight, bias = at_least_float32(self.weight), at_least_float32(self.bias)
        if self.factor is None:
            return weight, bias
        factor, offset = at_least_float32(self.factor), at_least_float32(self.offset)
        if self.geometry is not None and self.geometry[3]:
            # (in, out / groups, ...): each group of inputs has channels of its own.
            grouped = weight.unflatten(0, (self.geometry[5], -1))
            each = factor.reshape(self.geometry[5], 1, -1, *(1,) * (weight.ndim - 2))
            weight = (grouped * each).flatten(0, 1)
        else:
            weight = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
        return weight, offset if bias is None else bias * factor + offset

    def of(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the sums of x."""
        if self.geometry is None:
            return functional.linear(x, weight, bias)
        if x.ndim < weight.ndim:
            return torch.convolution(x[None], weight, bias, *self.geometry)[0]
        return torch.convolution(x, weight, bias, *self.geometry)

    def back(self, shares: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Return Wᵀ · shares, shaped as x."""
        if self.geometry is None:
            return shares @ weight
        if x.ndim < weight.ndim:
            return self.back(shares[None], x[None], weight)[0]
        of_input: Tensor = torch.ops.aten.convolution_backward(
            shares, x, weight, None, *self.geometry, [True, False, False]
        )[0]
        return of_input

    def along(self, bias: Tensor) -> Tensor:
        """Return a bias so that it goes along the channels of the result."""
        return bias if self.geometry is None else bias.reshape(-1, *(1,) * (self.weight.ndim - 2))

    def merged(self, factor: Tensor, offset: Tensor) -> WeightedSums:
        """Return these sums with what comes after them: factor · sums + offset."""
        if self.factor is not None:
            assert self.offset is not None
            factor, offset = factor * self.factor, factor * self.offset + offset
        return replace(self, factor=factor, offset=offset)


def at_least_float32(values: Any) -> Any:
    """Return floats of 32 bits at least."""
    narrow = values is not None and values.dtype in (torch.float16, torch.bfloat16)
    return values.float() if narrow else values


def ratio_of(above: Tensor, below: Tensor) -> Tensor:
    """Return above / below, and 0 where there is nothing to be shared out by."""
    nothing = below == 0
    return torch.where(nothing, 0, above / torch.where(nothing, 1, below))


def share(
    sums: WeightedSums, x: Tensor, g: Tensor, kind: str, rule: RelevanceRule, *, positive: bool
) -> Tensor:
    """Return g of the inputs x, of g of the sums: relevance x · g in the shares of x · w.

    `positive` tells that no input is negative.
    """
    weight, bias = sums.weights()
    z = sums.of(x, weight, bias)
    if kind == "epsilon":
        least = rule.epsilon * z.square().mean().sqrt()
        return sums.back(g * ratio_of(z, z + torch.where(z < 0, -least, least)), x, weight)
    up, down = weight.clamp(min=0), weight.clamp(max=0)
    contributed = sums.of(x.clamp(min=0), up, None)
    if not positive:
        contributed = contributed + sums.of(x.clamp(max=0), down, None)
    favoured = contributed if bias is None else contributed + sums.along(bias.clamp(min=0))
    if kind == "z_plus":
        shares = g * ratio_of(z, favoured)
        for_positive = sums.back(shares, x, up)
        if positive:
            return for_positive
        return torch.where(x < 0, sums.back(shares, x, down), for_positive)
    # What speaks for the sign of the sum counts 1 + γ times.
    favoured = torch.where(z < 0, z - favoured, favoured)
    shares = g * ratio_of(z, z + rule.gamma * favoured)
    above, below = shares * (z >= 0), shares * (z < 0)
    more_up, more_down = weight + rule.gamma * up, weight + rule.gamma * down
    for_positive = sums.back(above, x, more_up) + sums.back(below, x, more_down)
    if positive:
        return for_positive
    for_negative = sums.back(above, x, more_down) + sums.back(below, x, more_up)
    return torch.where(x < 0, for_negative, for_positive)


def share_alike(sums: WeightedSums, x: Tensor, g: Tensor) -> Tensor:
    """Return the relevance of inputs that share alike, whatever they are."""
    weight, bias = sums.weights()
    alike = torch.ones_like(weight)
    count = sums.of(torch.ones_like(x), alike, None)
    return sums.back(g * ratio_of(sums.of(x, weight, bias), count), x, alike)


def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Tensor, WeightedSums]:
    axes = weight.ndim - 2
    steps = _each(dilation, axes)
    if padding == "same":
        lost = [step * (n - 1) for step, n in zip(steps, weight.shape[2:], strict=True)]
        padding = [total // 2 for total in lost]
        if any(total % 2 for total in lost):
            # What is odd comes at the ends; the last axis is given first.
            input = functional.pad(
                input, [end for total in reversed(lost) for end in (0, total % 2)]
            )
    elif padding == "valid":
        padding = 0
    geometry = (_each(stride, axes), _each(padding, axes), steps, False, [0] * axes, groups)
    return input, WeightedSums(weight, bias, geometry)


def _transposed(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> tuple[Tensor, WeightedSums]:
    axes = weight.ndim - 2
    lengths = (_each(length, axes) for length in (stride, padding, dilation))
    return input, WeightedSums(weight, bias, (*lengths, True, _each(output_padding, axes), groups))


def _dense(
    input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, WeightedSums]:
    return input, WeightedSums(weight, bias)


def _each(length: Any, axes: int) -> list[int]:
    several = [length] if isinstance(length, int) else list(length)
    return several * axes if len(several) == 1 else several


LAYERS: dict[str, Callable[..., tuple[Tensor, WeightedSums]]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed),
    "linear": _dense,
}

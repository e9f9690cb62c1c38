"""How methods weigh a layer's channels by the whole of an image, from sums over its tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Stage:
    """What is summed in one pass over the tiles.

    Attributes
    ----------
    gradients
        Whether it takes the target's gradients.
    sums
        Takes a part of the activations (channel, position), their gradients alike or None, and
        what the stage before came to; returns what adds up over the parts.
    """

    gradients: bool
    sums: Callable[[Tensor, Tensor | None, Tensor | None], Tensor]


@dataclass(frozen=True)
class ChannelWeighting:
    """How a method weighs channels.

    Attributes
    ----------
    stages
        The passes that it takes.
    weights
        Takes what the stages came to, in double precision, and the number of positions; returns
        the weights (channel,).
    linear
        Whether a target of twice the size has twice the weights.
    """

    stages: tuple[Stage, ...]
    weights: Callable[[Sequence[Tensor], int], Tensor]
    linear: bool = True


def _gradient(activation: Tensor, gradient: Tensor | None, before: Tensor | None) -> Tensor:
    assert gradient is not None
    return gradient.sum(1)


def _activation(activation: Tensor, gradient: Tensor | None, before: Tensor | None) -> Tensor:
    return activation.sum(1)


def _share(activation: Tensor, gradient: Tensor | None, before: Tensor | None) -> Tensor:
    assert gradient is not None
    return torch.stack([activation.sum(1), (gradient * activation).sum(1)])


def _weights_of_shares(sums: Sequence[Tensor], count: int) -> Tensor:
    whole, shares = sums[0]
    return torch.where(whole == 0, 0, shares / torch.where(whole == 0, 1, whole))


def _positive(activation: Tensor, gradient: Tensor | None, before: Tensor | None) -> Tensor:
    """Return Σ_i α(i) relu(g(i)) of Grad-CAM++, as 1 / (2 + g ΣA) · g where g is positive."""
    assert gradient is not None
    assert before is not None
    positive = gradient.relu()
    denominator = (positive * before.to(positive)[:, None]).add_(2)
    denominator.masked_fill_(denominator == 0, torch.inf)
    return positive.div_(denominator).sum(1)


def _products(activation: Tensor, gradient: Tensor | None, before: Tensor | None) -> Tensor:
    """Return the products of all channels, and beside them their sums: (channel, channel + 1)."""
    exact = activation.cpu().double()
    return torch.cat([exact @ exact.T, exact.sum(1, keepdim=True)], 1)


def _first_direction(sums: Sequence[Tensor], count: int) -> Tensor:
    products, whole = sums[0][:, :-1], sums[0][:, -1]
    direction = torch.linalg.eigh(products)[1][:, -1]
    # A direction has no sign of its own: the map's sum is positive.
    return -direction if direction @ whole < 0 else direction


_BY_GRADIENT = ChannelWeighting((Stage(True, _gradient),), lambda sums, count: sums[0] / count)

WEIGHINGS = {
    "grad_cam": _BY_GRADIENT,
    "guided_grad_cam": _BY_GRADIENT,
    "x_grad_cam": ChannelWeighting((Stage(True, _share),), _weights_of_shares),
    "grad_cam_plus_plus": ChannelWeighting(
        (Stage(False, _activation), Stage(True, _positive)), lambda sums, count: sums[1], False
    ),
    "eigen_cam": ChannelWeighting((Stage(False, _products),), _first_direction),
}
"""By the names of the methods; their maps are Σ_k w_k A_k."""

"""What the frameworks share: the order of axes."""

from __future__ import annotations

from torch import Tensor


def to_axes(x: Tensor, axes: str) -> Tensor:
    """Bring inputs (input, channel, *space) to a network's order of axes."""
    own = "bc" + "".join(axis for axis in axes if axis in "zyx")
    for axis in "bc":
        if axis not in axes:
            x, own = x.squeeze(own.index(axis)), own.replace(axis, "")
    return x if own == axes else x.permute([own.index(axis) for axis in axes])

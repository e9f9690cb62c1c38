"""The images that an unknown network is tried with, and their sizes, the likeliest first."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from napari_neuroscope.engine.errors import OutOfMemoryError
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.spec.input_spec import SizeRule

_SIDES_OF_PLANES = (64, 128, 224, 256, 32, 299, 384, 512, 28, 448)
_SIDES_OF_VOLUMES = (32, 64, 16, 48, 96, 128)
_MOST_USUAL = {2: 4, 3: 3}


def trial_sides(axes: int) -> tuple[int, ...]:
    """Return how long the sides of squares, or of cubes, are that a network is tried with."""
    return _SIDES_OF_PLANES if axes < 3 else _SIDES_OF_VOLUMES


def usual_shapes(size: tuple[int, ...] | SizeRule | None, axes: int) -> list[tuple[int, ...]]:
    """Return a few spatial shapes that a network is likely to take.

    Parameters
    ----------
    size
        What is known of the sizes that it takes.
    axes
        How many spatial axes it has.
    """
    if isinstance(size, tuple):
        return [size]
    rule = size or SizeRule()
    sides = trial_sides(axes)[: _MOST_USUAL.get(axes, 4)]
    return [rule.smallest_shape((side,) * axes) for side in sides]


def trial_image(channels: int, shape: Sequence[int], name: str) -> Tensor:
    """Return an image of zeros, (1, channel, *space), to try a network with that has a name.

    Raises
    ------
    OutOfMemoryError
        Where it would be larger than the limit.
    """
    nbytes = 4 * channels * math.prod(shape)
    if nbytes > limits.MOST_TRIAL_IMAGE:
        sides = " × ".join(f"{n:,}" for n in shape)
        raise OutOfMemoryError(
            f"The network “{name}” takes {channels:,} channels of {sides} pixels, {nbytes:,} bytes, "
            f"which is more than it can be tried with; export it for smaller images."
        )
    return torch.zeros(1, channels, *shape)

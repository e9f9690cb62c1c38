"""What the units of a layer reach of the layer before it, as frameworks tell it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Window:
    """A window that slides, one number an axis.

    Attributes
    ----------
    kernel, stride, before, dilation
        Unit i reaches those from ``i·stride − before`` on, `kernel` of them, `dilation` apart.
        `before` is None where as much is added as keeps the size (“same” of TensorFlow).
    transposed
        The other way: units of the output that a unit of the input reaches, as a transposed
        convolution has it.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    before: tuple[int, ...] | None
    dilation: tuple[int, ...]
    transposed: bool = False


@dataclass(frozen=True)
class ResampledReach:
    """Another size: each unit reaches those that it is interpolated of.

    ``"area"`` is the mean or maximum of the units that it covers (adaptive pooling).
    """

    mode: Literal["nearest", "linear", "cubic", "area"]
    align_corners: bool = False


Reach = Window | ResampledReach | Literal["pointwise", "everywhere"] | None
"""What a unit sees of the layer before it; None where that is not known."""

"""Occlusion: how far the score falls with a window of the image hidden."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.methods.interface import (
    Count,
    Map,
    Needs,
    PassCount,
    Step,
    Workload,
    method,
)
from napari_neuroscope.engine.methods.interface.shared_options import Baseline, Batch, lengths
from napari_neuroscope.engine.passes.baselines import baseline_of
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace
from napari_neuroscope.engine.passes.variants import Passes

_Side = Annotated[int, Field(ge=1, le=4096)]
_Sides = _Side | Annotated[tuple[_Side, ...], Field(min_length=1)]
Window = Annotated[
    _Sides,
    Field(
        description="The side of a window, in pixels of the input; or one number an axis. One "
        "number is the same length along all axes: where the spec's pixel_size says that "
        "pixels are farther apart, it is fewer."
    ),
]
Stride = Annotated[
    _Sides,
    Field(
        description="How far apart windows are, at most their side; one number or one an axis, "
        "as the side."
    ),
]


def _count_windows(workload: Workload) -> int:
    sides, strides = (
        lengths(name, workload.options[name], workload.steps) for name in ("window", "stride")
    )
    return math.prod(
        math.ceil(max(size - side, 0) / stride) + 1
        for size, side, stride in zip(workload.shape, sides, strides, strict=True)
    )


@method(
    "Occlusion",
    family="perturbation",
    needs=Needs.TARGET,
    reference="Zeiler and Fergus, ECCV 2014, doi:10.1007/978-3-319-10590-1_53",
    signed=True,
    passes=PassCount(forward=Count("``windows``", _count_windows) + 1),
)
def occlusion(
    trace: Trace,
    targets: Sequence[ResolvedTarget],
    layer: str | None,
    *,
    window: Window = 32,
    stride: Stride = 16,
    baseline: Baseline = "zero",
    batch: Batch = 16,
) -> Iterator[Step]:
    """Where the image holds evidence, by how far the score falls with a window of it hidden.

    T(x) − T(x_w), x_w the input with window w set to ``baseline``, averaged over the windows that
    cover a pixel. Windows have the side ``window`` and are ``stride`` pixels apart along every axis,
    or along each its own; they are cut at the far border. Returns (*space) on the input's grid.

    Cost
    ----
    They serve all targets. Along an axis of n pixels there are ⌈(n − ``window``) / ``stride``⌉ + 1
    windows, and as many times those of the next: in a volume choose large ones.

    Misleads
    --------
    Evidence that is there twice, or larger than the window, is missed: hiding a part of it changes
    little. The edge of the window is itself something to see.
    """
    steps = trace.network.spec.steps
    sides, strides = lengths("window", window, steps), lengths("stride", stride, steps)
    for side, apart in zip(sides, strides, strict=True):
        if apart > side:
            raise NeuroscopeError(
                f"Occlusion's stride of {apart} leaves pixels between windows of {side} that are "
                f"never hidden; choose a stride of at most {side}."
            )
    x = trace.input
    b = baseline_of(trace, baseline)
    windows = _windows(x.shape[1:], sides, strides)
    passes = Passes(trace, targets, batch)
    whole = passes.scores(x[None])[:, 0]
    total = x.new_zeros(len(targets), *x.shape[1:])
    count = x.new_zeros(x.shape[1:])

    def maps() -> list[Tensor | Map]:
        return [Map(sums / count.clamp(min=1), notes=passes.notes) for sums in total]

    def without(start: int, stop: int) -> tuple[Tensor, Tensor]:
        hidden = _covered(windows[start:stop].to(x.device), x.shape[1:])
        return hidden.to(total), passes.scores(torch.where(hidden[:, None], b, x))

    for _, stop, (hidden, scores) in passes.each(len(windows), without):
        falls = (whole[:, None] - scores).to(total)
        total += torch.tensordot(falls, hidden, 1)
        count += hidden.sum(0)
        yield Step(stop, len(windows), maps)


def _windows(shape: Sequence[int], sides: Sequence[int], strides: Sequence[int]) -> Tensor:
    """Return windows that cover all of `shape`, the last of each axis beyond the border.

    Their first and last position of each axis, the last excluded: (window, axis, 2).
    """
    starts = (
        [at for at in range(0, max(size - side, 0) + stride, stride) if at < size]
        for size, side, stride in zip(shape, sides, strides, strict=True)
    )
    first = torch.tensor(list(itertools.product(*starts)))
    return torch.stack([first, first + torch.tensor(sides)], -1)


def _covered(windows: Tensor, shape: Sequence[int]) -> Tensor:
    """Return which positions windows (window, axis, 2) cover: bool (window, *space)."""
    covered = torch.ones(len(windows), *(1,) * len(shape), dtype=torch.bool, device=windows.device)
    for axis, size in enumerate(shape):
        at = torch.arange(size, device=windows.device)
        first, last = windows[:, axis, :1], windows[:, axis, 1:]
        inside = (at >= first) & (at < last)
        covered = covered & inside.reshape(
            len(windows), *(size if axis == place else 1 for place in range(len(shape)))
        )
    return covered

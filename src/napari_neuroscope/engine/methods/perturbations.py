"""Black-box maps: how the score changes where parts of the image are hidden."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.methods.options import (
    Baseline,
    Batch,
    Seed,
    along_each,
    lengths,
)
from napari_neuroscope.engine.methods.registry import Map, Needs, Step, method
from napari_neuroscope.engine.passes.baselines import baseline_of
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace
from napari_neuroscope.engine.passes.variants import Passes

# How many of RISE's masks are drawn at once.
_DRAWN = 64
_Side = Annotated[int, Field(ge=1, le=4096)]
_Sides = _Side | Annotated[tuple[_Side, ...], Field(min_length=1)]
_Cells = Annotated[int, Field(ge=1, le=256)]


@method(
    "Occlusion",
    needs=Needs.TARGET,
    reference="Zeiler and Fergus, ECCV 2014, doi:10.1007/978-3-319-10590-1_53",
    signed=True,
)
def occlusion(
    trace: Trace,
    targets: Sequence[ResolvedTarget],
    layer: str | None,
    *,
    window: Annotated[
        _Sides,
        Field(
            description="The side of a window, in pixels of the input; or one number an axis. One "
            "number is the same length along all axes: where the spec's pixel_size says that "
            "pixels are farther apart, it is fewer."
        ),
    ] = 32,
    stride: Annotated[
        _Sides,
        Field(
            description="How far apart windows are, at most their side; one number or one an axis, "
            "as the side."
        ),
    ] = 16,
    baseline: Baseline = "zero",
    batch: Batch = 16,
) -> Iterator[Step]:
    """Where the image holds evidence, by how far the score falls with a window of it hidden.

    T(x) − T(x_w), x_w the input with window w set to ``baseline``, averaged over the windows that
    cover a pixel. Windows have the side ``window`` and are ``stride`` pixels apart along every axis,
    or along each its own; they are cut at the far border. Returns (*space) on the input's grid.

    Cost
    ----
    Forward passes: ``windows`` + 1. Backward passes: 0. They serve all targets. Along an axis of n
    pixels there are ⌈(n − ``window``) / ``stride``⌉ + 1 windows, and as many times those of the
    next: in a volume choose large ones.

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
        return [Map(one / count.clamp(min=1), notes=passes.notes) for one in total]

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
            len(windows), *(size if axis == other else 1 for other in range(len(shape)))
        )
    return covered


@method("RISE", needs=Needs.TARGET, reference="Petsiuk et al., BMVC 2018, arXiv:1806.07421")
def rise(
    trace: Trace,
    targets: Sequence[ResolvedTarget],
    layer: str | None,
    *,
    masks: Annotated[
        int, Field(ge=1, le=1_000_000, description="How many masks; more give a smoother map.")
    ] = 2000,
    cells: Annotated[
        _Cells | Annotated[tuple[_Cells, ...], Field(min_length=1)],
        Field(description="How many cells a mask has along each axis; or one number an axis."),
    ] = 7,
    probability: Annotated[
        float, Field(gt=0, le=1, description="How probable it is that a cell is visible.")
    ] = 0.5,
    centred: Annotated[
        bool,
        Field(
            description="Take the mean score away, so that the map is of what seeing a place adds, "
            "with its sign. Else the mean lies under all of it, which for sums over many pixels "
            "leaves little else to see."
        ),
    ] = False,
    baseline: Baseline = "zero",
    seed: Seed = 0,
    batch: Batch = 16,
) -> Iterator[Step]:
    """Where the image holds evidence, by the scores with random parts of it visible.

    S = 1 / (p N) Σ T(b + M (x − b)) M over N ``masks``: ``cells`` random cells along each axis,
    one with ``probability`` p and else zero, enlarged linearly and shifted at random by less than
    a cell; b is ``baseline``, in the paper zero. Where it is ``centred``, T less its mean over the
    masks takes the place of T. Returns (*space) on the input's grid.

    Cost
    ----
    Forward passes: ``masks``. Backward passes: 0. They serve all targets.

    Misleads
    --------
    Few masks leave blotches that are chance: a second seed shows which. All of the map is raised
    by the mean score, unless it is taken away: compare places within it, not its height with
    another's.
    """
    x = trace.input
    b = baseline_of(trace, baseline)
    passes = Passes(trace, targets, batch)
    drawn = _Masks(x, along_each("cells", cells, x.ndim - 1), probability, seed)
    total = x.new_zeros(len(targets), *x.shape[1:])
    seen, scored = x.new_zeros(x.shape[1:]), x.new_zeros(len(targets))
    done = 0

    def maps() -> list[Tensor | Map]:
        mean = scored / done if centred else torch.zeros_like(scored)
        found = (total - torch.tensordot(mean, seen, 0)) / (probability * done)
        return [Map(one, signed=bool((one < 0).any()), notes=passes.notes) for one in found]

    def through(start: int, stop: int) -> tuple[Tensor, Tensor]:
        visible = drawn.between(start, stop)
        return visible, passes.scores(b + visible[:, None] * (x - b))

    for _, stop, (visible, scores) in passes.each(masks, through):
        total += torch.tensordot(scores.to(total), visible, 1)
        seen += visible.sum(0)
        scored += scores.sum(1).to(total)
        done = stop
        yield Step(stop, masks, maps)


class _Masks:
    """Random masks of an input (channel, *space), each 0 to 1, in the order of their numbers.

    The cells are drawn on the CPU, so that a seed means the same masks on every device; they are
    enlarged on the input's own.
    """

    def __init__(self, x: Tensor, cells: Sequence[int], probability: float, seed: int) -> None:
        self._shape, self._probability = x.shape[1:], probability
        self._steps = [-(-size // n) for size, n in zip(self._shape, cells, strict=True)]
        self._generator = torch.Generator().manual_seed(seed)
        self._coarse = x.new_empty(0, *cells)
        self._shifts = torch.empty(0, len(self._shape), dtype=torch.long, device=x.device)
        self._first = 0
        # Linear enlargement is one matrix an axis: (enlarged, cells).
        self._enlarged = [
            functional.interpolate(
                torch.eye(n, device=x.device, dtype=x.dtype)[None],
                (n + 1) * step, mode="linear", align_corners=False,
            )[0].T.contiguous()
            for n, step in zip(cells, self._steps, strict=True)
        ]  # fmt: skip

    def between(self, start: int, stop: int) -> Tensor:
        """Return masks (mask, *space) on the input's device; `start` never goes back."""
        self._coarse = self._coarse[start - self._first :]
        self._shifts = self._shifts[start - self._first :]
        self._first = start
        while len(self._coarse) < stop - start:
            self._draw()
        found, shifts = self._coarse[: stop - start], self._shifts[: stop - start]
        for axis, (size, lines) in enumerate(zip(self._shape, self._enlarged, strict=True)):
            at = shifts[:, axis, None] + torch.arange(size, device=found.device)
            # The first axis of cells goes, and comes back enlarged as the last.
            found = torch.einsum("mc...,msc->m...s", found, lines[at])
        return found

    def _draw(self) -> None:
        """Draw the next masks: always as many, so that no batch size changes them."""
        coarse = torch.rand((_DRAWN, *self._coarse.shape[1:]), generator=self._generator)
        shifts = [torch.randint(step, (_DRAWN,), generator=self._generator) for step in self._steps]
        self._coarse = torch.cat([self._coarse, (coarse < self._probability).to(self._coarse)])
        self._shifts = torch.cat([self._shifts, torch.stack(shifts, 1).to(self._shifts)])

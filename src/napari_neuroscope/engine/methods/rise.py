"""RISE: how well the class is seen through random masks of the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from napari_neuroscope.engine.methods.interface import (
    Map,
    Needs,
    PassCount,
    Step,
    count_of_option,
    method,
)
from napari_neuroscope.engine.methods.interface.shared_options import (
    Baseline,
    Batch,
    Seed,
    along_each,
)
from napari_neuroscope.engine.passes.baselines import baseline_of
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace
from napari_neuroscope.engine.passes.variants import Passes

# How many masks are drawn at once.
_DRAWN = 64
_Cells = Annotated[int, Field(ge=1, le=256)]
Cells = Annotated[
    _Cells | Annotated[tuple[_Cells, ...], Field(min_length=1)],
    Field(description="How many cells a mask has along each axis; or one number an axis."),
]
Centred = Annotated[
    bool,
    Field(
        title="Less the mean score",
        description="Take the mean score away, so that the map is of what seeing a place adds, "
        "with its sign. Else the mean lies under all of it, which for sums over many pixels "
        "leaves little else to see.",
    ),
]


@method(
    "RISE",
    family="perturbation",
    needs=Needs.TARGET,
    reference="Petsiuk et al., BMVC 2018, arXiv:1806.07421",
    passes=PassCount(forward=count_of_option("masks")),
)
def rise(
    trace: Trace,
    targets: Sequence[ResolvedTarget],
    layer: str | None,
    *,
    masks: Annotated[
        int, Field(ge=1, le=1_000_000, description="How many masks; more give a smoother map.")
    ] = 2000,
    cells: Cells = 7,
    probability: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            title="Share visible",
            description="How probable it is that a cell is visible.",
        ),
    ] = 0.5,
    centred: Centred = False,
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
    They serve all targets.

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
    visits, scored = x.new_zeros(x.shape[1:]), x.new_zeros(len(targets))
    done = 0

    def maps() -> list[Tensor | Map]:
        mean = scored / done if centred else torch.zeros_like(scored)
        weighed = (total - torch.tensordot(mean, visits, 0)) / (probability * done)
        return [
            Map(values, signed=bool((values < 0).any()), notes=passes.notes) for values in weighed
        ]

    def through(start: int, stop: int) -> tuple[Tensor, Tensor]:
        visible = drawn.between(start, stop)
        return visible, passes.scores(b + visible[:, None] * (x - b))

    for _, stop, (visible, scores) in passes.each(masks, through):
        total += torch.tensordot(scores.to(total), visible, 1)
        visits += visible.sum(0)
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
        masks, shifts = self._coarse[: stop - start], self._shifts[: stop - start]
        for axis, (size, lines) in enumerate(zip(self._shape, self._enlarged, strict=True)):
            at = shifts[:, axis, None] + torch.arange(size, device=masks.device)
            # The first axis of cells goes, and comes back enlarged as the last.
            masks = torch.einsum("mc...,msc->m...s", masks, lines[at])
        return masks

    def _draw(self) -> None:
        """Draw the next masks: always as many, so that no batch size changes them."""
        coarse = torch.rand((_DRAWN, *self._coarse.shape[1:]), generator=self._generator)
        shifts = [torch.randint(step, (_DRAWN,), generator=self._generator) for step in self._steps]
        self._coarse = torch.cat([self._coarse, (coarse < self._probability).to(self._coarse)])
        self._shifts = torch.cat([self._shifts, torch.stack(shifts, 1).to(self._shifts)])

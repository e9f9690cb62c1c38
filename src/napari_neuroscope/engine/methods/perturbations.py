"""Black-box maps: how the score changes where parts of the image are hidden."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from napari_neuroscope.engine.baselines import baseline_of
from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.methods.options import Baseline, Batch, Seed
from napari_neuroscope.engine.methods.registry import Map, Needs, Step, method
from napari_neuroscope.engine.passes import Passes
from napari_neuroscope.engine.target import ResolvedTarget
from napari_neuroscope.engine.trace import Trace

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


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
        int, Field(ge=1, le=4096, description="The side of a window, in pixels of the input.")
    ] = 32,
    stride: Annotated[
        int, Field(ge=1, le=4096, description="How far apart windows are; at most their side.")
    ] = 16,
    baseline: Baseline = "zero",
    batch: Batch = 16,
) -> Iterator[Step]:
    """Where the image holds evidence, by how far the score falls with a window of it hidden.

    T(x) − T(x_w), x_w the input with window w set to ``baseline``, averaged over the windows that
    cover a pixel. Windows have the side ``window`` and are ``stride`` pixels apart along every axis;
    they are cut at the far border. Returns (*space) on the input's grid.

    Cost
    ----
    Forward passes: ``windows`` + 1. Backward passes: 0. They serve all targets. Along an axis of n
    pixels there are ⌈(n − ``window``) / ``stride``⌉ + 1 windows.

    Misleads
    --------
    Evidence that is there twice, or larger than the window, is missed: hiding a part of it changes
    little. The edge of the window is itself something to see.
    """
    if stride > window:
        raise NeuroscopeError(
            f"Occlusion's stride of {stride} leaves pixels between windows of {window} that are "
            f"never hidden; choose a stride of at most {window}."
        )
    x = trace.input
    b = baseline_of(trace, baseline)
    windows = _windows(x.shape[1:], window, stride)
    passes = Passes(trace, targets, batch)
    whole = passes.scores(x[None])[:, 0]
    total = x.new_zeros(len(targets), *x.shape[1:])
    count = x.new_zeros(x.shape[1:])

    def maps() -> list[Tensor | Map]:
        return [Map(one / count.clamp(min=1), notes=passes.notes) for one in total]

    for start, stop in passes.parts(len(windows)):
        some = windows[start:stop]
        inputs = x.expand(len(some), *x.shape).clone()
        for hidden, at in zip(inputs, some, strict=True):
            hidden[(slice(None), *at)] = b[(slice(None), *at)]
        falls = (whole[:, None] - passes.scores(inputs)).to(total)
        for fall, at in zip(falls.T, some, strict=True):
            total[(slice(None), *at)] += fall.reshape(-1, *(1,) * len(at))
            count[at] += 1
        yield Step(stop, len(windows), maps)


def _windows(shape: Sequence[int], window: int, stride: int) -> list[tuple[slice, ...]]:
    """Return windows that cover all of `shape`, the last of each axis cut at the border."""
    starts = (range(0, max(size - window, 0) + stride, stride) for size in shape)
    lines = (
        [slice(at, min(at + window, size)) for at in of_axis if at < size]
        for of_axis, size in zip(starts, shape, strict=True)
    )
    return list(itertools.product(*lines))


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
        int, Field(ge=1, le=256, description="How many cells a mask has along each axis.")
    ] = 7,
    probability: Annotated[
        float, Field(gt=0, le=1, description="How probable it is that a cell is visible.")
    ] = 0.5,
    baseline: Baseline = "zero",
    seed: Seed = 0,
    batch: Batch = 16,
) -> Iterator[Step]:
    """Where the image holds evidence, by the scores with random parts of it visible.

    S = 1 / (p N) Σ T(b + M (x − b)) M over N ``masks``: ``cells`` random cells along each axis,
    one with ``probability`` p and else zero, enlarged linearly and shifted at random by less than
    a cell; b is ``baseline``, in the paper zero. Returns (*space) on the input's grid.

    Cost
    ----
    Forward passes: ``masks``. Backward passes: 0. They serve all targets.

    Misleads
    --------
    Few masks leave blotches that are chance: a second seed shows which. All of the map is raised
    by the mean score, so compare places within it, not its height with another's.
    """
    x = trace.input
    b = baseline_of(trace, baseline)
    passes = Passes(trace, targets, batch)
    generator = torch.Generator().manual_seed(seed)
    total = x.new_zeros(len(targets), *x.shape[1:])
    done = 0

    def maps() -> list[Tensor | Map]:
        found = total / (probability * done)
        return [Map(one, signed=bool((one < 0).any()), notes=passes.notes) for one in found]

    for start, stop in passes.parts(masks):
        drawn = [_mask(x.shape[1:], cells, probability, generator) for _ in range(start, stop)]
        visible = torch.stack(drawn).to(x)
        scores = passes.scores(b + visible[:, None] * (x - b)).to(total)
        total += torch.tensordot(scores, visible, 1)
        done = stop
        yield Step(stop, masks, maps)


def _mask(
    shape: Sequence[int], cells: int, probability: float, generator: torch.Generator
) -> Tensor:
    """Return the next random mask (*space), 0 to 1."""
    space = len(shape)
    coarse = torch.rand((cells,) * space, generator=generator) < probability
    steps = [-(-size // cells) for size in shape]
    fine = functional.interpolate(
        coarse.float()[None, None],
        [(cells + 1) * step for step in steps],
        mode=_LINEAR[space],
        align_corners=False,
    )[0, 0]
    shifts = [int(torch.randint(step, (), generator=generator)) for step in steps]
    return fine[
        tuple(slice(at, at + size) for at, size in zip(shifts, shape, strict=True))
    ].contiguous()

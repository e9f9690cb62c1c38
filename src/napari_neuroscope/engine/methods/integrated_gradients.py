"""Integrated gradients: the gradient averaged on the way from a baseline to the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from napari_neuroscope.engine.methods.gradients import (
    CONTRIBUTION,
    input_map,
    is_signed,
    mean_gradients,
)
from napari_neuroscope.engine.methods.interface import (
    Map,
    Needs,
    PassCount,
    Step,
    count_of_option,
    method,
)
from napari_neuroscope.engine.methods.interface.shared_options import Baseline, Batch, Channels
from napari_neuroscope.engine.passes.baselines import baseline_of
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace
from napari_neuroscope.engine.passes.variants import Passes

Steps = Annotated[
    int,
    Field(
        ge=1,
        le=1000,
        description="How many inputs on the way from the baseline to the image are asked; more "
        "make the map add up better.",
    ),
]

_GOLDEN = (5**0.5 - 1) / 2
# Of the score's difference; a larger gap asks for more steps.
_SMALL_GAP = 0.05


def path_attributions(passes: Passes, baseline: Tensor, steps: int) -> Iterator[tuple[int, Tensor]]:
    """Yield how many steps are over, and the integrated gradients from a baseline so far.

    The integral is by Gauss–Legendre quadrature. Its steps are taken in an order that is spread
    over the way, so that few of them already show all of it.

    Parameters
    ----------
    passes
        What asks the network.
    baseline
        Where the way to the image begins: (channel, *space).
    steps
        How many inputs on the way are asked.

    Yields
    ------
    tuple
        The number, and float32 (target, channel, *space).
    """
    x = passes.trace.input
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    spread = np.argsort(np.arange(steps) * _GOLDEN % 1)
    along = torch.as_tensor((nodes[spread] + 1) / 2, dtype=x.dtype, device=x.device)
    along = along.reshape(-1, *(1,) * x.ndim)
    way = x - baseline

    def between(start: int, stop: int) -> Tensor:
        return baseline + along[start:stop] * way

    for done, mean in mean_gradients(passes, between, weights[spread]):
        yield done, mean * way


@method(
    "Integrated gradients",
    family="gradient",
    needs=Needs.TARGET | Needs.GRADIENTS,
    passes=PassCount(forward=count_of_option("steps") + 1, backward=count_of_option("steps")),
    signed=is_signed,
    reference="Sundararajan et al., ICML 2017, arXiv:1703.01365",
)
def integrated_gradients(
    trace: Trace,
    targets: Sequence[ResolvedTarget],
    layer: str | None,
    *,
    baseline: Baseline = "zero",
    steps: Steps = 50,
    channels: Channels = "sum",
    batch: Batch = 16,
) -> Iterator[Step]:
    """What each pixel adds to the score on the way from a baseline to the image.

    (x − b) · ∫₀¹ ∂T/∂x (b + α (x − b)) dα, b the ``baseline``, by Gauss–Legendre quadrature with
    ``steps`` points; its channels joined as ``channels`` says. With many steps their sum is
    T(x) − T(b): the explanation's notes say how far it is from that. Returns (*space) on the
    input's grid, or (channel, *space) where they are kept.

    Cost
    ----
    The forward passes are shared by all targets.

    Misleads
    --------
    All is relative to the baseline: what is like it gets nothing, such as black parts where it is
    black. Compare two. The images on the way are unlike any that the network was trained on, and
    their gradients make the map noisy.
    """
    b = baseline_of(trace, baseline)
    passes = Passes(trace, targets, batch)
    baseline_scores = passes.scores(b[None])[:, 0]

    def maps(attributions: Tensor, *, whole: bool) -> list[Tensor | Map]:
        made: list[Tensor | Map] = []
        for target, attribution, score in zip(targets, attributions, baseline_scores, strict=True):
            gap = (_completeness(trace, target, attribution, float(score)),) if whole else ()
            made.append(input_map(attribution, channels, (*passes.notes, *gap), CONTRIBUTION))
        return made

    for done, attributions in path_attributions(passes, b, steps):
        yield Step(done, steps, partial(maps, attributions, whole=done == steps))


def _completeness(
    trace: Trace, target: ResolvedTarget, attribution: Tensor, baseline_score: float
) -> str:
    """Return how far the sum of a map is from the difference that it should be, in words."""
    total, difference = float(attribution.sum()), trace.value(target) - baseline_score
    gap = total - difference
    more = "; more steps make it smaller" if abs(gap) > _SMALL_GAP * abs(difference) else ""
    return (
        f"the map of {trace.network.spec.class_name(target.index)} adds up to {total:.4g}, the "
        f"score's difference from the baseline is {difference:.4g}: a completeness gap of "
        f"{gap:.2g}{more}"
    )

"""Gradients averaged over many inputs: on the way from a baseline to the image, or with noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from napari_neuroscope.engine.methods.gradients import CONTRIBUTION, input_map, is_signed
from napari_neuroscope.engine.methods.options import Baseline, Batch, Channels, Seed
from napari_neuroscope.engine.methods.registry import Map, Needs, Step, method
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


def _mean_gradients(
    passes: Passes, inputs: Callable[[int, int], Tensor], weights: np.ndarray
) -> Iterator[tuple[int, Tensor]]:
    """Yield how many inputs are over, and the weighted mean of their gradients so far.

    Parameters
    ----------
    passes
        What asks the network.
    inputs
        Makes the inputs from start to stop: (input, channel, *space).
    weights
        Of each input, above zero: (input,).

    Yields
    ------
    tuple
        The number, and float32 (target, channel, *space).
    """
    x = passes.trace.input
    of_each = torch.as_tensor(weights, dtype=torch.float32, device=x.device)
    covered = np.cumsum(weights)
    total = torch.zeros(len(passes.targets), *x.shape, device=x.device)

    def weighted(start: int, stop: int) -> Tensor:
        gradients = passes.gradients(inputs(start, stop))[1]
        return of_each[start:stop] @ gradients.flatten(2)

    for _, stop, part in passes.each(len(weights), weighted):
        total += part.reshape(total.shape)
        yield stop, total / float(covered[stop - 1])


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

    for done, mean in _mean_gradients(passes, between, weights[spread]):
        yield done, mean * way


@method(
    "Integrated gradients",
    needs=Needs.TARGET | Needs.GRADIENTS,
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
    Forward passes: ``steps`` + 1. Backward passes: ``steps``. The forward passes are shared by all
    targets.

    Misleads
    --------
    All is relative to the baseline: what is like it gets nothing, such as black parts where it is
    black. Compare two. The images on the way are unlike any that the network was trained on, and
    their gradients make the map noisy.
    """
    b = baseline_of(trace, baseline)
    passes = Passes(trace, targets, batch)
    of_baseline = passes.scores(b[None])[:, 0]

    def maps(attributions: Tensor, *, whole: bool) -> list[Tensor | Map]:
        found: list[Tensor | Map] = []
        for target, one, score in zip(targets, attributions, of_baseline, strict=True):
            gap = (_completeness(trace, target, one, float(score)),) if whole else ()
            found.append(input_map(one, channels, (*passes.notes, *gap), CONTRIBUTION))
        return found

    for done, attributions in path_attributions(passes, b, steps):
        yield Step(done, steps, partial(maps, attributions, whole=done == steps))


def _completeness(
    trace: Trace, target: ResolvedTarget, attribution: Tensor, of_baseline: float
) -> str:
    """Return how far the sum of a map is from the difference that it should be, in words."""
    found, wanted = float(attribution.sum()), trace.value(target) - of_baseline
    gap = found - wanted
    more = "; more steps make it smaller" if abs(gap) > _SMALL_GAP * abs(wanted) else ""
    return (
        f"the map of {trace.network.spec.class_name(target.index)} adds up to {found:.4g}, the "
        f"score's difference from the baseline is {wanted:.4g}: a completeness gap of "
        f"{gap:.2g}{more}"
    )


@method(
    "SmoothGrad",
    needs=Needs.TARGET | Needs.GRADIENTS,
    signed=is_signed,
    reference="Smilkov et al. 2017, arXiv:1706.03825",
    instead=("rise",),
)
def smooth_grad(
    trace: Trace,
    targets: Sequence[ResolvedTarget],
    layer: str | None,
    *,
    samples: Annotated[
        int, Field(ge=1, le=100_000, description="How many inputs with noise are asked.")
    ] = 50,
    noise: Annotated[
        float,
        Field(
            ge=0,
            le=10,
            description="The noise's standard deviation, as a share of the range of the input's "
            "values.",
        ),
    ] = 0.15,
    seed: Seed = 0,
    channels: Channels = "max_abs",
    batch: Batch = 16,
) -> Iterator[Step]:
    """How strongly each pixel would change the score, with the gradient's own noise averaged out.

    The mean of ∂T/∂x at x + n over ``samples`` inputs, n normal with the standard deviation
    ``noise`` · (max x − min x); then its channels are joined as ``channels`` says. Returns (*space)
    on the input's grid, or (channel, *space) where they are kept.

    Cost
    ----
    Forward passes: ``samples``. Backward passes: ``samples``. The forward passes are shared by all
    targets.

    Misleads
    --------
    What it shows is sensitivity, as of the saliency, and of images with noise at that: much noise
    shows what the network does where it no longer sees the image.
    """
    x = trace.input
    passes = Passes(trace, targets, batch)
    deviation = noise * (x.amax() - x.amin())

    def noisy(start: int, stop: int) -> Tensor:
        # Each sample has a seed of its own: no batch, and no device, changes it.
        drawn = [
            np.random.default_rng((seed, number)).standard_normal(x.shape, np.float32)
            for number in range(start, stop)
        ]
        return x + deviation * torch.from_numpy(np.stack(drawn)).to(x)

    def maps(gradients: Tensor) -> list[Tensor | Map]:
        return [input_map(one, channels, passes.notes) for one in gradients]

    for done, gradients in _mean_gradients(passes, noisy, np.ones(samples)):
        yield Step(done, samples, partial(maps, gradients))

"""SmoothGrad: the gradient averaged over images with noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from napari_neuroscope.engine.methods.gradients import input_map, is_signed, mean_gradients
from napari_neuroscope.engine.methods.interface import (
    Map,
    Needs,
    PassCount,
    Step,
    count_of_option,
    method,
)
from napari_neuroscope.engine.methods.interface.shared_options import Batch, Channels, Seed
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace
from napari_neuroscope.engine.passes.variants import Passes


@method(
    "SmoothGrad",
    family="gradient",
    needs=Needs.TARGET | Needs.GRADIENTS,
    passes=PassCount(forward=count_of_option("samples"), backward=count_of_option("samples")),
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
    The forward passes are shared by all targets.

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
        return [input_map(gradient, channels, passes.notes) for gradient in gradients]

    for done, gradients in mean_gradients(passes, noisy, np.ones(samples)):
        yield Step(done, samples, partial(maps, gradients))

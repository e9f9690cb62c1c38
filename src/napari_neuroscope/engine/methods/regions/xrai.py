"""XRAI: which segments of the image add most to the score, by integrated gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from napari_neuroscope.engine.images.segments import Segmentation
from napari_neuroscope.engine.methods.gradients import CONTRIBUTION
from napari_neuroscope.engine.methods.integrated_gradients import Steps, path_attributions
from napari_neuroscope.engine.methods.interface import (
    Map,
    Needs,
    PassCount,
    Step,
    count_of_option,
    method,
)
from napari_neuroscope.engine.methods.interface.shared_options import Batch
from napari_neuroscope.engine.methods.regions.options import (
    SPLIT,
    Area,
    Dilation,
    LongestSide,
    MinSize,
    Scales,
    Sigma,
)
from napari_neuroscope.engine.methods.regions.painting import image_part, painted, segments_of
from napari_neuroscope.engine.passes.baselines import Baseline, baseline_of
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace
from napari_neuroscope.engine.passes.variants import Passes

_OPPOSITE: tuple[Baseline, ...] = ("black", "white")


@method(
    "XRAI",
    family="region",
    needs=Needs.TARGET | Needs.GRADIENTS | Needs.PLANE,
    reference="Kapishnikov et al., ICCV 2019, arXiv:1906.02825",
    signed=True,
    instead=("integrated_gradients", "occlusion"),
    passes=PassCount(forward=2 * count_of_option("steps"), backward=2 * count_of_option("steps")),
)
def xrai(
    trace: Trace,
    targets: Sequence[ResolvedTarget],
    layer: str | None,
    *,
    steps: Steps = 50,
    scales: Scales = SPLIT.scales,
    sigma: Sigma = SPLIT.sigma,
    min_size: MinSize = SPLIT.min_size,
    longest_side: LongestSide = SPLIT.longest_side,
    dilation: Dilation = SPLIT.dilation,
    min_new_area: Area = 50,
    batch: Batch = 16,
) -> Iterator[Step]:
    """Which parts of the image add most to the score, as whole segments.

    The segmented score map's choice of segments, with the integrated gradients as what they show
    the mean of: from a black and from a white image, ``steps`` points each, the mean of the two and
    the sum of the input's channels. With two baselines neither dark nor bright parts are left out.

    Returns (*space) on the pixels of the network's input that show the image, with the order of the
    regions beside it.

    Cost
    ----
    The forward passes are shared by all targets. The image is split on the CPU, once for all
    classes.

    Misleads
    --------
    Its sharp borders are the image's, found without the network: the evidence may be a spot in a
    segment, or lie across several. A part that speaks for and against the class shows nothing. A
    dark image is far from white: what the network looks for as bright then comes out below zero.
    """
    segments = segments_of(trace, Segmentation(scales, sigma, min_size, longest_side, dilation))
    onto, part = image_part(trace)
    passes = Passes(trace, targets, batch)

    def maps(attributions: Tensor) -> list[Tensor | Map]:
        bases = (
            Map(of_target.sum(0)[part], unit=CONTRIBUTION, notes=passes.notes, grid=onto)
            for of_target in attributions
        )
        return [painted(base, segments, min_new_area) for base in bases]

    total = torch.zeros((), device=trace.input.device)
    for number, name in enumerate(_OPPOSITE):
        for done, attributions in path_attributions(passes, baseline_of(trace, name), steps):
            mean = (total + attributions) / (number + 1)
            yield Step(number * steps + done, len(_OPPOSITE) * steps, partial(maps, mean))
        total = total + attributions

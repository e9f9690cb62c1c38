"""Segmented score maps: which segments of the image score highest, or also predicted regions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from napari_neuroscope.engine.images.segments import Candidates, Segmentation
from napari_neuroscope.engine.methods.interface import ChoiceWords, Map, Needs, method
from napari_neuroscope.engine.methods.regions.options import (
    PAPER,
    PASSES_OF_BASE,
    SPLIT,
    Area,
    Base,
    Dilation,
    LongestSide,
    MinSize,
    Scales,
    Sigma,
    needs_of_base,
)
from napari_neuroscope.engine.methods.regions.painting import (
    attribution,
    painted,
    predicted,
    segments_of,
)
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace


@method(
    "Segmented score map",
    family="region",
    needs=Needs.TARGET | Needs.PLANE,
    tasks=("segmentation",),
    needs_more=needs_of_base,
    reference=PAPER,
    passes=PASSES_OF_BASE,
    instead=("score_map",),
)
def segmented_score_map(
    trace: Trace,
    target: ResolvedTarget,
    layer: str | None,
    *,
    base: Base = "score_map",
    scales: Scales = SPLIT.scales,
    sigma: Sigma = SPLIT.sigma,
    min_size: MinSize = SPLIT.min_size,
    longest_side: LongestSide = SPLIT.longest_side,
    dilation: Dilation = SPLIT.dilation,
    min_new_area: Area = 50,
) -> Map:
    """Which parts of the image score highest, as whole segments: each shows its mean score.

    The image is split at several ``scales`` (Felzenszwalb and Huttenlocher 2004, with ``sigma`` and
    ``min_size``, scaled to −1..1, its channels as they are, its longer side at most
    ``longest_side`` pixels), and each segment grows by a disk of radius ``dilation``. Then the
    segment with the highest mean of ``base`` over what it adds is painted with that mean, and so on
    (as XRAI, Kapishnikov et al. 2019); one that adds fewer than ``min_new_area`` pixels is passed
    over, and what is left at the end gets its own mean.

    Returns (*space) on the pixels of the network's input that show the image, with the order of the
    regions beside it.

    Cost
    ----
    The image is split on the CPU, once for all classes.

    Misleads
    --------
    Its sharp borders are the image's, found without the network, and not the network's own. A small
    strong spot is averaged away in a large segment.
    """
    how = Segmentation(scales, sigma, min_size, longest_side, dilation)
    return painted(attribution(trace, target, layer, base), segments_of(trace, how), min_new_area)


@method(
    "Guided segmented score map",
    family="region",
    needs=Needs.TARGET | Needs.PLANE,
    tasks=("segmentation",),
    needs_more=needs_of_base,
    reference=PAPER,
    passes=PASSES_OF_BASE,
    instead=("segmented_score_map", "score_map"),
)
def guided_segmented_score_map(
    trace: Trace,
    target: ResolvedTarget,
    layer: str | None,
    *,
    candidates: Annotated[
        Literal["union", "intersection"],
        ChoiceWords({"union": "beside the segments", "intersection": "cut the segments"}),
        Field(
            title="Predicted regions",
            description="The region of each predicted class is added to the segments (union), or "
            "cuts every segment, after it has grown, into its parts (intersection).",
        ),
    ] = "union",
    base: Base = "score_map",
    scales: Scales = SPLIT.scales,
    sigma: Sigma = SPLIT.sigma,
    min_size: MinSize = SPLIT.min_size,
    longest_side: LongestSide = SPLIT.longest_side,
    dilation: Dilation = SPLIT.dilation,
    min_new_area: Area = 50,
) -> Map:
    """The segmented score map, led by the prediction: its regions are segments too.

    As the segmented score map, its segments joined or cut by the regions that are predicted as one
    class each, as ``candidates`` says. Predicted regions don't grow.

    Returns (*space) on the pixels of the network's input that show the image, with the order of the
    regions beside it.

    Cost
    ----
    The image is split on the CPU, once for all classes.

    Misleads
    --------
    Where the prediction is wrong, the map is led astray with it: it can't show that a region should
    have been another.
    """
    how = Segmentation(scales, sigma, min_size, longest_side, dilation)

    def guide() -> Candidates:
        segments, regions = segments_of(trace, how), predicted(trace)
        return segments.joined_by(regions) if candidates == "union" else segments.cut_by(regions)

    return painted(
        attribution(trace, target, layer, base),
        trace.once(("guided", candidates, how), guide),
        min_new_area,
    )

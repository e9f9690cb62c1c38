"""Maps over regions: the attribution's mean on segments of the image, or on what is predicted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.images.grid import Grid, resample, resample_nearest
from napari_neuroscope.engine.images.segments import (
    Candidates,
    Segmentation,
    candidates_of_images,
    paint,
)
from napari_neuroscope.engine.methods.averaged_gradients import Steps, path_attributions
from napari_neuroscope.engine.methods.gradients import CONTRIBUTION
from napari_neuroscope.engine.methods.options import Batch
from napari_neuroscope.engine.methods.registry import (
    Choices,
    Map,
    Method,
    Needs,
    Step,
    method,
    methods,
)
from napari_neuroscope.engine.passes.baselines import Baseline, baseline_of
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace
from napari_neuroscope.engine.passes.variants import Passes

_PAPER = "Schorr et al., Appl. Sci. 2021, doi:10.3390/app11052199"
_SCORES = ("score_map", "probability")


def _over_regions(chosen: Method) -> bool:
    """Whether a method's map is over regions already: of a base, or of an image that it splits."""
    return "base" in chosen.options or Needs.PLANE in chosen.needs


def _offered() -> list[str]:
    """Return the attributions whose mean can be taken: maps of a target."""
    others = [
        name
        for name, one in methods.items()
        if "segmentation" in one.tasks and Needs.TARGET in one.needs and not _over_regions(one)
    ]
    return list(dict.fromkeys([*_SCORES, *others]))


Base = Annotated[
    str,
    Choices(_offered),
    Field(
        description="What the regions show the mean of: the target's score (score_map), its "
        "probability, or another map with its own defaults, such as grad_cam of a layer."
    ),
]
Scales = Annotated[
    tuple[Annotated[float, Field(gt=0, le=1e6)], ...],
    Field(
        min_length=1,
        max_length=32,
        description="The scales at which the image is split; larger ones give larger segments.",
    ),
]
Sigma = Annotated[
    float, Field(ge=0, le=100, description="How far the image is blurred before it is split.")
]
MinSize = Annotated[
    int, Field(ge=1, le=1_000_000, description="The fewest pixels that a segment has.")
]
LongestSide = Annotated[
    int,
    Field(ge=8, le=4096, description="To how many pixels a larger image is scaled to be split."),
]
Dilation = Annotated[
    int, Field(ge=0, le=100, description="The radius of the disk by which each segment grows.")
]
Area = Annotated[
    int,
    Field(
        ge=0,
        le=1_000_000,
        description="A segment that adds fewer pixels than these is passed over.",
    ),
]

_SPLIT = Segmentation()
_OPPOSITE: tuple[Baseline, ...] = ("black", "white")


def _needs_of_base(options: Mapping[str, Any]) -> Needs:
    base = options.get("base", _SCORES[0])
    if not isinstance(base, str) or base == "probability":
        return Needs.NOTHING
    chosen = methods[base]
    if _over_regions(chosen):
        raise NeuroscopeError(
            f"{chosen.title} is itself a map over regions and can't be their base; choose a map "
            f"such as score_map or grad_cam."
        )
    return chosen.needs_with(chosen.check_options({}))


def seen(trace: Trace) -> tuple[Grid, tuple[slice, ...]]:
    """Return the part of the network's input that is image and no padding, and where it is.

    Of a segmenter, as far as it answers for it.
    """
    grid, image = trace.prepared.grid, trace.prepared.image
    part = grid.within(image)
    if trace.network.spec.task == "segmentation":
        answered = grid.within(trace.output_grid)
        part = tuple(
            slice(max(a.start, b.start), min(a.stop, b.stop))
            for a, b in zip(part, answered, strict=True)
        )
    shape = [side.stop - side.start for side in part]
    return grid.window([side.start for side in part], shape), part


def segments_of(trace: Trace, how: Segmentation) -> Candidates:
    """Return the segments of the image as the network sees it, found once an image."""
    network, part = trace.network, seen(trace)[1]
    # What the network takes, and of which image: its weights and classes don't matter here.
    image, shape, dtype, spec, _ = trace.key
    ends = tuple((side.start, side.stop) for side in part)
    key = (image, shape, dtype, spec.input, spec.image_axes, network.channels, how, ends)

    def find() -> Candidates:
        return Candidates.of_image(trace.prepared.displayable()[(slice(None), *part)], how)

    return candidates_of_images.of(key, find)


def attribution(trace: Trace, target: ResolvedTarget, layer: str | None, base: str) -> Map:
    """Return the base of a map over regions, (*space) on the part of the input that is image.

    Raises
    ------
    NeuroscopeError
        Where it is no map of one value a position.
    """
    if base == "probability":
        chosen, target = methods["score_map"], replace(target, score="probability")
    else:
        chosen = methods[base]
    options = chosen.check_options({})
    made = chosen(trace, target, layer, **options)
    if made.axes or made.values.ndim != trace.space:
        found = f"an axis “{made.axes[0]}”" if made.axes else "no place on the image"
        raise NeuroscopeError(
            f"{chosen.title} can't be the base of a map over regions: it has {found}; choose a "
            f"map of one value a position, such as score_map or grad_cam."
        )
    onto = seen(trace)[0]
    values, grid = made.values.float(), made.lies_on(trace.prepared.grid)
    # A layer that leaves out a border is continued there.
    values = values if grid == onto else resample(values, grid, onto, outside=None)
    signed = chosen.signed(options) if made.signed is None else made.signed
    return replace(
        made, values=values, signed=signed, unit=made.unit or chosen.title, grid=onto,
        companions={}, ordered=frozenset(), table={},
    )  # fmt: skip


def predicted(trace: Trace) -> np.ndarray:
    """Return the predicted classes on the part of the input that is image, int (*space)."""

    def find() -> np.ndarray:
        labels = trace.outputs.predicted.cpu().numpy()
        return resample_nearest(labels, trace.output_grid, seen(trace)[0])

    return trace.once("predicted on the input", find)


def painted(base: Map, segments: Candidates, min_new_area: int) -> Map:
    """Return the map that paints an attribution over segments, with their order beside it."""
    values, order = paint(base.values, segments, min_new_area)
    return replace(base, values=values, companions={"order": order}, ordered=frozenset({"order"}))


@method(
    "Segmented score map",
    needs=Needs.TARGET | Needs.PLANE,
    tasks=("segmentation",),
    needs_more=_needs_of_base,
    reference=_PAPER,
    instead=("score_map",),
)
def segmented_score_map(
    trace: Trace,
    target: ResolvedTarget,
    layer: str | None,
    *,
    base: Base = "score_map",
    scales: Scales = _SPLIT.scales,
    sigma: Sigma = _SPLIT.sigma,
    min_size: MinSize = _SPLIT.min_size,
    longest_side: LongestSide = _SPLIT.longest_side,
    dilation: Dilation = _SPLIT.dilation,
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
    Forward passes: 0, and those of ``base``. Backward passes: 0, and those of ``base``. The image is
    split on the CPU, once for all classes.

    Misleads
    --------
    Its sharp borders are the image's, found without the network, and not the network's own. A small
    strong spot is averaged away in a large segment.
    """
    how = Segmentation(scales, sigma, min_size, longest_side, dilation)
    return painted(attribution(trace, target, layer, base), segments_of(trace, how), min_new_area)


@method(
    "Guided segmented score map",
    needs=Needs.TARGET | Needs.PLANE,
    tasks=("segmentation",),
    needs_more=_needs_of_base,
    reference=_PAPER,
    instead=("segmented_score_map", "score_map"),
)
def guided_segmented_score_map(
    trace: Trace,
    target: ResolvedTarget,
    layer: str | None,
    *,
    candidates: Annotated[
        Literal["union", "intersection"],
        Field(
            description="union adds the region of each predicted class to the segments; "
            "intersection cuts every segment, after it has grown, into its parts in these regions."
        ),
    ] = "union",
    base: Base = "score_map",
    scales: Scales = _SPLIT.scales,
    sigma: Sigma = _SPLIT.sigma,
    min_size: MinSize = _SPLIT.min_size,
    longest_side: LongestSide = _SPLIT.longest_side,
    dilation: Dilation = _SPLIT.dilation,
    min_new_area: Area = 50,
) -> Map:
    """The segmented score map, led by the prediction: its regions are segments too.

    As the segmented score map, its segments joined or cut by the regions that are predicted as one
    class each, as ``candidates`` says. Predicted regions don't grow.

    Returns (*space) on the pixels of the network's input that show the image, with the order of the
    regions beside it.

    Cost
    ----
    Forward passes: 0, and those of ``base``. Backward passes: 0, and those of ``base``. The image is
    split on the CPU, once for all classes.

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


@method(
    "XRAI",
    needs=Needs.TARGET | Needs.GRADIENTS | Needs.PLANE,
    reference="Kapishnikov et al., ICCV 2019, arXiv:1906.02825",
    signed=True,
    instead=("integrated_gradients", "occlusion"),
)
def xrai(
    trace: Trace,
    targets: Sequence[ResolvedTarget],
    layer: str | None,
    *,
    steps: Steps = 50,
    scales: Scales = _SPLIT.scales,
    sigma: Sigma = _SPLIT.sigma,
    min_size: MinSize = _SPLIT.min_size,
    longest_side: LongestSide = _SPLIT.longest_side,
    dilation: Dilation = _SPLIT.dilation,
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
    Forward passes: 2 · ``steps``. Backward passes: 2 · ``steps``. The forward passes are shared by
    all targets. The image is split on the CPU, once for all classes.

    Misleads
    --------
    Its sharp borders are the image's, found without the network: the evidence may be a spot in a
    segment, or lie across several. A part that speaks for and against the class shows nothing. A
    dark image is far from white: what the network looks for as bright then comes out below zero.
    """
    segments = segments_of(trace, Segmentation(scales, sigma, min_size, longest_side, dilation))
    onto, part = seen(trace)
    passes = Passes(trace, targets, batch)

    def maps(attributions: Tensor) -> list[Tensor | Map]:
        bases = (
            Map(one.sum(0)[part], unit=CONTRIBUTION, notes=passes.notes, grid=onto)
            for one in attributions
        )
        return [painted(base, segments, min_new_area) for base in bases]

    total = torch.zeros((), device=trace.input.device)
    for number, name in enumerate(_OPPOSITE):
        for done, found in path_attributions(passes, baseline_of(trace, name), steps):
            mean = (total + found) / (number + 1)
            yield Step(number * steps + done, len(_OPPOSITE) * steps, partial(maps, mean))
        total = total + found


@method(
    "Similarity map",
    needs=Needs.TARGET,
    tasks=("segmentation",),
    needs_more=_needs_of_base,
    reference=_PAPER,
    instead=("score_map",),
)
def similarity_map(
    trace: Trace, target: ResolvedTarget, layer: str | None, *, base: Base = "score_map"
) -> Map:
    """How like the class each predicted region is: the mean of its score over the region.

    With a score or a probability as ``base`` there is also the table of all classes, Sim[c][j] the
    mean of class c over the region predicted as class j; None where none is. Returns (*space) on
    the pixels of the network's input that show the image, with the order of the regions, the most
    similar first, and the prediction beside it.

    Cost
    ----
    Forward passes: 0, and those of ``base``. Backward passes: 0, and those of ``base``.

    Misleads
    --------
    A region is all that is predicted as a class, however many objects it has: a mean says nothing
    of one of them.
    """
    regions = predicted(trace)
    segments = trace.once("regions", lambda: Candidates.of_labels([regions]))
    made = painted(attribution(trace, target, layer, base), segments, min_new_area=0)
    made.companions["prediction"] = torch.from_numpy(regions)
    if base in _SCORES:
        score = "probability" if base == "probability" else target.score
        means = trace.once(("similarity", score), lambda: _similarity(trace, score, regions))
        made.table = {
            "similarity": [
                [None if np.isnan(mean) else float(mean) for mean in row] for row in means
            ]
        }
    return made


def _similarity(trace: Trace, score: Any, regions: np.ndarray) -> np.ndarray:
    """Return the mean of each class's score over each predicted region, (class, class)."""
    outputs, (onto, _) = trace.outputs, seen(trace)
    labels, count = regions.ravel(), outputs.count
    sizes = np.bincount(labels, minlength=count)
    means = np.full((count, count), np.nan)
    values: Sequence[Tensor] = outputs.value(outputs.raw.float(), score).unbind()
    for row, of_class in zip(means, values, strict=True):
        # One class at a time: all of them on the input's grid may be large.
        same = trace.output_grid == onto
        fine = of_class if same else resample(of_class, trace.output_grid, onto)
        sums = np.bincount(labels, fine.cpu().double().numpy().ravel(), count)
        np.divide(sums, sizes, out=row, where=sizes > 0)
    return means

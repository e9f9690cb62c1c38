"""Deletion and insertion: whether the score follows what a map calls important.

Petsiuk et al., BMVC 2018.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope.engine.errors import Progress, no_progress
from napari_neuroscope.engine.evaluation.class_maps import ClassMap
from napari_neuroscope.engine.evaluation.map_metric import (
    MetricInput,
    MetricPlot,
    MetricResult,
    metric,
)
from napari_neuroscope.engine.passes.baselines import baseline_of
from napari_neuroscope.engine.passes.trace import Trace
from napari_neuroscope.engine.passes.variants import Passes

Way = Literal["deletion", "insertion"]


@dataclass(frozen=True, eq=False)
class Curve:
    """The score as an image's pixels are taken away or put back, the most important first.

    Attributes
    ----------
    way
        "deletion" begins at the image and ends at the baseline, "insertion" the other way.
    share
        The share of the pixels that is taken away or put back, float64 (step,), from 0 to 1.
    score
        T at each step, float64 (step,).
    notes
        What a reader should know.
    """

    way: Way
    share: np.ndarray
    score: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def relative(self) -> np.ndarray:
        """The score with the image's as 1 and the baseline's as 0; NaN where these are equal."""
        first, last = self.score[0], self.score[-1]
        image, blank = (first, last) if self.way == "deletion" else (last, first)
        if image == blank:
            return np.full(len(self.score), np.nan)
        relative: np.ndarray = (self.score - blank) / (image - blank)
        return relative

    @property
    def auc(self) -> float:
        """The area under the relative curve: low for a good deletion, high for an insertion."""
        return float(np.trapezoid(self.relative, self.share))


def order_of(values: Tensor) -> Tensor:
    """Return the positions of a map (*space), flattened, the most important first.

    Equal values go in the order of their positions; positions without a value come last.
    """
    last_if_nan = torch.nan_to_num(values.flatten(), nan=-torch.inf)
    return torch.argsort(last_if_nan, descending=True, stable=True)


def rank_of(trace: Trace, class_map: ClassMap) -> Tensor:
    """Return the place of each position of the network's input in a map's order, (*space)."""
    x = trace.input
    order = order_of(class_map.on_input(trace).to(x.device))
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    return rank.reshape(x.shape[1:])


def steps_of(count: int, steps: int) -> np.ndarray:
    """Return how many of `count` positions are changed at each of `steps` + 1 steps."""
    return np.rint(np.linspace(0, count, steps + 1)).astype(np.int64)


def images_along(
    x: Tensor, baseline: Tensor, rank: Tensor, changed: np.ndarray, way: Way
) -> Tensor:
    """Return inputs with the first so many positions changed: (step, channel, *space).

    Parameters
    ----------
    x, baseline
        The input and what stands for nothing, (channel, *space).
    rank
        The place of each position in the order, (*space).
    changed
        How many are changed, (step,).
    way
        Whether they are taken away from the image, or put on the baseline.
    """
    first, second = (x, baseline) if way == "deletion" else (baseline, x)
    counts = torch.as_tensor(changed, device=x.device).reshape(-1, 1, *(1,) * rank.ndim)
    return torch.where(rank[None, None] < counts, second, first)


def curve(
    trace: Trace,
    class_map: ClassMap,
    way: Way,
    *,
    steps: int = 50,
    baseline: Any = "blur",
    batch: int = 16,
    progress: Progress = no_progress,
) -> Curve:
    """Take an image away, or put it back, in the order of a map, and follow the score.

    The score is that of the map's target: for a segmentation, the sum
    over its region. Positions of the network's input that show no image are changed last.

    Parameters
    ----------
    trace
        A pass of the image.
    class_map
        The map.
    way
        ``"deletion"`` or ``"insertion"``.
    steps
        In how many equal parts.
    baseline
        What stands for nothing; see `baseline_of`.
    batch
        How many inputs go through the network at once.
    """
    x = trace.input
    blank = baseline_of(trace, baseline)
    rank = rank_of(trace, class_map)
    changed = steps_of(rank.numel(), steps)
    passes = Passes(trace, [class_map.target], batch)
    scores = []

    def along(start: int, stop: int) -> Tensor:
        return passes.scores(images_along(x, blank, rank, changed[start:stop], way))[0]

    for _, stop, scores_of_batch in passes.each(len(changed), along):
        scores.append(scores_of_batch)
        progress(stop, len(changed), f"{way}, {class_map.title}")
    return Curve(
        way,
        changed / rank.numel(),
        torch.cat(scores).cpu().double().numpy(),
        passes.notes,
    )


def pictures_along(
    trace: Trace, class_map: ClassMap, way: Way, changed: np.ndarray, *, baseline: Any = "blur"
) -> Iterator[Tensor]:
    """Yield what the network sees along a curve, each (channel, *space) of about 0..1.

    Parameters
    ----------
    trace, class_map, way, baseline
        As `curve` takes them.
    changed
        How many positions are changed, (step,).
    """
    prepared = trace.prepared
    blank = replace(prepared, input=baseline_of(trace, baseline).to(prepared.input))
    shown, nothing = prepared.displayable(), blank.displayable()
    rank = rank_of(trace, class_map).to(shown.device)
    for count in changed:
        yield images_along(shown, nothing, rank, np.array([count]), way)[0]


def _plot(verb_passive: str, verb: str) -> MetricPlot:
    return MetricPlot(
        f"share {verb_passive}",
        f"score, {verb}",
        lambda curve: (curve.share, curve.relative),
        levels=(0, 1),
    )


_UNDEFINED = "the image and what stands for nothing have the same score, or one that is no number"


@metric(
    "Deletion",
    short="Del.",
    better="lower",
    undefined=_UNDEFINED,
    passes=lambda options, _: options["steps"] + 1,
    plot=_plot("removed", "deleting"),
)
def deletion(
    class_map: ClassMap,
    given: MetricInput,
    *,
    steps: int = 50,
    baseline: Any = "blur",
    batch: int = 16,
) -> MetricResult:
    """Return how long the score stays when the best pixels are taken away."""
    return _of_curve("deletion", class_map, given, steps, baseline, batch)


@metric(
    "Insertion",
    short="Ins.",
    better="higher",
    undefined=_UNDEFINED,
    passes=lambda options, _: options["steps"] + 1,
    plot=_plot("restored", "inserting"),
)
def insertion(
    class_map: ClassMap,
    given: MetricInput,
    *,
    steps: int = 50,
    baseline: Any = "blur",
    batch: int = 16,
) -> MetricResult:
    """Return how soon the score comes when the best pixels are put back."""
    return _of_curve("insertion", class_map, given, steps, baseline, batch)


def _of_curve(
    way: Way, class_map: ClassMap, given: MetricInput, steps: int, baseline: Any, batch: int
) -> MetricResult:
    made = curve(
        given.trace, class_map, way,
        steps=steps, baseline=baseline, batch=batch, progress=given.progress,
    )  # fmt: skip
    return MetricResult(made.auc, made, notes=made.notes)

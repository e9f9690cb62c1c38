"""Sanity check: whether a map changes when the network's weights are replaced by random ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from skimage.metrics import structural_similarity

from napari_neuroscope.engine.errors import NeuroscopeError, within
from napari_neuroscope.engine.evaluation.class_maps import ClassMap
from napari_neuroscope.engine.evaluation.map_metric import (
    MetricInput,
    MetricPlot,
    MetricResult,
    metric,
)
from napari_neuroscope.engine.explain.maps import maps_of
from napari_neuroscope.engine.frameworks.base import Capability
from napari_neuroscope.engine.methods.interface import Map
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.target import ResolvedTarget

MOST_LIKE = 0.5
"""A map that stays more like itself than this while weights become random shows little of them."""


@dataclass(frozen=True, eq=False)
class SanityCheck:
    """A map beside those of the network with more and more of its layers randomised.

    Attributes
    ----------
    stages
        The layers down to which weights were randomised, from the end of the network on, (stage,).
    maps
        The map, then that of each stage, float32 (stage + 1, *space), on the method's own grid.
    rank_correlation
        Spearman's correlation of the absolute values of each stage's map with the first, float64
        (stage,): 1 where nothing has changed; NaN where one of the two is constant.
    ssim
        The structural similarity of the two, each scaled to 0..1, float64 (stage,); NaN where the
        map is constant or has fewer than 3 cells along an axis.
    """

    stages: tuple[str, ...]
    maps: np.ndarray
    rank_correlation: np.ndarray
    ssim: np.ndarray

    @property
    def similarity(self) -> float:
        """The mean of the rank correlations over the stages, without their signs.

        A map that is the network's own falls with the first stages; one that redraws the image
        falls with the last alone, if at all. A map turned upside down shows what it showed before.
        NaN where no stage can be compared.
        """
        likeness = np.abs(self.rank_correlation[~np.isnan(self.rank_correlation)])
        return float(likeness.mean()) if likeness.size else math.nan

    @property
    def passed(self) -> bool | None:
        """Whether the map depends on what was learnt: `similarity` is at most `MOST_LIKE`.

        None where the map, or those of the random networks, are constant: nothing can be said.
        """
        return None if math.isnan(self.similarity) else self.similarity <= MOST_LIKE


def _likeness(sanity: SanityCheck) -> tuple[np.ndarray, np.ndarray]:
    # A map turned upside down shows what it showed before.
    likeness = np.abs(sanity.rank_correlation)
    return np.arange(len(likeness) + 1), np.concatenate([[1.0], likeness])


@metric(
    "Sanity check",
    short="Sanity",
    better="lower",
    undefined="the map, or each with random weights, is the same everywhere",
    of_all_maps=True,
    passes=lambda options, passes_of_map: (options["stages"] + 1) * passes_of_map,
    plot=MetricPlot(
        "layers random, from the end",
        "like the map",
        _likeness,
        levels=(MOST_LIKE,),
        points=lambda sanity: ("none", *sanity.stages),
    ),
    verdict="the map stays like itself while the network's weights become random, so it shows "
    "little of what was learnt.",
)
def sanity_check(
    class_maps: Sequence[ClassMap], given: MetricInput, *, stages: int = 8, seed: int = 0
) -> list[MetricResult]:
    """Return how like itself the map stays while weights become random.

    Adebayo et al., NeurIPS 2018, “cascading randomisation”: the network is randomised from its end
    on, in `stages` equal parts of the layers with weights. Each array of weights is replaced by
    normal random numbers of the mean and deviation that it had; the weights come back bit for bit,
    also where the work is stopped. The network is in use until this ends.

    Raises
    ------
    NeuroscopeError
        Where the explanation can't be made again, or the framework can't randomise.
    """
    network, trace, explanation = given.network, given.trace, class_maps[0].explanation
    request, title = explanation.request, explanation.record.title
    assert request is not None
    if Capability.RANDOMISED not in network.capabilities:
        raise NeuroscopeError(
            f"The weights of a network of {network.framework} can't be randomised here; use "
            f"deletion and insertion, which need its scores alone."
        )
    method = methods[explanation.method]
    targets: list[ResolvedTarget | None] = [
        trace.resolve(target, request.ground_truth) for target in request.targets
    ] or [None]
    layers: Sequence[str | None] = explanation.record.layers or [None]
    needed = network.layers.or_last([name for name in layers if name is not None])
    groups = _groups(network, stages)
    maps_by_stage: list[list[np.ndarray]] = []

    def explain_now(stage: int) -> None:
        held = stage == 0 and set(needed) <= set(trace.layers)
        now = trace if held else trace.variant(trace.prepared, needed)
        follow = within(given.progress, stage, len(groups) + 1, f"sanity check of {title}")
        rows = maps_of(now, method, targets, layers, dict(request.options), follow)
        maps_by_stage.append([_values(made, method.title) for row in rows for made in row])

    with network.frozen():
        explain_now(0)
        with network.randomised(seed) as randomise:
            for stage, group in enumerate(groups):
                for layer in group:
                    randomise(layer)
                explain_now(stage + 1)
    names = tuple(group[-1] for group in groups)
    checks = [_compared(names, np.stack(maps)) for maps in zip(*maps_by_stage, strict=True)]
    return [MetricResult(check.similarity, check, check.passed) for check in checks]


def _groups(network: Network, stages: int) -> list[list[str]]:
    """Return the layers with weights in groups, the last of the network first."""
    learnt = [
        layer.name
        for layer in network.layers.values()
        if layer.parameters and layer.kind != "block" and ":" not in layer.name
    ][::-1]
    if not learnt:
        raise NeuroscopeError(
            "The network has no layers with weights that can be told apart, so none can be "
            "randomised one after another."
        )
    ends = np.rint(np.linspace(0, len(learnt), min(stages, len(learnt)) + 1)).astype(int)
    return [learnt[start:stop] for start, stop in pairwise(ends)]


def _values(made: Map, title: str) -> np.ndarray:
    if made.axes:
        raise NeuroscopeError(
            f"{title} has an axis “{made.axes[0]}”; only maps of one value a position can be "
            f"compared."
        )
    return made.values.detach().float().cpu().numpy().copy()


def _compared(names: tuple[str, ...], maps: np.ndarray) -> SanityCheck:
    magnitudes = np.abs(maps)
    # What is asked of the first map for every stage is worked out once.
    varying = [
        bool(np.isfinite(values).all() and values.max() > values.min()) for values in magnitudes
    ]
    return SanityCheck(
        names,
        maps,
        _with_first(magnitudes, varying, _standard_ranks, _rank_correlation),
        _with_first(magnitudes, varying, _scaled, _ssim),
    )


def _with_first(
    magnitudes: np.ndarray,
    varying: Sequence[bool],
    bring: Callable[[np.ndarray], np.ndarray],
    compare: Callable[[np.ndarray, np.ndarray], float],
) -> np.ndarray:
    """Return what each map has in common with the first, once brought to be compared.

    NaN where one of the two is constant.
    """
    likeness = np.full(len(magnitudes) - 1, math.nan)
    if varying[0]:
        first = bring(magnitudes[0])
        for number in np.flatnonzero(varying[1:]):
            likeness[number] = compare(first, bring(magnitudes[number + 1]))
    return likeness


def _standard_ranks(values: np.ndarray) -> np.ndarray:
    """Return the ranks, of mean 0 and deviation 1."""
    _, which, counts = np.unique(values.ravel(), return_inverse=True, return_counts=True)
    # Equal values share the mean of their ranks.
    ranks: np.ndarray = (counts.cumsum() - (counts - 1) / 2)[which]
    standard: np.ndarray = (ranks - ranks.mean()) / ranks.std()
    return standard


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.clip((first * second).mean(), -1, 1))


def _scaled(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    return np.asarray((values.astype(np.float64) - low) / (high - low))


def _ssim(first: np.ndarray, second: np.ndarray) -> float:
    window = min(7, *first.shape)
    window -= 1 - window % 2
    if window < 3:
        return math.nan
    return float(structural_similarity(first, second, win_size=window, data_range=1))

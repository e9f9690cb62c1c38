"""Sanity: whether a map changes when the network's weights are replaced by random ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from skimage.metrics import structural_similarity

from napari_neuroscope.engine.errors import NeuroscopeError, Progress, no_progress, within
from napari_neuroscope.engine.explain.whole import maps_of
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.frameworks.base import Capability
from napari_neuroscope.engine.methods.registry import Map, methods
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace

MOST_LIKE = 0.5
"""A map that stays more like itself than this while weights become random shows little of them."""


@dataclass(frozen=True, eq=False)
class Sanity:
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
        known = np.abs(self.rank_correlation[~np.isnan(self.rank_correlation)])
        return float(known.mean()) if known.size else math.nan

    @property
    def passed(self) -> bool | None:
        """Whether the map depends on what was learnt: `similarity` is at most `MOST_LIKE`.

        None where the map, or those of the random networks, are constant: nothing can be said.
        """
        return None if math.isnan(self.similarity) else self.similarity <= MOST_LIKE


def sanity_check(
    network: Network,
    trace: Trace,
    explanation: Explanation,
    *,
    stages: int = 8,
    seed: int = 0,
    progress: Progress = no_progress,
) -> list[Sanity]:
    """Randomise the network from its end on, and compare each explanation with the first.

    Adebayo et al., NeurIPS 2018, “cascading randomisation”. Each array of weights is replaced by
    normal random numbers of the mean and deviation that it had; the weights come back bit for bit,
    also where the work is stopped.

    Parameters
    ----------
    network
        The network; it is in use until this ends.
    trace
        A pass of the image.
    explanation
        What was explained, made in this session.
    stages
        After how many equal parts of the layers with weights a map is made.
    seed
        Of the random numbers.
    progress
        Follows the work, and may stop it.

    Returns
    -------
    list
        One for each class and layer, in their order.

    Raises
    ------
    NeuroscopeError
        Where the explanation can't be made again, or the framework can't randomise.
    """
    asked, title = explanation.asked, explanation.provenance["title"]
    if asked is None:
        raise NeuroscopeError(f"{title} was not made in this session; explain the image anew.")
    if Capability.RANDOMISED not in network.capabilities:
        raise NeuroscopeError(
            f"The weights of a network of {network.framework} can't be randomised here; use "
            f"deletion and insertion, which need its scores alone."
        )
    chosen = methods[explanation.method]
    targets: list[ResolvedTarget | None] = [
        trace.resolve(target, asked.ground_truth) for target in asked.targets
    ] or [None]
    layers: Sequence[str | None] = explanation.provenance["layers"] or [None]
    needed = network.layers.or_last([name for name in layers if name is not None])
    groups = _groups(network, stages)
    found: list[list[np.ndarray]] = []

    def explain_now(stage: int) -> None:
        held = stage == 0 and set(needed) <= set(trace.layers)
        now = trace if held else network.trace_of(trace.prepared, trace, needed)
        follow = within(progress, stage, len(groups) + 1, f"sanity check of {title}")
        rows = maps_of(now, chosen, targets, layers, dict(asked.options), follow)
        found.append([_values(one, chosen.title) for row in rows for one in row])

    with network.undisturbed():
        explain_now(0)
        with network.randomised(seed) as randomise:
            for stage, group in enumerate(groups):
                for layer in group:
                    randomise(layer)
                explain_now(stage + 1)
    names = tuple(group[-1] for group in groups)
    return [_compared(names, np.stack(maps)) for maps in zip(*found, strict=True)]


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


def _compared(names: tuple[str, ...], maps: np.ndarray) -> Sanity:
    sizes = np.abs(maps)
    # What is asked of the first map for every stage is worked out once.
    varying = [bool(np.isfinite(one).all() and one.max() > one.min()) for one in sizes]
    return Sanity(
        names,
        maps,
        _with_first(sizes, varying, _standard_ranks, _rank_correlation),
        _with_first(sizes, varying, _scaled, _ssim),
    )


def _with_first(
    sizes: np.ndarray,
    varying: Sequence[bool],
    bring: Callable[[np.ndarray], np.ndarray],
    compare: Callable[[np.ndarray, np.ndarray], float],
) -> np.ndarray:
    """Return what each map has in common with the first, once brought to be compared.

    NaN where one of the two is constant.
    """
    found = np.full(len(sizes) - 1, math.nan)
    if varying[0]:
        first = bring(sizes[0])
        for number in np.flatnonzero(varying[1:]):
            found[number] = compare(first, bring(sizes[number + 1]))
    return found


def _standard_ranks(values: np.ndarray) -> np.ndarray:
    """Return the ranks, of mean 0 and deviation 1."""
    _, which, counts = np.unique(values.ravel(), return_inverse=True, return_counts=True)
    # Equal values share the mean of their ranks.
    ranks = (counts.cumsum() - (counts - 1) / 2)[which]
    return (ranks - ranks.mean()) / ranks.std()


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.clip((one * other).mean(), -1, 1))


def _scaled(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float64)
    return (values - values.min()) / (values.max() - values.min())


def _ssim(one: np.ndarray, other: np.ndarray) -> float:
    window = min(7, *one.shape)
    window -= 1 - window % 2
    if window < 3:
        return math.nan
    return float(structural_similarity(one, other, win_size=window, data_range=1))

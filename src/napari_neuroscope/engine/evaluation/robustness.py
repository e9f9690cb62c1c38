"""Robustness: how a map answers to small changes of the image, and how well it foretells large ones.

Yeh et al., NeurIPS 2019.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError, Progress, no_progress, within
from napari_neuroscope.engine.evaluation.measured import ClassMap
from napari_neuroscope.engine.explain.whole import maps_of
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.baselines import baseline_of
from napari_neuroscope.engine.passes.trace import Trace
from napari_neuroscope.engine.passes.variants import Passes


def max_sensitivity(
    network: Network,
    trace: Trace,
    measured: ClassMap,
    *,
    samples: int = 10,
    radius: float = 0.02,
    seed: int = 0,
    progress: Progress = no_progress,
) -> float:
    """Return how far the map moves at most when the image changes a little: low is good.

    The greatest ‖Φ(x + δ) − Φ(x)‖ / ‖Φ(x)‖ over `samples` random changes δ, each value of which is
    uniform within `radius` times the range of the network's input. NaN where the map is zero, or
    not finite where the image has changed.

    Parameters
    ----------
    network, trace
        The network, and a pass of the image.
    measured
        The map; its method is asked again for each change.
    samples, radius, seed
        How many changes, how large, and the seed of their random numbers.
    """
    explanation = measured.explanation
    asked = explanation.asked
    assert asked is not None
    chosen = methods[explanation.method]
    layer = measured.labels.get("layer") or next(iter(explanation.provenance["layers"]), None)
    needed = network.layers.or_last([layer] if layer else [])
    x = trace.input
    reach = radius * float(x.max() - x.min())
    generator = torch.Generator().manual_seed(seed)

    def explained(given: Tensor, number: int) -> Tensor:
        now = network.trace_of(replace(trace.prepared, input=given), trace, needed)
        follow = within(progress, number, samples + 1, f"sensitivity of {measured.title}")
        (row,) = maps_of(now, chosen, [measured.target], [layer], dict(asked.options), follow)
        return row[0].values.detach().float()

    with network.undisturbed():
        own = explained(x, 0)
        size = float(own.norm())
        if size == 0:
            return math.nan
        found = [0.0]
        for number in range(1, samples + 1):
            noise = (torch.rand(x.shape, generator=generator) * 2 - 1) * reach
            found.append(float((explained(x + noise.to(x), number) - own).norm()) / size)
    # Of numbers alone: a map that is none is not the least of them.
    return float(np.max(found)) if np.isfinite(found).all() else math.nan


def infidelity(
    trace: Trace,
    measured: ClassMap,
    *,
    samples: int = 200,
    side: float = 0.2,
    baseline: Any = "blur",
    seed: int = 0,
    batch: int = 16,
    progress: Progress = no_progress,
) -> float:
    """Return how badly the map foretells what taking a part of the image away does: low is good.

    Over random boxes of the image: E[(β Σ_box Φ − (T(x) − T(x without the box)))²] as a share of
    E[(T(x) − T(x without the box))²]. β is the factor that suits the map best, since its unit is
    its own; so a map that says nothing has 1, and one that foretells everything 0. NaN where no box
    changes the score.

    Parameters
    ----------
    trace
        A pass of the image.
    measured
        The map.
    samples, side, seed
        How many boxes, the longest side as a share of the image's, and the seed.
    baseline
        What stands where a box is taken away; see `baseline_of`.
    batch
        How many inputs go through the network at once.
    """
    if not 0 < side <= 1:
        raise NeuroscopeError(f"The side of a box is a share of the image, 0 to 1, not {side:g}.")
    x, blank = trace.input, baseline_of(trace, baseline)
    values = torch.nan_to_num(measured.on_input(trace)).double().cpu()
    boxes = _boxes(x.shape[1:], samples, side, seed)
    passes = Passes(trace, [measured.target], batch)
    own = passes.scores(x[None])[0]
    told = np.array([float(values[box].sum()) for box in boxes])
    scores = []

    def without(start: int, stop: int) -> Tensor:
        inputs = x.expand(stop - start, *x.shape).clone()
        for given, box in zip(inputs, boxes[start:stop], strict=True):
            given[(slice(None), *box)] = blank[(slice(None), *box)]
        return passes.scores(inputs)[0]

    for _, stop, found in passes.each(samples, without):
        scores.append(found)
        progress(stop, samples, f"infidelity of {measured.title}")
    changed = (own.double() - torch.cat(scores).double()).cpu().numpy()
    whole = float((changed**2).sum())
    if whole == 0:
        return math.nan
    factor = float(told @ changed) / float(told @ told) if told.any() else 0.0
    return float(((factor * told - changed) ** 2).sum()) / whole


def _boxes(shape: torch.Size, count: int, side: float, seed: int) -> list[tuple[slice, ...]]:
    """Return random boxes, each side of which is between half of `side` and `side`."""
    random = np.random.default_rng(seed)
    boxes = []
    for _ in range(count):
        box = []
        for n in shape:
            length = max(1, round(n * side * random.uniform(0.5, 1)))
            start = int(random.integers(0, n - length + 1))
            box.append(slice(start, start + length))
        boxes.append(tuple(box))
    return boxes

"""Infidelity: how well a map foretells what large changes of the image do."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope.engine.evaluation.class_maps import ClassMap
from napari_neuroscope.engine.evaluation.map_metric import MetricInput, metric
from napari_neuroscope.engine.passes.baselines import baseline_of
from napari_neuroscope.engine.passes.variants import Passes

_SIDE = 0.2
"""The longest side of a box that is taken away, as a share of the image's."""


@metric(
    "Infidelity",
    short="Infid.",
    better="lower",
    undefined="no part that was taken away changed the score",
    passes=lambda options, _: options["samples"] + 1,
)
def infidelity(
    class_map: ClassMap,
    given: MetricInput,
    *,
    samples: int = 200,
    baseline: Any = "blur",
    seed: int = 0,
    batch: int = 16,
) -> float:
    """Return how badly the map foretells what taking a part away does.

    Over random boxes of the image: E[(β Σ_box Φ − (T(x) − T(x without the box)))²] as a share of
    E[(T(x) − T(x without the box))²]. β is the factor that suits the map best, since its unit is
    its own; so a map that says nothing has 1, and one that foretells everything 0. After Yeh et al.,
    NeurIPS 2019.
    """
    trace = given.trace
    x, blank = trace.input, baseline_of(trace, baseline)
    values = torch.nan_to_num(class_map.on_input(trace)).double().cpu()
    boxes = _boxes(x.shape[1:], samples, seed)
    passes = Passes(trace, [class_map.target], batch)
    whole_score = passes.scores(x[None])[0]
    foretold = np.array([float(values[box].sum()) for box in boxes])
    scores = []

    def without(start: int, stop: int) -> Tensor:
        inputs = x.expand(stop - start, *x.shape).clone()
        for changed, box in zip(inputs, boxes[start:stop], strict=True):
            changed[(slice(None), *box)] = blank[(slice(None), *box)]
        return passes.scores(inputs)[0]

    for _, stop, scores_of_batch in passes.each(samples, without):
        scores.append(scores_of_batch)
        given.progress(stop, samples, f"infidelity of {class_map.title}")
    lost = (whole_score.double() - torch.cat(scores).double()).cpu().numpy()
    power = float((lost**2).sum())
    if power == 0:
        return math.nan
    factor = float(foretold @ lost) / float(foretold @ foretold) if foretold.any() else 0.0
    return float(((factor * foretold - lost) ** 2).sum()) / power


def _boxes(shape: torch.Size, count: int, seed: int) -> list[tuple[slice, ...]]:
    """Return random boxes, each side of which is between half of `_SIDE` and `_SIDE`."""
    random = np.random.default_rng(seed)
    boxes = []
    for _ in range(count):
        box = []
        for n in shape:
            length = max(1, round(n * _SIDE * random.uniform(0.5, 1)))
            start = int(random.integers(0, n - length + 1))
            box.append(slice(start, start + length))
        boxes.append(tuple(box))
    return boxes

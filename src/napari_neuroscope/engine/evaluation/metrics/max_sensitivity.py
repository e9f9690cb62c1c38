"""Max-sensitivity: how a map answers to small changes of the image."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope.engine.errors import within
from napari_neuroscope.engine.evaluation.class_maps import ClassMap
from napari_neuroscope.engine.evaluation.map_metric import MetricInput, metric
from napari_neuroscope.engine.explain.maps import maps_of
from napari_neuroscope.engine.methods.registry import methods

_RADIUS = 0.02
"""How far values change, as a share of the range of the network's input."""


@metric(
    "Max-sensitivity",
    short="Sens.",
    better="lower",
    undefined="the map is zero everywhere, or not finite where the image has changed",
    passes=lambda options, passes_of_map: (options["samples"] + 1) * passes_of_map,
)
def max_sensitivity(
    class_map: ClassMap, given: MetricInput, *, samples: int = 10, seed: int = 0
) -> float:
    """Return how far the map moves when the image changes a little.

    The greatest ‖Φ(x + δ) − Φ(x)‖ / ‖Φ(x)‖ over `samples` random changes δ, each value of which is
    uniform within `_RADIUS` times the range of the network's input; the method is asked again for
    each. Yeh et al., NeurIPS 2019.
    """
    network, trace, explanation = given.network, given.trace, class_map.explanation
    request = explanation.request
    assert request is not None
    method = methods[explanation.method]
    layer = class_map.labels.get("layer") or next(iter(explanation.record.layers), None)
    needed = network.layers.or_last([layer] if layer else [])
    x = trace.input
    reach = _RADIUS * float(x.max() - x.min())
    generator = torch.Generator().manual_seed(seed)

    def explained(changed: Tensor, number: int) -> Tensor:
        now = trace.variant(replace(trace.prepared, input=changed), needed)
        follow = within(given.progress, number, samples + 1, f"sensitivity of {class_map.title}")
        (row,) = maps_of(now, method, [class_map.target], [layer], dict(request.options), follow)
        return row[0].values.detach().float()

    with network.frozen():
        unchanged = explained(x, 0)
        size = float(unchanged.norm())
        if size == 0:
            return math.nan
        moved = [0.0]
        for number in range(1, samples + 1):
            noise = (torch.rand(x.shape, generator=generator) * 2 - 1) * reach
            moved.append(float((explained(x + noise.to(x), number) - unchanged).norm()) / size)
    # Of numbers alone: a map that is none is not the least of them.
    return float(np.max(moved)) if np.isfinite(moved).all() else math.nan

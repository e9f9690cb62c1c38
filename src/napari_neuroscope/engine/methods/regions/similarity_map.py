"""The similarity map: how like the class each predicted region is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope.engine.images.grid import resample
from napari_neuroscope.engine.images.segments import Candidates
from napari_neuroscope.engine.methods.interface import Map, Needs, method
from napari_neuroscope.engine.methods.regions.options import (
    PAPER,
    PASSES_OF_BASE,
    SCORES,
    Base,
    needs_of_base,
)
from napari_neuroscope.engine.methods.regions.painting import (
    attribution,
    image_part,
    painted,
    predicted,
)
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace


@method(
    "Similarity map",
    family="region",
    needs=Needs.TARGET,
    tasks=("segmentation",),
    needs_more=needs_of_base,
    reference=PAPER,
    passes=PASSES_OF_BASE,
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

    Misleads
    --------
    A region is all that is predicted as a class, however many objects it has: a mean says nothing
    of one of them.
    """
    regions = predicted(trace)
    segments = trace.once("regions", lambda: Candidates.of_labels([regions]))
    made = painted(attribution(trace, target, layer, base), segments, min_new_area=0)
    made.companions["prediction"] = torch.from_numpy(regions)
    if base in SCORES:
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
    outputs, (onto, _) = trace.outputs, image_part(trace)
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

"""The single maps of an explanation, brought to the network's input to be measured there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.map_notes import count_not_finite
from napari_neuroscope.engine.images.grid import resample
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace


@dataclass(frozen=True, eq=False)
class ClassMap:
    """One map of an explanation: of one class and one layer.

    Attributes
    ----------
    explanation
        What it is of.
    labels
        Its class and layer, as far as it has them, by axis.
    values
        The map on the explanation's own grid, float32 (*space).
    target
        What it explains.
    """

    explanation: Explanation
    labels: Mapping[str, str]
    values: np.ndarray
    target: ResolvedTarget

    @property
    def title(self) -> str:
        """What people call it."""
        return " · ".join([self.explanation.record.title, *self.labels.values()])

    def on_input(self, trace: Trace) -> Tensor:
        """Return the map on the network's input, float32 (*space); NaN where it has no value."""
        return resample(torch.from_numpy(self.values), self.explanation.grid, trace.prepared.grid)


def class_maps(explanation: Explanation, trace: Trace) -> Iterator[ClassMap]:
    """Yield each map of an explanation.

    Raises
    ------
    NeuroscopeError
        Where it is unfinished, has no place on the image, is of another image, has channels of its
        own, explains no class, or has values that are not finite.
    """
    record = explanation.record
    title = record.title
    if explanation.unfinished:
        raise NeuroscopeError(
            f"{title} was stopped after {explanation.unfinished}; explain the image to the end to "
            f"measure it."
        )
    if explanation.is_table:
        raise NeuroscopeError(f"{title} has no place on the image, so it can't be measured.")
    if record.image_digest != trace.image_digest:
        raise NeuroscopeError(f"{title} is of another image; give the image that it explains.")
    if explanation.request is None:
        raise NeuroscopeError(f"{title} was not made in this session; explain the image anew.")
    if not explanation.request.targets:
        raise NeuroscopeError(
            f"{title} explains no class, so nothing tells whether it is right; choose a method "
            f"that explains one."
        )
    if count_not_finite(explanation.values):
        raise NeuroscopeError(
            f"{title} has values that are not finite, so no metric of it would say anything; look at "
            f"the network's weights and at the input that it gets (method “input”)."
        )
    leading = explanation.axes[: explanation.values.ndim - len(explanation.grid.shape)]
    if set(leading) - {"class", "layer"}:
        raise NeuroscopeError(
            f"{title} has an axis “{(set(leading) - {'class', 'layer'}).pop()}”; only maps of one "
            f"value a position can be measured."
        )
    targets = [
        trace.resolve(t, explanation.request.ground_truth) for t in explanation.request.targets
    ]
    for at in np.ndindex(*explanation.values.shape[: len(leading)]):
        place = dict(zip(leading, at, strict=True))
        labels = {axis: explanation.labels[axis][step] for axis, step in place.items()}
        if "class" not in labels and (fixed := explanation.labels.get("target")):
            labels = {"class": fixed[0], **labels}
        yield ClassMap(explanation, labels, explanation.values[at], targets[place.get("class", 0)])

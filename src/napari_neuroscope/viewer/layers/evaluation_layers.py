"""What measuring saw as layers: the image along a curve, and maps of randomised networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from napari_neuroscope.engine.errors import Progress, no_progress
from napari_neuroscope.engine.evaluation.evaluation import MapResults
from napari_neuroscope.engine.evaluation.metrics.deletion_and_insertion import (
    Way,
    pictures_along,
    steps_of,
)
from napari_neuroscope.engine.evaluation.metrics.sanity_check import SanityCheck
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.overlays.kind import LayerData
from napari_neuroscope.engine.explanation.overlays.place import Place
from napari_neuroscope.engine.explanation.overlays.placement import Placement
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.networks.network import Network

_MOST_BYTES = 1 << 28
_WORDS: dict[Way, tuple[str, str]] = {
    "deletion": ("removed", "Deletion"),
    "insertion": ("restored", "Insertion"),
}


class CurvePictures:
    """The image as pixels are removed or restored in the order of a map.

    Attributes
    ----------
    row, way
        The map, and which of its curves.
    steps
        The step of the curve that each picture is of, (picture,): all, or where they are too large
        for the memory evenly chosen ones.
    values
        RGB, uint8 (picture, *space, 3).
    grid
        Where they lie.
    """

    def __init__(
        self,
        network: Network,
        image: Any,
        row: MapResults,
        way: Way,
        *,
        baseline: Any = "blur",
        progress: Progress = no_progress,
    ) -> None:
        with torch.inference_mode(False), torch.no_grad(), network.frozen():
            trace = network.trace(image)
            self.row, self.way, self.grid = row, way, trace.prepared.grid
            count = len(row.curves[way].share)
            size = int(np.prod(self.grid.shape))
            stride = -(-count * size * 3 // _MOST_BYTES)
            self.steps = np.arange(0, count, stride)
            changed = steps_of(size, count - 1)[self.steps]
            first = trace.prepared.displayable()
            colours = len(first) == 3 and not torch.allclose(first[:1], first, atol=1e-3)
            low, high = (0.0, 1.0) if colours else _range(first.numpy(force=True))
            self.values = np.empty((len(changed), *self.grid.shape, 3), np.uint8)
            pictures = pictures_along(trace, row.class_map, way, changed, baseline=baseline)
            for number, picture in enumerate(pictures):
                progress(number, len(changed), "making the pictures")
                shown = picture if colours else picture.mean(0, keepdim=True)
                unit = ((shown - low) / (high - low)).nan_to_num().clamp(0, 1).movedim(0, -1)
                self.values[number] = (unit * 255).round().to(torch.uint8).numpy(force=True)

    def layer_data(self, source: Any, place: Sequence[int] | Place) -> list[LayerData]:
        """Return them as one layer over the image, with a slider of what is changed."""
        made = self.row.class_map.explanation
        axis, title = _WORDS[self.way]
        space = made.space
        placement = Placement.of(source, space, place)
        curve = self.row.curves[self.way]
        labels = [
            f"{curve.share[step]:.0%} {axis}: score {curve.score[step]:.4g}" for step in self.steps
        ]
        about = {
            "method": self.way,
            "title": f"{title} · {self.row.class_map.title}",
            "axes": [axis, *(space[n] for n in placement.place.order)],
            "labels": {axis: labels},
            "signed": False,
            "shares": curve.share[self.steps].tolist(),
            "of": made.provenance,
        }
        attributes = {
            "name": about["title"],
            "rgb": True,
            "blending": "opaque",
            "metadata": {KEY: about},
            **placement.attributes(self.grid, [axis]),
        }
        return [(placement.place.laid(self.values, 1), attributes, "image")]


def _range(values: np.ndarray) -> tuple[float, float]:
    """Return what is shown as black and white of an image without colours."""
    low, high = np.nanpercentile(values.mean(0), (0.5, 99.8)).tolist()
    return low, max(high, low + 1e-12)


def randomised(row: MapResults, sanity: SanityCheck) -> Explanation:
    """Return the maps of a sanity check as one explanation with an axis "randomised"."""
    made = row.class_map.explanation
    like = [
        f"down to {name}, {_like(n)}"
        for name, n in zip(sanity.stages, sanity.rank_correlation, strict=True)
    ]
    grid: Grid = made.grid.divided(sanity.maps.shape[1:])
    classes = [target.class_ for target in made.record.targets]
    shown = row.class_map.labels.get("class")
    return Explanation(
        values=sanity.maps,
        axes=("randomised", *made.space),
        labels={
            "randomised": ("nothing random", *like),
            "target": (shown,) if shown else tuple(classes[:1]),
        },
        grid=grid,
        image=made.image,
        signed=made.signed,
        unit=made.unit,
        classes=made.classes,
        record=replace(
            made.record,
            title=f"{made.record.title} randomised",
            more={**made.record.more, "randomised": list(sanity.stages)},
        ),
    )


def _like(correlation: float) -> str:
    # A map turned upside down shows what it showed before.
    return "constant" if np.isnan(correlation) else f"{abs(correlation):.2f} alike"

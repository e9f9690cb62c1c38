"""Where each map of Grad-CAM is largest, as points over the map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from napari_neuroscope.engine.explanation.overlays.kind import LayerData, OverlayKind, OverlaySource


class Peaks(OverlayKind):
    """A point at the largest value of each class's and layer's map."""

    name = "peaks"
    layer_type = "points"

    def takes(self, source: OverlaySource) -> bool:
        """Whether it is a map of Grad-CAM."""
        return source.method == "grad_cam"

    def layers(self, source: OverlaySource) -> list[LayerData]:
        """Return a point a map; napari shows those of the step that the sliders are at."""
        values, leading = np.asarray(source.laid_values), len(source.leading)
        points = [
            (*step, *np.unravel_index(int(values[step].argmax()), values.shape[leading:]))
            for step in np.ndindex(values.shape[:leading])
        ]
        attributes = {
            **source.attributes(self, f"Peaks · {source.title}"),
            "face_color": "transparent",
            "border_color": "cyan",
            "size": 5,
        }
        return [(np.array(points, float), attributes, "points")]

    def follow(self, layer: Any, steps: Mapping[str, int]) -> None:
        """Select the point of the map that the sliders show."""
        shown = (layer.data[:, : len(steps)] == list(steps.values())).all(1)
        layer.selected_data = set(np.flatnonzero(shown).tolist())

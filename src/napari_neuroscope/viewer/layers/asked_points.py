"""What was asked by clicking: points with their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_neuroscope.engine.explanation.overlays.place import Place
from napari_neuroscope.engine.explanation.overlays.placement import Placement
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.viewer.image.image_pixels import Pixels
from napari_neuroscope.viewer.layers.plain_names import on_canvas

NAME = "Questions"
COLUMNS = ("class", "probability", "score", "layer", "method", "time")
# As far from white as from black, and no colour of maps: napari's words have no outline.
_COLOUR = "#c828c8"


def _plain(value: Any) -> Any:
    return on_canvas(value) if isinstance(value, str) else value


class AskedPoints:
    """Keeps the questions asked of each image as points, in one layer an image."""

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer

    def layer(self, image: Any) -> Any:
        """Return the layer of an image's questions, if it is still in the viewer."""
        wanted = str(image.unique_id)
        return next((layer for layer in self._viewer.layers
                     if layer.metadata.get(KEY, {}).get("questions") == wanted), None)  # fmt: skip

    def add(
        self,
        image: Any,
        axes: Sequence[str],
        pixels: Pixels,
        pixel: Sequence[int],
        answer: Mapping[str, Any],
    ) -> Any:
        """Add a question at one of an image's pixels; return the layer."""
        import pandas

        row = pandas.DataFrame([{name: _plain(answer[name]) for name in COLUMNS}])
        at = pixels.index(pixel)[None]
        # Points are in the image's own coordinates, so its transform is theirs.
        first = Place(pixels.space, others=tuple((n, 0, 1) for n in pixels.others))
        place = Placement.of(image, axes, first).attributes(Grid.of_image(pixels.shape))
        layer = self.layer(image)
        if layer is not None:
            before = layer.features.reset_index(drop=True)
            layer.data = np.concatenate([layer.data, at])
            layer.features = pandas.concat([before, row], ignore_index=True)
            for name in ("scale", "translate", "rotate", "shear", "affine"):
                setattr(layer, name, place[name])
            return layer
        active = self._viewer.layers.selection.active
        size = max(3.0, min(pixels.shape[-2:]) / 60)
        # The words stand beside the point.
        offset = np.zeros(at.shape[1])
        offset[pixels.space[-1]] = size
        layer = self._viewer.add_points(
            at,
            name=NAME,
            features=row,
            size=size,
            face_color="transparent",
            border_color=_COLOUR,
            border_width=0.2,
            symbol="disc",
            text={"string": "{class} {probability:.0%}", "color": _COLOUR, "size": 10,
                  "anchor": "upper_left", "translation": offset},
            metadata={KEY: {"questions": str(image.unique_id)}},
            **place,
        )  # fmt: skip
        # The next click is for the layer that the user was at.
        self._viewer.layers.selection.active = active
        return layer

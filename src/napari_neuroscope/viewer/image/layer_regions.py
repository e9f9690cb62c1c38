"""A layer chosen as a region: shapes, points or labels, whatever it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.viewer.image.drawn_shapes import DrawnRegions
from napari_neuroscope.viewer.image.image_pixels import Pixels
from napari_neuroscope.viewer.image.painted_labels import PaintedRegions
from napari_neuroscope.viewer.image.region_checks import RegionExtent, kind_of


@dataclass(frozen=True)
class LayerRegion:
    """The choice of a layer as a region: all that is in it, or what is selected."""

    layer: Any
    extent: RegionExtent = "all"

    @property
    def title(self) -> str:
        """The region as it is offered."""
        what = {"shapes": "shapes", "points": "points", "labels": "labels"}[kind_of(self.layer)]
        if self.extent == "all":
            return f"{self.layer.name}: all {what}"
        return f"{self.layer.name}: selected {what if what != 'labels' else 'label'}"

    def take(self, pixels: Pixels, viewer: Any) -> DrawnRegions | PaintedRegions:
        """Take it as it is now, to be brought to the image's pixels later.

        Raises
        ------
        NeuroscopeError
            Where there is nothing in the layer, or nothing selected.
        """
        if self.layer not in viewer.layers:
            raise NeuroscopeError(
                f"The layer “{self.layer.name}” was removed; choose another region."
            )
        if kind_of(self.layer) == "labels":
            return PaintedRegions.of(self.layer, pixels, viewer).chosen(
                None if self.extent == "all" else int(self.layer.selected_label)
            )
        return DrawnRegions.of(self.layer, self.extent, pixels, viewer)

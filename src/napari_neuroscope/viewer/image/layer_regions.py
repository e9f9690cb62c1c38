"""A layer chosen as a region: shapes, points or labels, whatever it holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.overlays.class_labels import class_of_label
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.viewer.image.drawn_shapes import DrawnRegions
from napari_neuroscope.viewer.image.image_pixels import Pixels
from napari_neuroscope.viewer.image.painted_labels import PaintedRegions
from napari_neuroscope.viewer.image.region_checks import RegionExtent, kind_of

GROUND_TRUTH, PREDICTION, COMPARISON = "ground truth", "prediction", "comparison"
"""What the record of a layer of ours calls the true classes, the predicted ones, and their errors."""
# What error layers call the rest of the image.
_REST = "background"


@dataclass(frozen=True)
class LayerRegion:
    """The choice of a layer as a region.

    Attributes
    ----------
    layer
        The layer.
    extent
        "all" that is in it, or what is "selected"; a number: the label of it, whatever is selected.
    """

    layer: Any
    extent: RegionExtent | int = "all"

    @property
    def title(self) -> str:
        """The region as it is offered."""
        if isinstance(self.extent, int):
            return self._name_of_label
        what = {"shapes": "shapes", "points": "points", "labels": "labels"}[kind_of(self.layer)]
        if self.extent == "all":
            return f"{self.layer.name}: all {what}"
        return f"{self.layer.name}: selected {what if what != 'labels' else 'label'}"

    @property
    def _name_of_label(self) -> str:
        named = class_of_label(self.layer.features)
        return named.get(int(self.extent), f"{self.layer.name}: label {self.extent}")

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
        if kind_of(self.layer) != "labels":
            assert self.extent in ("all", "selected")
            return DrawnRegions.of(self.layer, self.extent, pixels, viewer)
        painted = PaintedRegions.of(self.layer, pixels, viewer)
        if isinstance(self.extent, int):
            return painted.chosen(self.extent, self.title)
        return painted.chosen(None if self.extent == "all" else int(self.layer.selected_label))


def regions_of(layer: Any) -> list[LayerRegion]:
    """Return the regions that a layer offers: none where it is a map.

    Each kind of error, and the pixels of a cell of the confusion matrix, are one region; of the
    true and the predicted classes it is the label that is selected.
    """
    if not kind_of(layer):
        return []
    if KEY not in layer.metadata:
        return [LayerRegion(layer, "all"), LayerRegion(layer, "selected")]
    if shows(layer, COMPARISON):
        named = class_of_label(layer.features)
        return [
            LayerRegion(layer, label) for label, name in named.items() if label and name != _REST
        ]
    if shows(layer, GROUND_TRUTH) or shows(layer, PREDICTION):
        return [LayerRegion(layer, "selected")]
    return []


def shows(layer: Any, method: str) -> bool:
    """Whether a layer of labels is one of ours that shows the classes of some kind."""
    return kind_of(layer) == "labels" and layer.metadata.get(KEY, {}).get("method") == method


def may_be_true(layer: Any) -> bool:
    """Whether a layer can say where a class truly is: labels of the user's, or ground truth of ours."""
    return kind_of(layer) == "labels" and (KEY not in layer.metadata or shows(layer, GROUND_TRUTH))


def may_be_instances(layer: Any) -> bool:
    """Whether a layer can say which instances there are: labels, but no layer of ours."""
    return kind_of(layer) == "labels" and KEY not in layer.metadata

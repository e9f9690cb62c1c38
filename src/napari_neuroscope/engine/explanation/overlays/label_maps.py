"""Label maps as layers of labels: classes in their colours, and regions in their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_neuroscope.engine.explanation.colormaps import class_colours, first_label
from napari_neuroscope.engine.explanation.overlays.kind import LayerData, OverlayKind, OverlaySource
from napari_neuroscope.engine.explanation.overlays.placement import Placement
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.images.grid import Grid

_LOOK = {"opacity": 0.5, "blending": "translucent_no_depth"}
Classes = Sequence[tuple[str, tuple[int, int, int]]]
"""The names and colours of classes."""


def labels_data(
    labels: np.ndarray,
    grid: Grid,
    placement: Placement,
    name: str,
    classes: Classes,
    metadata: Any,
) -> LayerData:
    """Return a label map of classes (−1: no class) as layer data.

    Its features name the class of each label. Label 0 is clear: where class 0 is no background,
    the labels are the numbers of the classes and 1.
    """
    attributes = {
        **_LOOK,
        "name": name,
        **_of_classes(classes),
        "metadata": {KEY: metadata},
        **placement.attributes(grid),
    }
    return placement.place.laid(as_labels(labels, classes)), attributes, "labels"


def as_labels(numbers: np.ndarray, classes: Classes) -> np.ndarray:
    """Return the labels that show the numbers of classes."""
    first = first_label(classes)
    return numbers + np.asarray(numbers).dtype.type(first) if first else numbers


def as_classes(labels: np.ndarray, classes: Classes) -> np.ndarray:
    """Return the numbers of the classes that labels show: what `as_labels` was given."""
    first = first_label(classes)
    return labels - labels.dtype.type(first) if first else labels


def _of_classes(classes: Classes) -> dict[str, Any]:
    """Return how labels of classes look, and their features: each label's name."""
    names, first = [name for name, _ in classes], first_label(classes)
    return {
        "colormap": class_colours(classes),
        "features": {"index": range(first, first + len(names)), "class": names},
    }


class LabelMaps(OverlayKind):
    """The label maps beside a map, such as the predicted classes; a layer each."""

    name = "label map"
    layer_type = "labels"

    def takes(self, source: OverlaySource) -> bool:
        """Whether there are label maps."""
        return bool(source.companions)

    def layers(self, source: OverlaySource) -> list[LayerData]:
        """Return a layer of each."""
        return [self._layer(source, name) for name in source.companions]

    def _layer(self, source: OverlaySource, name: str) -> LayerData:
        labels, place = source.companions[name], source.placement.place
        ordered = source.record["companions"][name]["ordered"]
        leading = source.leading[: labels.ndim - len(source.grid.shape)] if ordered else ()
        attributes = {
            **_LOOK,
            **source.attributes(
                self, f"{name.capitalize()} of {source.title}", leading, companion=name
            ),
            # Hidden at first: the map itself is to be seen, and not a mixture of both.
            "visible": False,
        }
        if ordered:
            attributes |= {"features": _of_order(source, labels, leading)}
        else:
            attributes |= _of_classes(source.record["classes"])
            labels = as_labels(labels, source.record["classes"])
        return place.laid(labels, len(leading)), attributes, "labels"


def _of_order(
    source: OverlaySource, labels: np.ndarray, leading: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return the features of regions in their order: of one map, each region's value as well."""
    numbers, first = np.unique(labels, return_index=True)
    features = {"index": numbers}
    if not leading and not source.placement.place.stack:
        # It is told where the cursor is.
        features[source.record["unit"]] = source.values.reshape(-1)[first]
    return features

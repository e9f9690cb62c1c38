"""A segmentation's predicted classes as a layer of labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari_neuroscope.engine.explanation.overlays.kind import LayerData
from napari_neuroscope.engine.explanation.overlays.label_maps import labels_data
from napari_neuroscope.engine.explanation.overlays.place import Place
from napari_neuroscope.engine.explanation.overlays.placement import Placement
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.prediction import Prediction


def prediction_data(
    network: Network,
    prediction: Prediction,
    source: Any = None,
    plane: Sequence[int] | Place = (),
    name: str = "Prediction",
) -> list[LayerData]:
    """Return a segmentation's predicted classes as a labels layer over its image."""
    if prediction.grid is None:
        return []
    spec = network.spec
    classes = [(label, spec.colour(i)) for i, label in enumerate(prediction.class_names)]
    placement = Placement.of(source, spec.input.space, plane)
    metadata = {"method": "prediction", "network": {"name": network.name}}
    return [labels_data(prediction.labels, prediction.image, placement, name, classes, metadata)]

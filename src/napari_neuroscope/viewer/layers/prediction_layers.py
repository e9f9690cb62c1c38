"""A segmentation's predicted classes as a layer of labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari_neuroscope.engine.explanation.overlays.kind import LayerData
from napari_neuroscope.engine.explanation.overlays.label_maps import labels_data
from napari_neuroscope.engine.explanation.overlays.place import Place
from napari_neuroscope.engine.explanation.overlays.placement import Placement
from napari_neuroscope.engine.explanation.overlays.registry import kind_of
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.prediction import Prediction
from napari_neuroscope.viewer.layers.maps.layer_manager import LayerManager


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


class PredictionLayers:
    """Shows what networks predict of images, in one layer for each network and image.

    A prediction is seen without the maps that are visible: they would mix, and be read as one
    picture. They come back when it is hidden.

    Parameters
    ----------
    viewer
        The viewer.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._layer_manager = LayerManager(viewer)
        self._layer: Any = None
        self._hidden_maps: list[Any] = []

    def close(self) -> None:
        """Follow the viewer no longer."""
        self._layer_manager.close()

    @property
    def visible(self) -> bool:
        """Whether a prediction that was shown here is seen."""
        layer = self._layer
        return bool(layer is not None and layer in self._viewer.layers and layer.visible)

    def show(self, network: Network, prediction: Prediction, image: Any, place: Place) -> Any:
        """Show a segmentation's predicted classes over an image layer; return their layer."""
        maps = [layer for layer in self._viewer.layers
                if layer.visible and kind_of(layer.metadata) is not None]  # fmt: skip
        self._layer_manager.hide_others("prediction", "comparison")
        slot = (network.name, str(image.unique_id), "prediction")
        name = f"Prediction · {network.name}"
        (self._layer,) = self._layer_manager.show(
            prediction_data(network, prediction, image, place, name), slot
        )
        self._layer.visible = True
        for layer in maps:
            layer.visible = False
        self._hidden_maps += maps
        return self._layer

    def hide_all(self) -> None:
        """Hide all predictions in the viewer: a map that is shown would mix with them."""
        self._layer_manager.hide_others("prediction")

    def hide(self, *, restore: bool) -> None:
        """Hide the prediction that is shown, and show the maps again that gave way to it.

        Parameters
        ----------
        restore
            Whether the maps are shown again: not where they are of another image or network.
        """
        if self.visible:
            self._layer.visible = False
        if restore:
            for layer in self._hidden_maps:
                if layer in self._viewer.layers:
                    layer.visible = True
        self._hidden_maps.clear()

"""Shows one image of many at a time, with its ground truth, in the same two layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_neuroscope.engine.explanation.overlays.label_maps import labels_data
from napari_neuroscope.engine.explanation.overlays.place import Place
from napari_neuroscope.engine.explanation.overlays.placement import Placement
from napari_neuroscope.engine.images.axes import has_colours_last
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.viewer.layers.maps.layer_manager import LayerManager
from napari_neuroscope.viewer.layers.plain_names import plain_name

_THUMBNAIL = 48


class Gallery:
    """The layer of the image that is shown, and of its ground truth.

    How they look is the user's and stays; the camera moves only where the size changes.

    Parameters
    ----------
    viewer
        The viewer.
    layer_manager
        Shows the ground truth.
    """

    def __init__(self, viewer: Any, layer_manager: LayerManager) -> None:
        self._viewer, self._layer_manager = viewer, layer_manager
        self._layer: Any = None

    @property
    def layer(self) -> Any:
        """The layer of the image, if it is in the viewer."""
        return self._layer if self._layer in self._viewer.layers else None

    def show(self, image: np.ndarray, name: str, axes: Sequence[str] = ()) -> Any:
        """Show an image in place of the last, and return its layer; `axes` are called so."""
        name = plain_name(name)
        rgb = has_colours_last(image.shape)
        layer = self.layer
        if layer is not None and layer.rgb == rgb and layer.data.ndim == image.ndim:
            resized = layer.data.shape != image.shape
            layer.data, layer.name = image, name
            if axes:
                layer.axis_labels = axes[: layer.ndim]
            if resized:
                self._viewer.reset_view()
            return layer
        place = len(self._viewer.layers)
        if layer is not None:
            place = self._viewer.layers.index(layer)
            self._viewer.layers.remove(layer)
        attributes: dict[str, Any] = {"name": name, "rgb": rgb}
        if axes:
            attributes["axis_labels"] = axes[: image.ndim - rgb]
        if not rgb and image.size:
            low, high = np.nanpercentile(image, (1, 99.8)).tolist()
            attributes["contrast_limits"] = (low, high if high > low else low + 1)
        self._layer = self._viewer.add_image(image, **attributes)
        # Below the overlays, where the last one was, or below all.
        self._viewer.layers.move(self._viewer.layers.index(self._layer), min(place, 0))
        self._viewer.reset_view()
        return self._layer

    def show_truth(
        self, truth: np.ndarray | None, network: Network, source: Any, plane: Sequence[int] | Place
    ) -> None:
        """Show the true classes over the image; hide the last ones where there are none."""
        slot = ("ground truth",)
        if truth is None:
            if (layer := self._layer_manager.layer((*slot, "0"))) is not None:
                layer.visible = False
            return
        classes = list(zip(network.class_names, network.class_colours, strict=True))
        placement = Placement.of(source, network.spec.input.space, plane)
        hidden = self._layer_manager.layer((*slot, "0"))
        (layer,) = self._layer_manager.show(
            [labels_data(truth, Grid.of_image(truth.shape), placement, "Ground truth", classes,
                         {"method": "ground truth"})],
            slot,
        )  # fmt: skip
        if hidden is None:
            layer.contour, layer.opacity = 2, 1.0


def thumbnail(image: np.ndarray, space: int = 2) -> np.ndarray:
    """Return a small picture of an image, uint8 (y, x, 3), its longer side 48 pixels at most."""
    rgb = has_colours_last(image.shape, space)
    while image.ndim > 2 + rgb:
        image = image[image.shape[0] // 2]
    step = max(1, -(-max(image.shape[:2]) // _THUMBNAIL))
    small = np.asarray(image[::step, ::step], np.float32)
    if rgb:
        small = small[..., :3]
    low, high = np.nanpercentile(small, (0.5, 99.5)) if small.size else (0, 1)
    scaled = np.nan_to_num((small - low) / ((high - low) or 1.0)).clip(0, 1)
    if image.dtype == np.uint8 and rgb:
        scaled = small / 255
    picture = (255 * scaled).astype(np.uint8)
    return np.ascontiguousarray(picture if rgb else np.repeat(picture[..., None], 3, axis=-1))

"""The bar that says which value each colour of a map is."""

from __future__ import annotations

from typing import Any

from napari_neuroscope.engine.explanation.overlays.registry import is_map
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.methods.interface.result import INTENSITY


class ColourBars:
    """Shows napari's colour bar of the topmost visible map; napari before 0.9 has none.

    A bar that the user hides or shows stays so, until another map is the topmost.

    Parameters
    ----------
    viewer
        The viewer.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._layer: Any = None

    def show(self, *, on: bool) -> None:
        """Show the bar of the map that is seen now, or none."""
        layer = self._topmost() if on else None
        if layer is self._layer:
            return
        if self._layer is not None:
            self._layer.colorbar.visible = False
        if layer is not None:
            layer.colorbar.visible = True
        self._layer = layer

    def _topmost(self) -> Any:
        for layer in reversed(self._viewer.layers):
            if (
                layer.visible
                and is_map(layer.metadata)
                and hasattr(layer, "colorbar")
                and not layer.rgb
                and layer.metadata[KEY].get("unit") != INTENSITY
            ):
                return layer
        return None

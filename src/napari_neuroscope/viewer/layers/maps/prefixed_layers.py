"""Layers whose names say of which of two networks they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari_neuroscope.engine.explanation.overlays.kind import LayerData
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.viewer.layers.maps.layer_manager import LayerManager


class PrefixedLayerManager(LayerManager):
    """Shows layer data under names that begin alike, also in the text on the canvas.

    Parameters
    ----------
    viewer
        The viewer.
    prefix
        What they begin with.
    """

    def __init__(self, viewer: Any, prefix: str) -> None:
        super().__init__(viewer)
        self._prefix = prefix

    def show(
        self, layers: Sequence[LayerData], slot: tuple[str, ...], *, reveal: bool = True
    ) -> list[Any]:
        """Show layer data, the first the topmost; return the layers."""
        named = [
            (array, self._named(attributes), layer_type) for array, attributes, layer_type in layers
        ]
        return super().show(named, slot, reveal=reveal)

    def _named(self, attributes: dict[str, Any]) -> dict[str, Any]:
        about = dict(attributes["metadata"][KEY])
        if "title" in about:
            about["title"] = f"{self._prefix}{about['title']}"
        about["beside"] = True
        name = f"{self._prefix}{attributes['name']}"
        return {**attributes, "name": name, "metadata": {KEY: about}}

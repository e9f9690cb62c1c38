"""The map itself as an image layer: values as colours, or the input as the picture that it is."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from napari_neuroscope.engine.explanation.colormaps import limits, map_colormap
from napari_neuroscope.engine.explanation.overlays.kind import LayerData, OverlayKind, OverlaySource


class MapKind(OverlayKind):
    """A layer that holds the values of an explanation themselves; each has just one such."""

    layer_type = "image"
    look: ClassVar[tuple[str, ...]] = (
        *OverlayKind.look, "contrast_limits", "gamma", "interpolation2d", "colormap",
    )  # fmt: skip

    def layers(self, source: OverlaySource) -> list[LayerData]:
        """Return the layer of the map."""
        attributes = {
            **source.attributes(self, source.title),
            "rgb": False,
            "interpolation2d": "linear",
            "blending": "translucent_no_depth",
        }
        values = source.laid_values
        return [(values, {**attributes, **self.colours(values, source)}, "image")]

    @abstractmethod
    def colours(self, values: Any, source: OverlaySource) -> dict[str, Any]:
        """Return the attributes that say in which colours values, as they are laid, are drawn."""

    def still_shows(self, layer: Any, values: Any) -> bool:
        """Whether a layer's data are some values."""
        return bool(np.may_share_memory(layer.data, values))


class HeatMap(MapKind):
    """Values from zero, or about zero, as colours that leave the image seen where they are zero."""

    name = "heat map"

    def takes(self, source: OverlaySource) -> bool:
        """Whether it is a map: all but the input, which is a picture."""
        return not source.is_picture

    def colours(self, values: Any, source: OverlaySource) -> dict[str, Any]:
        """Return colours that are clear at zero, and end where `limits` says of the last step."""
        last_step = values[(-1,) * len(source.leading)] if source.leading else values
        return {
            **self.tile_look(last_step, signed=source.signed),
            "contrast_limits": limits(last_step, signed=source.signed, unit=source.record["unit"]),
        }

    def tile_look(self, tiles: np.ndarray, *, signed: bool) -> dict[str, Any]:
        """Return the colours of maps, which end where `limits` says."""
        return {
            "colormap": map_colormap(signed=signed),
            "contrast_limits": limits(tiles, signed=signed),
        }


class InputPicture(MapKind):
    """What the network gets, as a picture that covers the image."""

    name = "input picture"

    def takes(self, source: OverlaySource) -> bool:
        """Whether it is the network's input."""
        return source.is_picture

    def layers(self, source: OverlaySource) -> list[LayerData]:
        """Return the picture: of three channels in colours, else a channel a step."""
        ((values, attributes, kind),) = super().layers(source)
        if len(source.values) == 3:
            colours = np.clip(np.moveaxis(source.values, 0, -1), 0, 1)
            values = source.placement.place.laid(colours)
            attributes |= {"rgb": True, **source.placement.attributes(source.grid)}
        return [(values, attributes, kind)]

    def colours(self, values: Any, source: OverlaySource) -> dict[str, Any]:
        """Return shades of grey, from zero."""
        if len(source.values) == 3:
            return {"blending": "opaque"}
        return {
            "blending": "opaque",
            "colormap": "gray",
            "contrast_limits": limits(values, signed=False),
        }

"""The kinds of overlay that are installed, and the layers that they make of an explanation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from napari_neuroscope.engine.explanation.overlays.kind import (
    OVERLAY,
    LayerData,
    OverlayKind,
    OverlaySource,
)
from napari_neuroscope.engine.explanation.overlays.label_maps import LabelMaps
from napari_neuroscope.engine.explanation.overlays.map_kinds import HeatMap, InputPicture, MapKind
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.plugin_catalogue import load_entry_points

GROUP = "napari_neuroscope.overlays"
"""The group of entry points under which other packages offer classes of `OverlayKind`."""
_MAP_KINDS: tuple[MapKind, ...] = (HeatMap(), InputPicture())


@cache
def overlay_kinds() -> Mapping[str, OverlayKind]:
    """Return the kinds by their names, those of other packages last, in the order of their names."""
    kinds: list[OverlayKind] = [*_MAP_KINDS, LabelMaps()]
    kinds += load_entry_points(GROUP, "kind of overlay", lambda loaded: loaded())
    return {kind.name: kind for kind in kinds}


def kind_of(metadata: Mapping[str, Any]) -> OverlayKind | None:
    """Return which kind of overlay a layer is by its metadata; None where it is none."""
    return overlay_kinds().get(metadata.get(KEY, {}).get(OVERLAY, ""))


def is_map(metadata: Mapping[str, Any]) -> bool:
    """Whether a layer holds the values of an explanation, by its metadata."""
    return isinstance(kind_of(metadata), MapKind)


def map_layer(source: OverlaySource) -> LayerData:
    """Return the layer that holds the values of an explanation."""
    (layer,) = next(kind for kind in _MAP_KINDS if kind.takes(source)).layers(source)
    return layer


def layers_of(source: OverlaySource) -> list[LayerData]:
    """Return all layers of an explanation, the first the topmost."""
    return [
        layer for kind in overlay_kinds().values() if kind.takes(source)
        for layer in kind.layers(source)
    ]  # fmt: skip

"""An answer in the layers of its slot: shown, remembered, and seen unless the user hides it meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari_neuroscope.engine.explanation.overlays.kind import LayerData
from napari_neuroscope.viewer.layers.maps.layer_manager import LayerManager
from napari_neuroscope.viewer.layers.maps.shown_maps import ShownMaps
from napari_neuroscope.viewer.state.layer_origin import LayerOrigin, remember
from napari_neuroscope.viewer.state.viewer_state import state_of


def show_answer(
    viewer: Any,
    layer_manager: LayerManager,
    layers: Sequence[LayerData],
    slot: tuple[str, ...],
    origin: LayerOrigin,
    choices: Any,
) -> list[Any]:
    """Show an explanation, whole or what there is of it so far; return its layers.

    Parameters
    ----------
    viewer, layer_manager
        Where it is shown, and what adds its layers.
    layers, slot
        Its layer data, the map first, and where they go.
    origin
        The explanation with what it is of.
    choices
        What was chosen when it was asked; the same object for each part of one answer.
    """
    maps = state_of(viewer, ShownMaps)
    before = layer_manager.layer((*slot, "0"))
    # What refines stays hidden where the user has hidden it.
    goes_on = before is not None and maps.choices_of(before) is choices
    shown = layer_manager.show(layers, slot, reveal=not goes_on)
    remember(shown[:1], origin)
    maps.made_of(shown[0], choices)
    return shown

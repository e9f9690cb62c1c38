"""Adds layers to a viewer, and updates those that show the same thing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from napari.layers import Image, Labels

from napari_neuroscope.engine.explanation.colormaps import map_colormap
from napari_neuroscope.engine.explanation.overlays.kind import LayerData
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.viewer.image.camera import camera_of
from napari_neuroscope.viewer.image.image_pixels import go_to_step
from napari_neuroscope.viewer.layers.multiscale_map import goes_on
from napari_neuroscope.viewer.layers.plain_names import named
from napari_neuroscope.viewer.layers.stack_follower import StackFollower, sizes_of, steps_of

_PLACE = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
_USERS = ("visible", "opacity", "blending")


class LayerManager:
    """Shows layer data in a viewer, one layer a slot.

    A slot names what a layer is for. Showing to a slot again changes its layer in place: how it
    looks is the user's. A slot that is `released` keeps its layer as it is, and the next goes to a
    new one.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._slots: dict[tuple[str, ...], Any] = {}
        self._gave_way: set[Any] = set()
        self._follower = StackFollower(viewer)
        viewer.layers.events.removed.connect(self._forget)

    def close(self) -> None:
        """Follow the viewer no longer."""
        self._viewer.layers.events.removed.disconnect(self._forget)
        self._follower.close()
        self._slots.clear()

    def _forget(self, event: Any) -> None:
        """Let go of a layer that is removed, and with it of its arrays."""
        self._slots = {
            slot: layer for slot, layer in self._slots.items() if layer in self._viewer.layers
        }

    def release(self) -> int:
        """Leave the layers shown so far as they are; return how many they are."""
        kept = sum(layer in self._viewer.layers for layer in self._slots.values())
        self._slots.clear()
        return kept

    def layer(self, slot: tuple[str, ...]) -> Any:
        """Return the layer of a slot, if it is still in the viewer."""
        layer = self._slots.get(slot)
        return layer if layer is not None and layer in self._viewer.layers else None

    def give_way(self, covered: tuple[str, ...], slot: tuple[str, ...]) -> None:
        """Hide the layers of a slot that those of another lie over; show these, if they gave way."""
        for numbered_slot, layer in self._slots.items():
            if numbered_slot[:-1] == covered and layer.visible:
                layer.visible = False
                self._gave_way.add(layer.unique_id)
            elif numbered_slot[:-1] == slot and layer.unique_id in self._gave_way:
                layer.visible = True
                self._gave_way.discard(layer.unique_id)

    def hide_others(self, *methods: str) -> None:
        """Hide the layers of the viewer that show what these methods made."""
        for layer in self._viewer.layers:
            if layer.metadata.get(KEY, {}).get("method") in methods:
                layer.visible = False

    def show(self, layers: Sequence[LayerData], slot: tuple[str, ...]) -> list[Any]:
        """Show layer data, the first the topmost; return the layers."""
        shown = []
        _say_where_the_camera_looks(self._viewer)
        for number, (array, attributes, layer_type) in reversed(list(enumerate(layers))):
            shown.append(
                self._show_layer(array, named(attributes), layer_type, (*slot, str(number)))
            )
        self._follower.update()
        return shown[::-1]

    def _show_layer(
        self, array: Any, attributes: dict[str, Any], layer_type: str, slot: tuple[str, ...]
    ) -> Any:
        layer = self.layer(slot)
        place = len(self._viewer.layers)
        if layer is not None:
            if self._fits(layer, attributes, layer_type):
                self._update(layer, array, attributes)
                return layer
            # It is another type of layer; the user's view of it goes on.
            attributes = {**attributes, **{name: getattr(layer, name) for name in _USERS}}
            place = self._viewer.layers.index(layer)
            self._viewer.layers.remove(layer)
        layer = getattr(self._viewer, f"add_{layer_type}")(array, **attributes)
        if place < len(self._viewer.layers) - 1:
            self._viewer.layers.move(self._viewer.layers.index(layer), place)
        self._slots[slot] = layer
        self._start_at_the_end(layer)
        if layer_type == "image" and not layer.rgb:
            self._follower.follow(layer)
        return layer

    @staticmethod
    def _fits(layer: Any, attributes: dict[str, Any], layer_type: str) -> bool:
        """Whether a layer can show other data in place: points and shapes have looks of their own."""
        return isinstance(layer, {"image": Image, "labels": Labels}.get(layer_type, ())) and all(
            getattr(layer, name, False) == attributes.get(name, False)
            for name in ("rgb", "multiscale")
        )

    def _update(self, layer: Any, array: Any, attributes: dict[str, Any]) -> None:
        before = layer.metadata[KEY]
        layer.metadata = attributes["metadata"]
        if layer.name != attributes["name"]:
            layer.name = attributes["name"]
        self._put(layer, array, attributes)
        if "features" in attributes:
            layer.features = attributes["features"]
        if before.get("axes") != attributes["metadata"][KEY].get("axes"):
            self._start_at_the_end(layer)
        if "contrast_limits" in attributes:
            if before.get("signed") != layer.metadata[KEY].get("signed"):
                _recolour(layer, attributes["colormap"])
            self._follower.refit(layer, attributes["contrast_limits"])

    @staticmethod
    def _put(layer: Any, array: Any, attributes: dict[str, Any]) -> None:
        """Give a layer an array, of any number of axes, and its place: told once, when all is set."""
        moved = []
        with ExitStack() as untold:
            for name in ("data", *_PLACE):
                untold.enter_context(getattr(layer.events, name).blocker())
            if not goes_on(layer, array):
                layer.data = array
            for name in _PLACE:
                if not _is_equal(getattr(layer, name), attributes[name]):
                    setattr(layer, name, attributes[name])
                    moved.append(name)
        for name in moved:
            getattr(layer.events, name)()
        if goes_on(layer, array):
            layer.refresh(extent=False, highlight=False)
        else:
            layer.events.data(value=layer.data)

    def _start_at_the_end(self, layer: Any) -> None:
        """Move the sliders of new stack axes to the last step: napari begins in the middle."""
        steps = steps_of(self._viewer, layer)
        for number, axis in enumerate(steps):
            last = sizes_of(layer)[number] - 1 if axis == "layer" else 0
            go_to_step(layer, number, last, self._viewer)


def _say_where_the_camera_looks(viewer: Any) -> None:
    """Spare labels with features an error in 3D, where the mouse has not moved yet.

    napari then asks them for what lies under the cursor, and has no direction to look along.
    """
    model = getattr(viewer, "__wrapped__", viewer)
    if model.dims.ndisplay == 3 and getattr(model.cursor, "_view_direction", ()) is None:
        model.cursor._view_direction = camera_of(viewer).calculate_nd_view_direction(
            model.dims.ndim, model.dims.displayed
        )


def _recolour(layer: Any, colours: Any) -> None:
    """Give a map the colours of its new kind, unless the user has chosen its colours."""
    if layer.colormap.name in {map_colormap(signed=signed)["name"] for signed in (False, True)}:
        layer.colormap = colours


def _is_equal(old: Any, new: Any) -> bool:
    """Whether a layer's attribute is what is asked for, in numbers or in words."""
    old = getattr(old, "affine_matrix", old)
    if isinstance(new[0], str):
        return [str(word) for word in old] == [str(word) for word in new]
    given = np.asarray(old, float)
    if given.ndim == 1 and np.ndim(new) == 2:
        # napari keeps a shear as the numbers above the diagonal.
        matrix = np.eye(len(new))
        matrix[np.triu_indices(len(new), 1)] = given
        given = matrix
    return given.shape == np.shape(new) and bool(np.allclose(given, new, rtol=0, atol=1e-12))

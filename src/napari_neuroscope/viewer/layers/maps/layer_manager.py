"""Adds layers to a viewer, and updates those that show the same thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Image, Labels

from napari_neuroscope.engine.explanation.colormaps import map_colormap
from napari_neuroscope.engine.explanation.overlays.kind import LayerData
from napari_neuroscope.engine.explanation.overlays.registry import is_map
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.viewer.image.camera import camera_of
from napari_neuroscope.viewer.image.image_pixels import go_to_step
from napari_neuroscope.viewer.layers.maps.multiscale_map import goes_on
from napari_neuroscope.viewer.layers.maps.shown_maps import ShownMaps
from napari_neuroscope.viewer.layers.maps.stack_follower import StackFollower, sizes_of, steps_of
from napari_neuroscope.viewer.layers.plain_names import named
from napari_neuroscope.viewer.state.viewer_state import state_of, without_proxy

_PLACE = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
_USERS = ("visible", "opacity", "blending")
# What of a layer's look hangs on what it shows.
_LOOK = ("blending", "interpolation2d")


class LayerManager:
    """Shows layer data in a viewer, one layer a slot.

    A slot names what a layer is for. Showing to a slot again changes its layer in place: how it
    looks is the user's, as far as they have changed it. A slot that is `released` keeps its layer
    as it is, and the next goes to a new one. Of explanations one is seen at a time: that which was
    shown last.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._slots: dict[tuple[str, ...], Any] = {}
        # Of each layer: the attributes of its look that were given to it last.
        self._looks: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()
        self._maps = state_of(viewer, ShownMaps)
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

    def release(self) -> list[Any]:
        """Leave the layers shown so far as they are; return the maps among them, marked as kept."""
        kept = [layer for layer in self._slots.values() if layer in self._viewer.layers]
        self._slots.clear()
        maps = [layer for layer in kept if is_map(layer.metadata)]
        for layer in maps:
            self._maps.keep(layer)
        return maps

    def layer(self, slot: tuple[str, ...]) -> Any:
        """Return the layer of a slot, if it is still in the viewer."""
        layer = self._slots.get(slot)
        return layer if layer is not None and layer in self._viewer.layers else None

    def hide_others(self, *methods: str) -> None:
        """Hide the layers of the viewer that show what these methods made."""
        for layer in self._viewer.layers:
            if layer.metadata.get(KEY, {}).get("method") in methods:
                layer.visible = False

    def show(
        self, layers: Sequence[LayerData], slot: tuple[str, ...], *, reveal: bool = True
    ) -> list[Any]:
        """Show layer data, the first the topmost; return the layers.

        Of an explanation the sliders stay at the steps of the same names, and the camera stays;
        all others are hidden. Without `reveal` it stays hidden where it is.
        """
        shown = []
        steps, camera = shown_labels(self._viewer), _camera_now(self._viewer)
        _say_where_the_camera_looks(self._viewer)
        for number, (array, attributes, layer_type) in reversed(list(enumerate(layers))):
            layer = self._show_layer(array, named(attributes), layer_type, (*slot, str(number)))
            self._go_to(layer, steps)
            shown.append(layer)
        shown.reverse()
        self._remove_beyond(len(layers), slot)
        if shown and reveal and is_map(shown[0].metadata):
            self._maps.present(self._viewer, shown)
        _look_as_before(self._viewer, camera)
        self._follower.update()
        return shown

    def _remove_beyond(self, count: int, slot: tuple[str, ...]) -> None:
        """Remove the layers that were made with the last map of a slot, and not with this one."""
        for numbered_slot, layer in list(self._slots.items()):
            number = numbered_slot[-1]
            if numbered_slot[:-1] == slot and number.isdigit() and int(number) >= count:
                self._viewer.layers.remove(layer)

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
        self._looks[without_proxy(layer)] = {n: attributes[n] for n in _LOOK if n in attributes}
        if layer_type == "image":
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
        self._take_look(layer, attributes)
        if "contrast_limits" in attributes:
            if before.get("signed") != layer.metadata[KEY].get("signed"):
                _recolour(layer, attributes["colormap"])
            self._follower.refit(layer, attributes["contrast_limits"])

    @staticmethod
    def _put(layer: Any, array: Any, attributes: dict[str, Any]) -> None:
        """Give a layer an array, of any number of axes, and its place: told once, when all is set."""
        moved, visible = [], layer.visible
        with ExitStack() as untold:
            for name in ("data", "visible", *_PLACE):
                untold.enter_context(getattr(layer.events, name).blocker())
            # napari keeps the extent that a hidden layer had before, also where its axes are others.
            layer.visible = True
            if not goes_on(layer, array):
                layer.data = array
            for name in _PLACE:
                if not _is_equal(getattr(layer, name), attributes[name]):
                    setattr(layer, name, attributes[name])
                    moved.append(name)
            layer.visible = visible
        for name in moved:
            getattr(layer.events, name)()
        if goes_on(layer, array):
            layer.refresh(extent=False, highlight=False)
        else:
            layer.events.data(value=layer.data)

    def _take_look(self, layer: Any, attributes: dict[str, Any]) -> None:
        """Give a layer the look of what it shows now, but for what the user has changed."""
        given = self._looks.setdefault(without_proxy(layer), {})
        for name in _LOOK:
            if name in attributes:
                if name in given and getattr(layer, name) == given[name] != attributes[name]:
                    setattr(layer, name, attributes[name])
                given[name] = attributes[name]

    def _go_to(self, layer: Any, wanted: Mapping[str, str]) -> None:
        """Move the sliders of a layer's stack axes to the steps of these names.

        Where it has none of that name, to the last layer or else to the first step: napari begins
        in the middle.
        """
        labels = layer.metadata.get(KEY, {}).get("labels", {})
        steps = steps_of(self._viewer, layer)
        for number, axis in enumerate(steps):
            names = list(labels.get(axis, ()))
            last = sizes_of(layer)[number] - 1 if axis == "layer" else 0
            step = names.index(wanted[axis]) if wanted.get(axis) in names else last
            if step != steps[axis]:
                go_to_step(layer, number, step, self._viewer)


def shown_labels(viewer: Any) -> dict[str, str]:
    """Return which class, layer or channel of the map that is seen is shown, by axis."""
    seen: dict[str, str] = {}
    for layer in viewer.layers:
        if not layer.visible or not is_map(layer.metadata):
            continue
        about = layer.metadata[KEY]
        if len(about.get("layers", ())) == 1:
            seen["layer"] = about["layers"][0]
        if targets := about["labels"].get("target"):
            seen["class"] = targets[0]
        for axis, step in steps_of(viewer, layer).items():
            if names := about["labels"].get(axis, ())[step : step + 1]:
                seen[axis] = names[0]
    return seen


def _camera_now(viewer: Any) -> tuple[Any, ...] | None:
    """Return where the camera looks; None where nothing is shown yet."""
    camera = camera_of(viewer)
    if not len(viewer.layers):
        return None
    return viewer.dims.ndisplay, tuple(camera.center), camera.zoom, tuple(camera.angles)


def _look_as_before(viewer: Any, before: tuple[Any, ...] | None) -> None:
    """Look from where the camera was: napari resets the view where the number of axes grows."""
    camera = camera_of(viewer)
    if before is None or before == _camera_now(viewer) or before[0] != viewer.dims.ndisplay:
        return
    _, center, zoom, angles = before
    camera.center, camera.zoom, camera.angles = center, zoom, angles


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

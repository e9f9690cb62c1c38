"""What the maps that are seen show is named on the canvas; the contrast of stacks fits the step."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from napari.layers import Image, Labels

from napari_neuroscope.engine.explanation.colormaps import limits
from napari_neuroscope.engine.explanation.overlays.place import spatial_axes
from napari_neuroscope.engine.explanation.overlays.registry import is_map, kind_of
from napari_neuroscope.engine.explanation.record import Unfinished
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.viewer.image.image_pixels import shown_index
from napari_neuroscope.viewer.layers.maps.multiscale_map import Level
from napari_neuroscope.viewer.layers.maps.shown_maps import KEPT, OUT_OF_DATE, ShownMaps
from napari_neuroscope.viewer.layers.plain_names import on_canvas
from napari_neuroscope.viewer.state.randomisation_warnings import FailedChecks
from napari_neuroscope.viewer.state.stack_contrast import StackContrast
from napari_neuroscope.viewer.state.viewer_state import state_of

# Between these shares of its contrast, the largest value of a map that refines changes nothing.
_STEADY = (0.6, 1.05)
Limits = tuple[float, float]
STACK_AXES = ("class", "layer", "channel", "removed", "restored", "randomised")


def text_overlay(viewer: Any) -> Any:
    """Return the viewer's text overlay, whose place moved in napari 0.9."""
    overlays = getattr(getattr(viewer, "canvas", None), "overlays", None)
    return overlays.text if overlays is not None else viewer.text_overlay


def steps_of(viewer: Any, layer: Any) -> dict[str, int]:
    """Return the step that the sliders show of each of a layer's stack axes."""
    shown = layer.metadata.get(KEY, {})
    axes = [axis for axis in shown.get("axes", ()) if axis in STACK_AXES]
    if not axes or (getattr(layer, "rgb", False) and layer.ndim == 2):
        return {}
    if len(axes) > layer.ndim:
        # The user has given it other data.
        return {}
    first, sizes = viewer.dims.ndim - layer.ndim, sizes_of(layer)
    shown_steps = viewer.dims.current_step
    return {
        # The viewer may not know of all axes yet.
        axis: min(max(int(shown_steps[first + i]), 0), sizes[i] - 1) if first + i >= 0 else 0
        for i, axis in enumerate(axes)
    }


def sizes_of(layer: Any) -> Sequence[int]:
    """Return how many steps a layer's axes have; those of points and shapes are their record's."""
    if isinstance(layer, Image | Labels):
        sizes: tuple[int, ...] = layer.data.shape
        return sizes
    return tuple(layer.metadata[KEY]["shape"])


class StackFollower:
    """Names on the canvas what all maps show that are seen, and fits the contrast of stacks to it.

    A stack whose contrast the user has set is left alone.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._fitted_limits: dict[Any, Limits] = {}
        self._closed = False
        viewer.dims.events.current_step.connect(self.update)
        viewer.layers.selection.events.active.connect(self.update)
        self._contrast = state_of(viewer, StackContrast)
        self._contrast.changed.connect(self.update)
        self._failed_checks = state_of(viewer, FailedChecks)
        self._failed_checks.changed.connect(self.update)
        self._maps = state_of(viewer, ShownMaps)
        self._maps.changed.connect(self.update)
        # What layers came with, of all their values.
        self._given_limits: dict[Any, Limits] = {}
        # Of parts of layers: the values, held weakly, and their limits.
        self._kept_limits: dict[Any, tuple[weakref.ref[Any], Limits]] = {}

    def close(self) -> None:
        """Follow no longer."""
        if self._closed:
            return
        self._closed = True
        self._viewer.dims.events.current_step.disconnect(self.update)
        self._viewer.layers.selection.events.active.disconnect(self.update)
        self._contrast.changed.disconnect(self.update)
        self._failed_checks.changed.disconnect(self.update)
        self._maps.changed.disconnect(self.update)

    def follow(self, layer: Any) -> None:
        """Name what a layer shows while it is seen, and fit its contrast from now on."""
        if not layer.rgb:
            self._fitted_limits[layer.unique_id] = tuple(layer.contrast_limits)
            self._given_limits[layer.unique_id] = tuple(layer.contrast_limits)
        layer.events.visible.connect(self.update)
        self.update()

    def refit(self, layer: Any, fitting: Limits) -> None:
        """Fit the contrast of a layer that has new values, unless the user has set it."""
        self._given_limits[layer.unique_id] = fitting
        self.update()

    def _is_fitted(self, layer: Any) -> bool:
        fitted = self._fitted_limits.get(layer.unique_id)
        return fitted is not None and np.allclose(layer.contrast_limits, fitted, rtol=1e-6, atol=0)

    def _fit(self, layer: Any, fitting: Limits) -> None:
        """Fit a layer's contrast; that of a map that refines only where it is far off."""
        low, high = layer.contrast_limits
        same_kind = (low < 0) == (fitting[0] < 0)
        refines = "unfinished" in layer.metadata[KEY]
        if not (refines and same_kind and _STEADY[0] <= fitting[1] / high <= _STEADY[1]):
            self._set_limits(layer, fitting)

    def _set_limits(self, layer: Any, fitting: Limits) -> None:
        # Each draws the colour bar and the thumbnail anew, also where it is as it was.
        if tuple(layer.contrast_limits_range) != tuple(fitting):
            layer.contrast_limits_range = fitting
        if tuple(layer.contrast_limits) != tuple(fitting):
            layer.contrast_limits = fitting
        self._fitted_limits[layer.unique_id] = tuple(layer.contrast_limits)

    def _fitting(self, layer: Any, steps: dict[str, int]) -> Limits:
        """Return the contrast of what is shown, or of all layers and planes of its class."""
        about = layer.metadata[KEY]
        if layer.multiscale:
            level: Level = layer.data[0]
            # That of a map that grows only grows.
            whole = self._contrast.to_maximum or "unfinished" in about
            return level.limits(tuple(steps.values()), signed=about["signed"], to_maximum=whole)
        to_maximum, which = self._contrast.to_maximum, self._shown_part(layer, steps)
        given = self._given_limits.get(layer.unique_id)
        if given is not None and not to_maximum and all(at is None for at in which):
            return given
        key = layer.unique_id, which, to_maximum
        kept = self._kept_limits.get(key)
        if kept is None or kept[0]() is not layer.data or "unfinished" in about:
            part = tuple(slice(None) if at is None else at for at in which)
            fitting = limits(
                np.asarray(layer.data[part]), signed=about["signed"], unit=about.get("unit", ""),
                to_maximum=to_maximum,
            )  # fmt: skip
            # Held weakly: a layer that is removed takes its values with it.
            kept = self._kept_limits[key] = weakref.ref(layer.data), fitting
        return kept[1]

    def _shown_part(self, layer: Any, steps: dict[str, int]) -> tuple[int | None, ...]:
        """Return where on a layer's axes lies what one contrast is of; None: all along an axis."""
        about = layer.metadata[KEY]
        if not {"axes", "space"} <= set(about) or len(about["axes"]) > layer.ndim:
            # The user has given it other data.
            return ()
        common = self._contrast.common
        first = len(about["axes"]) - len(about["space"])
        which: list[int | None] = [
            None if common and axis == "layer" else steps.get(axis)
            for axis in about["axes"][:first]
        ]
        which += [None] * (layer.ndim - first)
        sizes, space = layer.data.shape, spatial_axes(about, layer.ndim)
        planes = [n for n in range(first, layer.ndim) if n not in space and sizes[n] > 1]
        if planes and not common:
            index = shown_index(layer, self._viewer)
            for axis in planes:
                which[axis] = min(max(index[axis], 0), sizes[axis] - 1)
        return tuple(which)

    def update(self, event: Any = None) -> None:
        """Fit the layers to the steps that the sliders are at, and show the steps' names."""
        # Dicts, since what is said of several layers is said once.
        lines: dict[str, Any] = {}
        below: dict[str, Any] = {}
        for layer in self._viewer.layers:
            shown = layer.metadata.get(KEY, {})
            if layer.visible and "warning" in shown:
                below[f"⚠ {on_canvas(shown['title'])} fails the randomisation check"] = layer
            if layer.visible and (reached := _reached(shown)):
                below[f"{on_canvas(shown['title'])}: {reached} so far"] = layer
            steps = steps_of(self._viewer, layer)
            if layer.visible and self._is_fitted(layer):
                self._fit(layer, self._fitting(layer, steps))
            if not layer.visible or not (steps or is_map(layer.metadata)):
                continue
            outdated = OUT_OF_DATE if self._maps.is_outdated(layer) else ""
            kept = KEPT if self._maps.is_kept(layer) else ""
            lines[f"{_in_words(shown, steps)}{kept}{outdated}"] = layer
            if not steps:
                continue
            if (kind := kind_of(layer.metadata)) is not None:
                kind.follow(layer, steps)
        # The topmost first.
        words = "\n".join([*reversed(lines), *below])
        overlay = text_overlay(self._viewer)
        if words or overlay.text:
            overlay.text = words
            overlay.visible = bool(words)


def _in_words(shown: dict[str, Any], steps: dict[str, int]) -> str:
    """Return what a map shows at some steps: its class, title, and layer with its shape."""
    labels, layers = shown["labels"], shown.get("layers", ())
    classes, rest = list(labels.get("target", ())), []
    if len(layers) == 1 and "layer" not in steps:
        rest += [layers[0], *_shape_in_words(shown, 0)]
    for axis, step in steps.items():
        (classes if axis == "class" else rest).extend(labels.get(axis, ())[step : step + 1])
        if axis == "layer":
            rest += _shape_in_words(shown, step)
    return " · ".join(map(on_canvas, [*classes, shown["title"], *rest]))


def _shape_in_words(shown: Mapping[str, Any], number: int) -> list[str]:
    """Return the shape of one of a map's layers, such as “16 × 360 × 360”, where it is known."""
    shapes = shown.get("layer_shapes") or ()
    return [" × ".join(map(str, shape)) for shape in shapes[number : number + 1]]


def _reached(metadata: Mapping[str, Any]) -> str:
    """Return how far the map of a layer came; "" where it is finished."""
    unfinished = metadata.get("unfinished")
    return Unfinished.from_json(unfinished).in_words() if unfinished else ""

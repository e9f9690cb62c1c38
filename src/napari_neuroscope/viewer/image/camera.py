"""Which pixels of an image the camera shows."""

from __future__ import annotations

import itertools
from typing import Any, cast

import numpy as np

from napari_neuroscope.engine.tiles.geometry import Window
from napari_neuroscope.viewer.image.image_pixels import Pixels


def camera_of(viewer: Any) -> Any:
    """Return the viewer's camera, whose place moved in napari 0.9."""
    scene = getattr(viewer, "scene", None)
    return viewer.camera if scene is None else scene.camera


def window_in_view(pixels: Pixels, viewer: Any) -> Window | None:
    """Return the pixels of an image's plane that the canvas shows, as their bounding box.

    Along axes that are not displayed it is the whole.

    Returns
    -------
    tuple of (first, stop)
        An axis each; None where nothing of the image is shown.
    """
    whole = tuple((0, n) for n in pixels.shape)
    if viewer.dims.ndisplay != 2:
        return whole
    if len(pixels.offset) != viewer.dims.ndim:
        # The image has just been given other axes, of which the viewer does not know yet.
        return whole
    # Of the world's axes that are displayed, those that the plane lies along.
    along = pixels.world_axes
    shown = [(n, axis) for n, axis in enumerate(viewer.dims.displayed) if axis in along]
    if not shown:
        return whole
    camera = camera_of(viewer)
    centre = np.asarray(camera.center, float)[-2:]
    half = np.asarray(_canvas_size(viewer), float) / camera.zoom / 2
    world = [axis for _, axis in shown]
    drawn_axes = [along.index(axis) for axis in world]
    # What the other axes add is of the step that is shown.
    rest = [n for n in range(len(pixels.shape)) if n not in drawn_axes]
    point = np.asarray(viewer.dims.point, float)
    others = np.zeros(len(world))
    if rest:
        behind = [along[n] for n in rest]
        matrix = pixels.matrix[behind][:, rest]
        steps = np.linalg.solve(matrix, (point - pixels.offset)[behind])
        others = pixels.matrix[world][:, rest] @ steps
    corners = [
        [centre[n] + sign * half[n] for (n, _), sign in zip(shown, signs, strict=True)]
        for signs in itertools.product((-1, 1), repeat=len(shown))
    ]
    linear = pixels.matrix[world][:, drawn_axes]
    reached = np.linalg.solve(linear, (np.array(corners) - pixels.offset[world] - others).T)
    window = list(whole)
    for axis, low, high in zip(drawn_axes, reached.min(1), reached.max(1), strict=True):
        # Pixel i lies between i − ½ and i + ½.
        first = max(int(np.floor(low + 0.5)), 0)
        stop = min(int(np.ceil(high + 0.5)), pixels.shape[axis])
        if first >= stop:
            return None
        window[axis] = (first, stop)
    return tuple(window)


def _canvas_size(viewer: Any) -> tuple[float, float]:
    """Return height and width of what one image is drawn in, in the canvas's own pixels."""
    canvas = getattr(viewer, "canvas", None)
    if canvas is None:
        # napari before 0.9; a plugin's proxy keeps it back.
        return cast("tuple[float, float]", getattr(viewer, "__wrapped__", viewer)._canvas_size)
    return cast("tuple[float, float]", canvas.viewbox_size(viewer.layers))

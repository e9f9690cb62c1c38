"""The layers of a stack side by side, each map over its own copy of the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.ndimage import map_coordinates

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.colormaps import limits
from napari_neuroscope.engine.explanation.overlays.place import spatial_axes
from napari_neuroscope.engine.explanation.overlays.registry import kind_of
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.images.grid import Grid, resample
from napari_neuroscope.viewer.image.image_pixels import Pixels, plane_axes, shown_index
from napari_neuroscope.viewer.layers.mosaic import arranged
from napari_neuroscope.viewer.layers.plain_names import named, on_canvas
from napari_neuroscope.viewer.state.stack_contrast import StackContrast

MOST = 48
"""More tiles than these are too small to see."""
_SIDE = 192


class SideBySide:
    """Three layers beside the image: its copies, the maps on them, and the layers' names.

    Parameters
    ----------
    viewer
        The viewer.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._layers: dict[str, Any] = {}

    def show(
        self,
        stack: Any,
        values: np.ndarray,
        names: Sequence[str],
        image: Any,
        contrast: StackContrast,
    ) -> int:
        """Show maps (layer, *space) of a stack in tiles; return how many there are.

        Parameters
        ----------
        stack
            The napari layer that they are of.
        values, names
            The maps and what they are called; of more than `MOST`, some are left out evenly.
        image
            The napari layer of the image.
        contrast
            Whether the colours mean the same in all tiles, else each is scaled to its own contrast;
            and whether they end at the greatest value.
        """
        if values.ndim < 3:
            raise NeuroscopeError("Maps along one axis can't be laid side by side.")
        # Of volumes the plane that is shown.
        space = spatial_axes(stack.metadata[KEY], stack.ndim)
        seen = shown_index(stack, self._viewer)
        for axis in space[:-2]:
            values = values[:, min(max(seen[axis], 0), values.shape[1] - 1)]
        if len(values) > MOST:
            chosen = np.unique(np.linspace(0, len(values) - 1, MOST).round().astype(int))
            values, names = values[chosen], [names[number] for number in chosen]
        fine = _finer(values)
        signed = bool(stack.metadata[KEY]["signed"])
        to_maximum = contrast.to_maximum
        span = limits(fine, signed=signed, to_maximum=to_maximum)
        if not contrast.common:
            ends = [limits(tile, signed=signed, to_maximum=to_maximum)[1] for tile in fine]
            fine = fine / np.reshape(ends, (-1, 1, 1))
            span = (-1.0 if signed else 0.0, 1.0)
        shape = np.array(fine.shape[1:])
        maps, corners = arranged(fine)
        kind = kind_of(stack.metadata)
        look = None if kind is None else kind.tile_look(maps, signed=signed)
        if look is None:
            raise NeuroscopeError(f"The layers of “{stack.name}” can't be laid side by side.")
        if "contrast_limits" in look:
            look = {**look, "contrast_limits": span}
        pixels = Pixels.of(stack, space[-2:], self._viewer)
        under = _sampled(image, pixels, values.shape[1:], tuple(shape), self._viewer)
        pictures, _ = arranged(np.repeat(under[None], len(fine), 0))
        place = self._place(stack, list(space[-2:]), shape)
        rgb = pictures.ndim == 3
        self._put("image", pictures, "image", {
            "name": "Side by side: image", "rgb": rgb, "blending": "opaque", **place,
            **({} if rgb else {"colormap": image.colormap, "contrast_limits": image.contrast_limits}),
        })  # fmt: skip
        self._put("maps", maps, "image", {
            "name": f"Side by side: {stack.metadata[KEY]['title']}", "rgb": False,
            "blending": "translucent_no_depth", **look, **place,
        })  # fmt: skip
        at = np.array(corners, float) + shape * (0.11, 0.03)
        self._put("names", at, "points", {
            "name": "Side by side: layers", "size": 0.01, "opacity": 1.0,
            "text": {"string": {"array": [on_canvas(name) for name in names]}, "anchor": "upper_left", "color": "white",
                     "size": 11},
            "face_color": "transparent", "border_color": "transparent", **place,
        })  # fmt: skip
        return len(fine)

    def _place(self, stack: Any, plane: list[int], shape: np.ndarray) -> dict[str, Any]:
        """Return where the tiles lie: to the right of the stack, at its own size."""
        corners = np.asarray(stack.extent.world)[:, plane]
        sides = np.array(stack.data.shape)[plane]
        step = np.abs(np.asarray(stack.scale)[plane] * sides / shape)
        gap = 0.1 * (corners[1, 1] - corners[0, 1])
        translate = np.array([corners[0, 0], corners[1, 1] + gap])
        return {
            "scale": step,
            "translate": translate,
            "units": tuple(stack.units[n] for n in plane),
        }

    def _put(self, part: str, array: np.ndarray, kind: str, attributes: dict[str, Any]) -> None:
        """Show a part, in the layer of the part before where that still fits."""
        old = self._layers.get(part)
        there = old is not None and old in self._viewer.layers
        look = {"rgb": attributes.get("rgb"), "colours": _name_of(attributes.get("colormap"))}
        about = {KEY: {"method": "side by side", **look}}
        attributes = named(attributes)
        if old is not None and there and kind == "image" and old.metadata == about:
            old.data = array
            for name in ("name", "scale", "translate", "contrast_limits"):
                if name in attributes:
                    setattr(old, name, attributes[name])
            return
        attributes["metadata"] = about
        active = self._viewer.layers.selection.active
        if there:
            self._viewer.layers.remove(old)
        self._layers[part] = getattr(self._viewer, f"add_{kind}")(array, **attributes)
        # What was worked with stays chosen.
        if active is not None and active in self._viewer.layers:
            self._viewer.layers.selection.active = active


def _name_of(colormap: Any) -> str:
    """Return the name of a colour map of napari, or of one that napari is given as a dict."""
    name = colormap.get("name") if isinstance(colormap, dict) else getattr(colormap, "name", None)
    return name or ""


def _finer(values: np.ndarray) -> np.ndarray:
    """Return maps (layer, y, x) with enough pixels to be seen, about `_SIDE` on the longer side."""
    longest = max(values.shape[1:])
    grid = Grid.of_image(values.shape[1:])
    factor = _SIDE / longest
    wanted = tuple(max(1, round(n * factor)) for n in values.shape[1:])
    fine = resample(torch.from_numpy(np.ascontiguousarray(values, np.float32)), grid,
                    grid.divided(wanted))  # fmt: skip
    return fine.numpy()


def _sampled(
    image: Any, pixels: Pixels, given: Sequence[int], wanted: tuple[int, ...], viewer: Any
) -> np.ndarray:
    """Return the image at the pixels of a tile: (y, x), or (y, x, colour)."""
    finest = image.data[0] if getattr(image, "multiscale", False) else image.data
    matrix, offset = pixels.into(image, viewer)
    grid = Grid.of_image(given).divided(wanted)
    places = [np.arange(n) * s + o
              for n, s, o in zip(wanted, grid.scale, grid.offset, strict=True)]  # fmt: skip
    at = np.stack(np.meshgrid(*places, indexing="ij"))
    coordinates = np.tensordot(matrix, at, 1) + offset.reshape(-1, 1, 1)
    along = plane_axes(matrix)
    # The axes of a stack of images stand at whole planes: only the plane is read.
    cut = tuple(
        slice(None) if n in along else int(np.clip(round(float(axis.flat[0])), 0, size - 1))
        for n, (axis, size) in enumerate(zip(coordinates, finest.shape, strict=False))
    )
    values, coordinates = np.asarray(finest[cut]), coordinates[along]
    if values.ndim == 2:
        return np.asarray(
            map_coordinates(values.astype(np.float32), coordinates, order=1, mode="nearest")
        )
    colours = [map_coordinates(values[..., number].astype(np.float32), coordinates, order=1,
                               mode="nearest") for number in range(values.shape[-1])]  # fmt: skip
    picture = np.stack(colours, -1)
    return picture.clip(0, 255).astype(np.uint8) if values.dtype == np.uint8 else picture

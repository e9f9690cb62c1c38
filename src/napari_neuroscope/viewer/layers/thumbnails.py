"""Small pictures of the maps of an explanation, one a layer of the network."""

from __future__ import annotations

import numpy as np
from napari.utils import Colormap

from napari_neuroscope.engine.explanation.colormaps import limits, map_colormap
from napari_neuroscope.engine.explanation.explanation import Explanation

_SIDE = 72


def layer_maps(explanation: Explanation) -> dict[str, np.ndarray]:
    """Return a picture of each layer's map, of the first class: uint8 (y, x, 4).

    Each has a contrast of its own, as layers differ by orders of magnitude. Of a volume it is the middle plane.
    """
    layers = explanation.record.layers
    if explanation.is_table or not layers:
        return {}
    stacked = explanation.values[None]
    if "layer" in explanation.axes:
        stacked = np.moveaxis(explanation.values, explanation.axes.index("layer"), 0)
    colours = Colormap(**map_colormap(signed=explanation.signed))
    maps = {}
    for name, values in zip(layers, stacked, strict=True):
        axes = [a for a in explanation.axes if a != "layer"]
        while values.ndim > 2:
            middle = values.shape[0] // 2 if axes.pop(0) in ("z", "y", "x") else 0
            values = values[middle]  # noqa: PLW2901
        step = max(1, -(-max(values.shape) // _SIDE))
        small = np.nan_to_num(values[::step, ::step])
        low, high = limits(small, signed=explanation.signed, unit=explanation.unit)
        scaled = ((small - low) / (high - low)).clip(0, 1)
        mapped = colours.map(scaled.ravel()).reshape(*small.shape, 4)
        maps[name] = np.ascontiguousarray((255 * mapped).astype(np.uint8))
    return maps

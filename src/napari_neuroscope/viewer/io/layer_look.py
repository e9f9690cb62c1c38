"""How a layer looks, as plain JSON of a saved explanation, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from napari.utils import Colormap

from napari_neuroscope.engine.explanation.overlays.kind import LayerData, OverlayKind
from napari_neuroscope.engine.explanation.overlays.registry import kind_of
from napari_neuroscope.engine.plain_text import visible

# What napari knows; another word in a file would be an error of it.
_WORDS = {
    "blending": ("translucent", "translucent_no_depth", "additive", "minimum", "opaque",
                 "multiplicative"),
    "interpolation2d": ("bessel", "cubic", "linear", "blackman", "catrom", "gaussian", "hamming",
                        "hanning", "hermite", "kaiser", "lanczos", "mitchell", "nearest",
                        "spline16", "spline36"),
}  # fmt: skip
_LONGEST_NAME = 300


def look_of(layer: LayerData) -> dict[str, Any]:
    """Return how a layer of an overlay looks, as plain JSON: what its kind says of it."""
    _, attributes, _ = layer
    kind = kind_of(attributes["metadata"])
    names = () if kind is None else kind.look
    look = {
        name: _plain(attributes[name])
        for name in names
        if name in attributes and name != "colormap"
    }
    colormap = attributes.get("colormap")
    if "colormap" in names and isinstance(colormap, Mapping) and "controls" in colormap:
        look["colormap"] = {
            "name": str(colormap["name"]),
            "colors": np.asarray(colormap["colors"], float).tolist(),
            "controls": np.asarray(colormap["controls"], float).tolist(),
            "interpolation": str(_plain(colormap["interpolation"])),
        }
    return look


def with_look(attributes: Mapping[str, Any], kind: OverlayKind, look: Mapping[str, Any]) -> Any:
    """Return a layer's attributes as they were when it was saved."""
    saved = {
        name: look[name]
        for name in kind.look
        if name in look and (name not in _WORDS or look[name] in _WORDS[name])
    }
    colormap = saved.pop("colormap", None)
    if colormap is not None and not attributes.get("rgb", False):
        saved["colormap"] = Colormap(
            colormap["colors"],
            name=str(colormap["name"]),
            controls=colormap["controls"],
            interpolation=colormap["interpolation"],
        )
    shown = {**attributes, **saved}
    # It is a file's word.
    return {**shown, "name": visible(str(shown["name"]), _LONGEST_NAME)}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple | np.ndarray):
        return np.asarray(value, float).tolist()
    return value.item() if isinstance(value, np.generic) else getattr(value, "value", value)

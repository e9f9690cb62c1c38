"""Which classes are seen on the canvas, and in which colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_neuroscope.engine.explanation.overlays.class_labels import class_of_label
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.viewer.image.image_pixels import shown_index
from napari_neuroscope.viewer.layers.plain_names import on_canvas

MOST = 12
"""More classes of a layer than these are counted, not named."""
# Enough pixels to tell which classes there are.
_MANY = 1 << 21


@dataclass(frozen=True)
class LegendSection:
    """What the colours of one layer mean.

    Attributes
    ----------
    title
        The layer's name.
    entries
        The name and the colour, red green blue of 0..255, of each class that is seen.
    more
        How many more classes are seen.
    outlined
        Whether their outlines are drawn.
    """

    title: str
    entries: tuple[tuple[str, tuple[int, int, int]], ...]
    more: int = 0
    outlined: bool = False


def legend_of(viewer: Any) -> tuple[LegendSection, ...]:
    """Return what the colours of our visible layers of classes mean, the topmost first.

    Classes that are clear, or are not in the plane that is shown, are left out.
    """
    sections = []
    for layer in reversed(viewer.layers):
        if layer.visible and layer.opacity > 0 and KEY in layer.metadata:
            section = _section(layer, viewer)
            if section is not None:
                sections.append(section)
    return tuple(sections)


def _section(layer: Any, viewer: Any) -> LegendSection | None:
    if not hasattr(layer, "contour") or not hasattr(layer, "get_color"):
        return None
    named = class_of_label(layer.features)
    if not named:
        return None
    entries = []
    for label in _labels_seen(layer, viewer):
        colour = layer.get_color(label) if label in named else None
        if colour is not None and colour[3] > 0:
            red, green, blue = (round(255 * float(part)) for part in colour[:3])
            entries.append((on_canvas(named[label]), (red, green, blue)))
    if not entries:
        return None
    return LegendSection(
        on_canvas(layer.name), tuple(entries[:MOST]), max(len(entries) - MOST, 0), layer.contour > 0
    )


def _labels_seen(layer: Any, viewer: Any) -> list[int]:
    """Return the labels in the plane of a layer that is shown, in their order."""
    labels = layer.data[0] if getattr(layer, "multiscale", False) else layer.data
    drawn = {n - (viewer.dims.ndim - layer.ndim) for n in viewer.dims.displayed}
    if len(drawn & set(range(layer.ndim))) < layer.ndim:
        index = shown_index(layer, viewer)
        if any(not 0 <= index[n] < labels.shape[n] for n in range(layer.ndim) if n not in drawn):
            return []
        labels = labels[tuple(slice(None) if n in drawn else index[n] for n in range(layer.ndim))]
    while labels.size > _MANY:
        labels = labels[(slice(None, None, 2),) * labels.ndim]
    return [int(label) for label in np.flatnonzero(np.bincount(np.ravel(labels).clip(0)))]

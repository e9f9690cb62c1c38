"""Large maps as multiscale layers, which are looked at while they are still written."""

from __future__ import annotations

import math
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_neuroscope.engine.explanation.colormaps import PERCENTILE, SPARSE
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.overlays.kind import LayerData
from napari_neuroscope.engine.explanation.overlays.place import Place
from napari_neuroscope.engine.explanation.overlays.registry import map_layer
from napari_neuroscope.engine.images.pyramid import Pyramid
from napari_neuroscope.viewer.state.viewer_state import without_proxy

# Larger maps are kept on the disk.
_IN_MEMORY_BYTES = 500_000_000


def make_room(shape: Sequence[int], space: int) -> Pyramid:
    """Return an empty map of `shape`, in memory or, where it is large, in a folder of its own.

    The folder is removed when nothing shows the map any more, or the program ends.
    """
    if 4 * math.prod(shape) <= _IN_MEMORY_BYTES:
        return Pyramid(shape, space)
    folder = Path(tempfile.mkdtemp(prefix="neuroscope-"))
    try:
        made = Pyramid(shape, space, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(made, shutil.rmtree, folder, ignore_errors=True)
    return made


class Level:
    """A level of a pyramid as a layer takes it: an array that can be sliced.

    Parameters
    ----------
    pyramid, number
        Which level of what.
    leading
        How many axes the map has before those of the image's layer.
    place
        Which of the layer's axes the others are; the rest have one step.
    """

    def __init__(self, pyramid: Pyramid, number: int, leading: int, place: Place) -> None:
        self.pyramid, self._array = pyramid, pyramid.levels[number]
        self._leading, self._place = leading, place
        self.shape = self._laid(self._array.shape)
        self.ndim, self.size = len(self.shape), math.prod(self.shape)
        self.dtype = np.dtype(self._array.dtype)
        chunks = getattr(self._array, "chunks", None)
        self.chunks = None if chunks is None else self._laid(chunks)

    def _laid(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """Return one number an axis of the map as one an axis of the layer."""
        laid = [sizes[self._leading + n] for n in self._place.order]
        for axis in self._place.one_step:
            laid.insert(axis, 1)
        return (*sizes[: self._leading], *laid)

    def __getitem__(self, key: Any) -> np.ndarray:
        key = key if isinstance(key, tuple) else (key,)
        if Ellipsis in key:
            at = key.index(Ellipsis)
            key = (*key[:at], *(slice(None),) * (self.ndim - len(key) + 1), *key[at + 1 :])
        key = (*key, *(slice(None),) * (self.ndim - len(key)))
        first, place = self._leading, self._place
        map_axes = [*range(first), *(first + n for n in (*place.stack, *place.space))]
        values = np.asarray(self._array[tuple(key[n] for n in map_axes)])
        # An axis is there or not, as it is sliced or indexed.
        kept = [n for n in map_axes if isinstance(key[n], slice)]
        values = values.transpose([kept.index(n) for n in sorted(kept)])
        sliced = [n for n in range(self.ndim) if isinstance(key[n], slice)]
        single = [n for n, axis in enumerate(sliced) if axis not in kept]
        return np.expand_dims(values, single)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        # Of a level in memory not a copy: napari keeps the coarsest, which goes on growing.
        laid: np.ndarray = self._place.laid(np.asarray(self._array, dtype), self._leading)
        return laid

    def limits(
        self, steps: Sequence[int], *, signed: bool, to_maximum: bool = True
    ) -> tuple[float, float]:
        """Return the contrast limits of some steps of its first axes, by what was written so far.

        They end at the greatest magnitude, or at the percentile at which those of other maps end.
        """
        most = float(self.pyramid.most[tuple(steps)].max())
        if not to_maximum:
            most = self.pyramid.percentile(steps, PERCENTILE, SPARSE)
        most = most or 1.0
        return (-most if signed else 0.0, most)


def grown_data(
    explanation: Explanation,
    pyramid: Pyramid,
    source: Any = None,
    plane: Sequence[int] | Place = (),
) -> list[LayerData]:
    """Return an explanation whose values a pyramid holds as layer data.

    Nothing of the map is read. What is small enough to be seen at once is no multiscale layer.
    """
    if len(pyramid.levels) == 1:
        return explanation.to_layer_data(source, plane)
    leading = len(explanation.leading)
    # How a map looks hangs on its axes and its record, not on its values.
    pixel = np.zeros((1,) * len(explanation.axes), np.float32)
    overlay = replace(explanation.overlay_source(source, plane), values=pixel)
    _, attributes, layer_type = map_layer(overlay)
    place = overlay.placement.place
    levels = [Level(pyramid, n, leading, place) for n in range(len(pyramid.levels))]
    attributes["multiscale"] = True
    attributes["contrast_limits"] = levels[0].limits((), signed=explanation.signed)
    return [(levels, attributes, layer_type)]


def goes_on(layer: Any, levels: Any) -> bool:
    """Whether a layer already shows the map that new levels are of, and need only be drawn anew."""
    if not getattr(layer, "multiscale", False) or not isinstance(levels, list):
        return False
    old, new = without_proxy(layer.data[0]), without_proxy(levels[0])
    return (
        isinstance(old, Level)
        and isinstance(new, Level)
        and old.shape == new.shape
        and old.pyramid is new.pyramid
    )

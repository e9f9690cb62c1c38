"""Whether an image's pixels are as large as those that a network learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.viewer.image.shown_image import axes_of_layer

# Within a tenth, a network sees no difference.
_ALIKE = 1.1


def size_note(network: Network, layer: Any) -> str:
    """Return a sentence where pixels differ by more than a tenth; else, or not known, nothing.

    Parameters
    ----------
    network
        Its spec's ``pixel_size`` says from what it learnt.
    layer
        The image layer, whose scale and units say how large its pixels are.
    """
    axes = len(network.spec.input.space)
    if network.spec.pixel_size is None or layer.ndim < axes:
        return ""
    try:
        space = axes_of_layer(layer, network).space
    except NeuroscopeError:
        # What it can't be read as is said where it is looked at.
        return ""
    pixel_sides = _micrometres(layer)[list(space)]
    if not pixel_sides.all():
        return ""
    learnt = np.array(network.spec.steps) * min(network.spec.pixel_size)
    factor = pixel_sides / learnt
    if (np.maximum(factor, 1 / factor) <= _ALIKE).all():
        return ""
    return (
        f"The pixels of “{layer.name}” are {_by(pixel_sides)} µm, but the network learnt from "
        f"{_by(learnt)} µm: it may mistake what it sees. Resample the image to "
        f"{_by(factor)} times as many, or correct its scale, or the spec's pixel_size."
    )


def _micrometres(layer: Any) -> np.ndarray:
    """Return how long a layer's pixels are along each axis; 0 where its unit is no length."""
    from pint import DimensionalityError, get_application_registry

    quantity = get_application_registry().Quantity
    lengths = np.zeros(layer.ndim)
    for axis, unit in enumerate(layer.units):
        # Of time, or of pixels that are of unknown size, there are none.
        with suppress(DimensionalityError):
            lengths[axis] = quantity(1, unit).to("micrometer").magnitude
    zero = np.asarray(layer.data_to_world(np.zeros(layer.ndim)), float)
    steps = [np.asarray(layer.data_to_world(unit), float) - zero for unit in np.eye(layer.ndim)]
    return np.asarray(np.linalg.norm(np.array(steps) * lengths, axis=1))


def _by(numbers: Sequence[float] | np.ndarray) -> str:
    return " × ".join(f"{number:.3g}" for number in numbers)

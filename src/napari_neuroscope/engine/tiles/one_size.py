"""Images larger than the one size that a segmenter takes, where nothing says what to do with them."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.images.axes import image_axes_of
from napari_neuroscope.engine.passes.model import Model
from napari_neuroscope.engine.spec.input_spec import InputSpec
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from napari_neuroscope.engine.tiles.check import check_by_noise
from napari_neuroscope.engine.tiles.geometry import Geometry
from napari_neuroscope.engine.tiles.tiling import Tiling


def find_spec_of_tiles(network: Model, *, is_published: bool) -> ModelSpec | None:
    """Return the spec by which a network of one size is run tile by tile; None if it can't be.

    Parameters
    ----------
    network
        The network.
    is_published
        Whether its package says its size, and how images are brought to it is left to who runs it.
    """
    if not leaves_size_open(network, is_published=is_published):
        return None
    size = network.spec.input.size
    assert isinstance(size, tuple)
    spec = network.spec.with_input(resize="tile")
    try:
        geometry = Geometry.of(network.layers, spec)
        with network.frozen():
            check_by_noise(network, geometry, tuple(2 * n for n in size), [], [])
    except NeuroscopeError:
        return None
    for halo in (spec.input.halo, min(size) // 4):
        stated = spec if halo is None else spec.with_input(halo=halo)
        margins = Tiling().margins(geometry, stated)
        try:
            geometry.tiles(
                [n + b for n, b in zip(size, geometry.block, strict=True)], size, margins
            )
        except NeuroscopeError:
            continue
        return stated
    return None


def leaves_size_open(network: Model, *, is_published: bool) -> bool:
    """Whether a network takes one size alone, and nobody said what is done with others."""
    spec = network.spec
    if spec.task != "segmentation" or not isinstance(spec.input.size, tuple):
        return False
    is_implied = is_published and spec.input.resize == "fit"
    is_stated = "resize" in network.stated.input.model_fields_set
    return is_implied or (not is_stated and _takes_one_size(network))


def _takes_one_size(network: Model) -> bool:
    """Whether images of one size alone fit the model itself, whatever the spec says."""
    if "size" not in network.stated.input.model_fields_set:
        return isinstance(network.spec.input.size, tuple)
    axes_alone = ModelSpec(input=InputSpec(axes=network.spec.input.axes))
    size = network.adapter.completed(axes_alone).input.size
    return isinstance(size, tuple) or network.adapter.example_shape() is not None


def is_larger(spec: ModelSpec, image: Any, channels: int) -> bool:
    """Whether an image has more pixels along an axis than the one size that a network takes."""
    shape, space, size = np.shape(image), spec.input.space, spec.input.size
    if not isinstance(size, tuple):
        return False
    axes = image_axes_of(shape, spec, channels)
    sizes = dict(zip(axes, shape, strict=True))
    return any(sizes[axis] > most for axis, most in zip(space, size, strict=True))

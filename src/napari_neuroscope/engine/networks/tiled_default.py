"""Images larger than the one size that a segmenter takes, where nothing says what to do with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.images.axes import image_axes_of
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from napari_neuroscope.engine.tiles.check import check_by_noise
from napari_neuroscope.engine.tiles.geometry import Geometry, Tiling

if TYPE_CHECKING:
    from napari_neuroscope.engine.networks.network import Network


def tiled_for(network: Network, image: Any) -> Network | None:
    """Return the network as it is run tile by tile, for an image larger than its one size.

    None where the image is not larger, its spec says what to do, or it is not convolutional.
    """
    if not _is_open(network) or not is_larger(network.spec, image, network.channels):
        return None
    return network.tiled


def find_spec_of_tiles(network: Network) -> ModelSpec | None:
    """Return the spec by which a network of one size is run tile by tile; None if it can't be."""
    if not _is_open(network):
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


def _is_open(network: Network) -> bool:
    """Whether a network takes one size alone, and nobody said what is done with others."""
    spec = network.spec
    if spec.task != "segmentation" or not isinstance(spec.input.size, tuple):
        return False
    # A package says its size; how images are brought to it is left to who runs it.
    implied = network.published is not None and spec.input.resize == "fit"
    said = "resize" in network.stated.input.model_fields_set
    return implied or (not said and network.takes_one_size)


def is_larger(spec: ModelSpec, image: Any, channels: int) -> bool:
    """Whether an image has more pixels along an axis than the one size that a network takes."""
    shape, space, size = np.shape(image), spec.input.space, spec.input.size
    if not isinstance(size, tuple):
        return False
    axes = image_axes_of(shape, spec, channels)
    sizes = dict(zip(axes, shape, strict=True))
    return any(sizes[axis] > most for axis, most in zip(space, size, strict=True))

"""Parts of an image: how large an image is passed as a whole, and a part as an image of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError, Progress, no_progress
from napari_neuroscope.engine.explain.explain import explain
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.images.axes import image_axes_of, in_read_order
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.target import Instance, Mask, Target
from napari_neuroscope.engine.tiles.geometry import Geometry, Window
from napari_neuroscope.engine.tiles.reader import padded_shape

ONE_PASS = 1 << 22
"""So many pixels of an image go through a segmenter at once at most; larger ones go in tiles."""
_MIDDLE = {1: 1 << 16, 2: 1024, 3: 96}


def is_large(network: Network, shape: Sequence[int]) -> bool:
    """Whether an image of `shape` (*space) is too large for one pass of a segmenter.

    Classifiers, and segmenters of one size, bring an image to their own size.
    """
    segments = network.spec.task == "segmentation"
    return segments and not _has_own_size(network) and math.prod(shape) > ONE_PASS


def _has_own_size(network: Network) -> bool:
    return isinstance(network.spec.input.size, tuple) and network.spec.input.resize != "tile"


def why_not_tiled(network: Network, method: str, shape: Sequence[int]) -> str:
    """Return why an image of `shape` (*space) can't be explained tile by tile; empty where it can.

    Parameters
    ----------
    network
        One that has looked at an image.
    """
    spec = network.spec
    if spec.task != "segmentation":
        return "a classifier answers once for an image"
    if methods[method].tiles is None:
        return f"{methods[method].title} looks at an image as a whole"
    try:
        stride = Geometry.of(network.layers, spec).block
    except NeuroscopeError:
        return "the network's layers look at an image as a whole"
    brought = "the network brings an image to another size before it looks at it"
    if _has_own_size(network):
        return brought
    try:
        padded_shape(tuple(shape), spec, stride)
    except NeuroscopeError:
        return brought
    return ""


def middle(shape: Sequence[int]) -> Window:
    """Return the window in the middle of a large image that says what there is in it."""
    sizes = [min(n, _MIDDLE[len(shape)]) for n in shape]
    return tuple(
        ((n - size) // 2, (n - size) // 2 + size) for n, size in zip(shape, sizes, strict=True)
    )


def cut_of(network: Network, shape: Sequence[int], window: Window) -> tuple[slice, ...]:
    """Return what a window is of an image of `shape`, of axes as the network takes them."""
    space = network.spec.input.space
    axes = image_axes_of(shape, network.spec, network.channels)
    ends = dict(zip(space, window, strict=True))
    return tuple(slice(*ends[axis]) if axis in ends else slice(None) for axis in axes)


def sides_of(network: Network, shape: Sequence[int]) -> tuple[int, ...]:
    """Return the pixels of an image of `shape` along the axes that the network looks along."""
    space = network.spec.input.space
    axes = image_axes_of(shape, network.spec, network.channels)
    return tuple(int(shape[axes.index(axis)]) for axis in space)


def explain_crop(
    network: Network,
    image: Any,
    crop: Window,
    /,
    method: str,
    target: Any = None,
    layer: Any = None,
    *,
    progress: Progress = no_progress,
    partial: Any = None,
    **options: Any,
) -> Explanation:
    """Explain a part of an image as if it were an image of its own.

    The network sees nothing of what lies around it, so this differs from that part of the whole
    image's explanation; its record says so.

    Parameters
    ----------
    network, method, target, layer, progress, partial, **options
        As `explain` takes them; regions are of the whole image.
    image
        What can be sliced, of axes as the spec's ``image_axes``.
    crop
        Which part of it: (first, stop) of each spatial axis.

    Returns
    -------
    Explanation
        It lies on the whole image.
    """
    image = in_read_order(image, network.spec, network.channels)
    cut, sides = cut_of(network, image.shape, crop), sides_of(network, image.shape)
    several = isinstance(target, list | tuple)
    targets = [_cropped(Target.of(given), crop) for given in (target if several else [target])]

    def moved(explanation: Explanation) -> Explanation:
        grid = moved_by(explanation.grid, crop)
        words = " × ".join(f"{first} to {stop}" for first, stop in crop)
        note = f"the pixels {words} were explained as an image of their own"
        record = replace(explanation.record, crop=[list(ends) for ends in crop]).with_notes(note)
        # Asked so of the whole image, the answer would be another.
        return replace(
            explanation, grid=grid, image=Grid.of_image(sides), record=record, request=None
        )

    explanation = explain(
        network,
        np.array(image[cut]),
        method,
        targets if several else None if target is None else targets[0],
        layer,
        keep="fit",
        progress=progress,
        partial=None if partial is None else lambda so_far: partial(moved(so_far)),
        **options,
    )
    return moved(explanation)


def moved_by(grid: Grid, window: Window) -> Grid:
    """Return a grid over a window of an image as one over the image."""
    starts = [first for first, _ in window]
    offset = tuple(o + first for o, first in zip(grid.offset, starts, strict=True))
    return replace(grid, offset=offset)


def _cropped(target: Target, window: Window) -> Target:
    """Return a target with its region, given on the whole image, on a part of it."""
    region = target.region
    cut = tuple(slice(*ends) for ends in window)
    if isinstance(region, str):
        return target
    if isinstance(region, Instance):
        region = replace(region, labels=np.asarray(region.labels[cut]))
    elif isinstance(region, Mask):
        region = replace(region, values=np.asarray(region.values[cut]))
    elif np.ndim(region) == 1:
        region = tuple(at - first for at, (first, _) in zip(region, window, strict=True))
    else:
        region = np.asarray(region[cut])
    return replace(target, region=region)

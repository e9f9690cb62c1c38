"""An image at a size that a network takes: stretched, fitted, cropped or padded, as the spec says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.plain_text import by_sides
from napari_neuroscope.engine.spec.input_spec import InputSpec, SizeRule
from napari_neuroscope.engine.spec.model_spec import ModelSpec

_INTERPOLATION = {1: "linear", 2: "bilinear", 3: "trilinear"}


def resize(values: Tensor, spec: InputSpec) -> tuple[Tensor, Grid]:
    """Return the values (channel, *space) at a size that the network takes, and their grid."""
    image = Grid.of_image(values.shape[1:])
    if spec.size is None or spec.resize in ("pad", "tile"):
        return values, image
    wanted = _wanted(spec.size, image.shape)
    if spec.resize == "stretch":
        return _interpolate(values, wanted, spec), image.divided(wanted)
    resized = _resized_shape(image.shape, wanted, spec)
    values, grid = _interpolate(values, resized, spec), image.divided(resized)
    if spec.resize == "fit":
        return values, grid
    # With a shorter side, as torchvision's Resize and CenterCrop do.
    halves = [(n - w) / 2 for n, w in zip(resized, wanted, strict=True)]
    start = [round(half) if spec.shorter_side else int(half) for half in halves]
    cut = tuple(slice(s, s + w) for s, w in zip(start, wanted, strict=True))
    return values[(slice(None), *cut)], grid.window(start, wanted)


def _resized_shape(
    shape: tuple[int, ...], wanted: tuple[int, ...], spec: InputSpec
) -> tuple[int, ...]:
    """Return the shape that keeps an image's aspect, before it is cut or padded."""
    if spec.shorter_side is not None:
        shortest = min(shape)
        return tuple(spec.shorter_side * n // shortest for n in shape)
    ratios = [w / n for w, n in zip(wanted, shape, strict=True)]
    ratio = max(ratios) if spec.resize == "crop" else min(ratios)
    return tuple(max(1, round(n * ratio)) for n in shape)


def shrunk_notes(spec: ModelSpec, grid: Grid, shape: Sequence[int]) -> list[str]:
    """Say that a segmenter of one size sees a larger image smaller than it is."""
    most = max(grid.scale)
    if spec.task != "segmentation" or not isinstance(spec.input.size, tuple) or most <= 1:
        return []
    return [
        f"the image of {by_sides(shape)} pixels was made {most:.3g} times smaller for the network, which "
        f"takes {by_sides(spec.input.size)}: objects are seen smaller than they are (the spec's "
        f"input.resize: tile runs a convolutional one over it tile by tile)"
    ]


def _wanted(size: SizeRule | tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    return size.smallest_shape(shape) if isinstance(size, SizeRule) else size


def _interpolate(values: Tensor, shape: tuple[int, ...], spec: InputSpec) -> Tensor:
    if tuple(values.shape[1:]) == shape:
        return values
    if spec.interpolation == "lanczos":
        out = _by_lanczos(values, shape)
    elif spec.interpolation == "nearest":
        out = functional.interpolate(values[None], shape, mode="nearest-exact")[0]
    else:
        smaller = any(m < n for m, n in zip(shape, values.shape[1:], strict=True))
        cubic = spec.interpolation == "bicubic"
        out = functional.interpolate(
            values[None],
            shape,
            mode="bicubic" if cubic else _INTERPOLATION[len(shape)],
            align_corners=False,
            # Pillow's bicubic kernel is another than OpenCV's, also where nothing is smoothed.
            antialias=spec.antialias and (smaller or cubic) and len(shape) == 2,
        )[0]
    overshoots = spec.interpolation in ("bicubic", "lanczos")
    if overshoots and values.min() >= 0 and values.max() <= 1:
        out = out.clamp(0, 1)
    return out


def _by_lanczos(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    from PIL import Image

    height, width = shape
    planes = [
        np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.LANCZOS))
        for plane in values.numpy()
    ]
    return torch.from_numpy(np.stack(planes))


def pad(
    values: Tensor, image_shape: Sequence[int], spec: InputSpec, black: Tensor
) -> tuple[Tensor, list[int]]:
    """Return normalised values at a size that the network takes, and where it begins in them."""
    shape = tuple(values.shape[1:])
    if spec.size is None:
        return values, [0] * len(shape)
    # What is fitted was made as large as the size of the image itself allows.
    wanted = _wanted(spec.size, tuple(image_shape) if spec.resize == "fit" else shape)
    if any(n > w for n, w in zip(shape, wanted, strict=True)):
        raise NeuroscopeError(
            f"The image is {by_sides(shape)}, larger than the network's {by_sides(wanted)}, and "
            f"padding can't make it smaller; set the spec's input.resize to fit, crop or stretch."
        )
    missing = [w - n for w, n in zip(wanted, shape, strict=True)]
    before = [m // 2 if spec.padding_place == "centre" else 0 for m in missing]
    if not any(missing):
        return values, [0] * len(shape)
    return _padded(values, wanted, before, spec, black), [-n for n in before]


def _padded(
    values: Tensor, shape: tuple[int, ...], before: Sequence[int], spec: InputSpec, black: Tensor
) -> Tensor:
    if spec.padding in ("zero", "black"):
        start = (
            black.reshape(-1, *[1] * len(shape)) if spec.padding == "black" else values.new_zeros(1)
        )
        out = start.expand(len(values), *shape).clone()
        inner = tuple(slice(b, b + n) for b, n in zip(before, values.shape[1:], strict=True))
        out[(slice(None), *inner)] = values
        return out
    mode: Literal["edge", "reflect"] = "edge" if spec.padding == "replicate" else "reflect"
    for axis, (wanted, first) in enumerate(zip(shape, before, strict=True), 1):
        count = values.shape[axis]
        which = np.pad(np.arange(count), (first, wanted - count - first), mode)
        values = values.index_select(axis, torch.from_numpy(which))
    return values

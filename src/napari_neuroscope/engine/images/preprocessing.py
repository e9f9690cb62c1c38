"""From an image of any kind to a network's input, and back to where its pixels lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from napari_neuroscope.engine.errors import Cancelled, NeuroscopeError
from napari_neuroscope.engine.files.told import reason_of
from napari_neuroscope.engine.images.axes import image_axes_of, in_read_order
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.spec.model_spec import InputSpec, ModelSpec, Normalization, SizeRule

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
_INTERPOLATION = {1: "linear", 2: "bilinear", 3: "trilinear"}
# Below this part of what its type holds, an image is likely of fewer bits.
_SMALL_PART = 0.1
_TOPS_OF_CAMERAS = (255, 1023, 4095, 16383)
_WORDS = {1: "gray", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class PreparedImage:
    """An image as a network takes it.

    Attributes
    ----------
    input
        Normalised values, float32 (channel, *space), channels in the network's order.
    image
        The grid of the image's own pixels.
    grid
        Where the input's pixels lie on the image.
    normalization
        The (gain, offset) a channel that made `input` of displayable values of 0..1.
    order
        The order of the channels: rgb, bgr, gray or n.
    notes
        What was decided on the way that a reader of the result should know.
    """

    input: Tensor
    image: Grid
    grid: Grid
    gain: Tensor
    shift: Tensor
    order: str
    notes: tuple[str, ...] = ()

    def displayable(self) -> Tensor:
        """Return the input, its normalisation undone: (channel, *space), RGB order, about 0..1."""
        shape = (-1,) + (1,) * (self.input.ndim - 1)
        shown = (self.input - self.shift.reshape(shape)) / self.gain.reshape(shape)
        return shown.flip(0) if self.order == "bgr" else shown

    def undisplayed(self, value: float) -> Tensor:
        """Return the input (channel, *space) that is displayable as one value everywhere."""
        shape = (-1,) + (1,) * (self.input.ndim - 1)
        return (value * self.gain + self.shift).reshape(shape).expand_as(self.input).clone()


def prepare(image: Any, spec: ModelSpec, channels: int) -> PreparedImage:
    """Bring an image to the input of a network.

    Parameters
    ----------
    image
        An array of any real type, of axes as its own names or ``spec.image_axes`` say, or as its
        shape tells.
    spec
        What the network expects.
    channels
        How many channels the network takes.

    Raises
    ------
    NeuroscopeError
        Where the image is empty, has no finite value or too large ones, or doesn't fit the network.
    """
    notes: list[str] = []
    values = as_array(in_read_order(image, spec, channels))
    values, image_channels = _channels_first(values, spec, channels)
    unit = _to_unit_range(values, spec.input.value_range, notes)
    unit = _match_channels(unit, image_channels, channels, spec.input.order)
    tensor, grid = _resize(torch.from_numpy(unit), spec.input)
    notes.extend(_shrunk_notes(spec, grid, values.shape[1:]))
    order = spec.input.order or {1: "gray", 3: "rgb"}.get(channels, "n")
    if order == "bgr":
        tensor, unit = tensor.flip(0), unit[::-1]
    tensor, gain, shift = _normalised(tensor, unit, spec.input.normalization, channels)
    if spec.input.resize in ("pad", "tile", "fit"):
        tensor, start = _pad(tensor, values.shape[1:], spec.input, shift)
        grid = grid.window(start, tensor.shape[1:])
    return PreparedImage(
        tensor.contiguous(), Grid.of_image(values.shape[1:]), grid, gain, shift, order, tuple(notes)
    )


def as_array(image: Any) -> np.ndarray:
    """Return an image of any kind as an array, checked to hold real numbers.

    Raises
    ------
    NeuroscopeError
        Where it is no array, empty, or of another type.
    """
    try:
        values = np.asarray(image.detach().cpu() if isinstance(image, Tensor) else image)
    except (NeuroscopeError, Cancelled):
        raise
    except Exception as error:
        raise NeuroscopeError(f"The image is no array: {reason_of(error)}.") from error
    if isinstance(image, np.ma.MaskedArray):
        values = _without_masked(image)
    if values.size == 0:
        raise NeuroscopeError(f"The image is empty: its shape is {values.shape}.")
    if values.dtype.kind not in "buif":
        raise NeuroscopeError(f"The image's type is {values.dtype}; real numbers are needed.")
    return values


def _without_masked(image: np.ma.MaskedArray[Any, Any]) -> np.ndarray:
    """Return an array in which masked values are NaN, of which is told where it is prepared."""
    masked = np.count_nonzero(np.ma.getmaskarray(image))
    if not masked:
        return np.asarray(image)
    if image.dtype.kind != "f":
        raise NeuroscopeError(
            f"The image has {masked:,} masked values, which are no numbers, and its type "
            f"{image.dtype} has none for them; fill them first, such as with image.filled(0)."
        )
    return np.asarray(image.filled(np.nan))


def _channels_first(values: np.ndarray, spec: ModelSpec, channels: int) -> tuple[np.ndarray, int]:
    space = spec.input.space
    axes = image_axes_of(values.shape, spec, channels)
    if "c" not in axes:
        values, axes = values[None], "c" + axes
    values = values.transpose([axes.index(axis) for axis in "c" + space])
    return values, values.shape[0]


def _to_unit_range(values: np.ndarray, value_range: Any, notes: list[str]) -> np.ndarray:
    """Return float32 values, of 0..1 as `value_range` says."""
    if values.dtype.kind == "f":
        if values.dtype.itemsize > 8:
            with np.errstate(over="ignore"):
                values = values.astype(np.float64)
        finite = np.isfinite(values)
        if not finite.any():
            raise NeuroscopeError("The image has no finite value: every pixel is NaN or infinite.")
        if not finite.all():
            lowest = values[finite].min()
            values = np.where(finite, values, lowest)
            notes.append(
                f"{np.count_nonzero(~finite)} values that are not finite were read as "
                f"the lowest, {lowest:g}"
            )
    low, high = range_of(values, value_range, notes)
    with np.errstate(over="ignore"):
        span = high - low
        # In double precision, so that 32-bit whole numbers keep their digits.
        wide = values.astype(np.float64)
        if np.isfinite(span):
            scaled = (wide - low) / (span if span else 1.0)
        else:
            scaled = (wide / 2 - low / 2) / (high / 2 - low / 2)
        single = scaled.astype(np.float32)
    if not np.isfinite(single).all():
        raise NeuroscopeError(
            f"The image's values run from {float(values.min()):g} to {float(values.max()):g}, which "
            f"is more than 32-bit numbers hold; correct them, or set the spec's input.value_range "
            f"to data."
        )
    return single


def range_of(values: np.ndarray, value_range: Any, notes: list[str]) -> tuple[float, float]:
    """Return which finite values become 0 and 1, by the least, the greatest and the type."""
    if value_range == "auto":
        if values.dtype.kind == "b":
            low, high = 0.0, 1.0
        elif values.dtype.kind in "ui":
            low, high = 0.0, _whole_number_range(values, notes)
            _tell_small_part(values, high, notes)
        else:
            low, high = float(values.min()), float(values.max())
            if low >= 0 and high <= 1:
                low, high = 0.0, 1.0
            else:
                notes.append(
                    f"the image's values run from {low:g} to {high:g}, beyond 0..1; they "
                    f"were scaled to it (the spec's input.value_range says otherwise)"
                )
    elif value_range == "data":
        low, high = float(values.min()), float(values.max())
    else:
        low, high = value_range
    return low, high


def _whole_number_range(values: np.ndarray, notes: list[str]) -> float:
    # Signed images (such as int16 from a camera) still mean zero by zero.
    if values.dtype.itemsize <= 2:
        return float(np.iinfo(values.dtype).max)
    # No camera has 32 bits: wide whole numbers are 8 or 16 bits after some arithmetic.
    highest = float(values.max())
    likely = next((float(top) for top in (255, 65535) if highest <= top), highest)
    notes.append(f"the image's type is {values.dtype}; its values were read as 0..{likely:g}")
    return likely


def _tell_small_part(values: np.ndarray, high: float, notes: list[str]) -> None:
    """Tell where the values fill little of their type, such as 12 bits in 16, or are below zero."""
    least, most = float(values.min()), float(values.max())
    if least >= 0 and (most == 0 or most >= _SMALL_PART * high):
        return
    bits = next((top for top in _TOPS_OF_CAMERAS if most <= top < high), None)
    likely = f"[{least:g}, {most:g}]" if least < 0 or bits is None else f"[0, {bits}]"
    notes.append(
        f"the image's values run from {least:g} to {most:g}, and 0..{high:g} of its type "
        f"{values.dtype} was read as 0..1; if the network was trained on all of 0..1, set the spec's "
        f"input.value_range, such as to {likely}"
    )


def _match_channels(values: np.ndarray, has: int, needs: int, order: str | None) -> np.ndarray:
    if has == needs:
        return values
    coloured = order != "n"
    if coloured and has == 1 and needs == 3:
        return np.repeat(values, 3, axis=0)
    if coloured and has == 4 and needs == 3:
        return values[:3]
    if coloured and has in (3, 4) and needs == 1:
        return np.tensordot(_LUMINANCE, values[:3], 1)[None].astype(np.float32)
    raise NeuroscopeError(
        f"The image has {has} channel{'s' * (has != 1)}"
        f"{f' ({_WORDS[has]})' if has in _WORDS else ''}, but the network takes {needs}; give an "
        f"image of {needs}, or the right spec."
    )


def _resize(values: Tensor, spec: InputSpec) -> tuple[Tensor, Grid]:
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


def _shrunk_notes(spec: ModelSpec, grid: Grid, shape: Sequence[int]) -> list[str]:
    """Say that a segmenter of one size sees a larger image smaller than it is."""
    most = max(grid.scale)
    if spec.task != "segmentation" or not isinstance(spec.input.size, tuple) or most <= 1:
        return []
    return [
        f"the image of {_by(shape)} pixels was made {most:.3g} times smaller for the network, which "
        f"takes {_by(spec.input.size)}: objects are seen smaller than they are (the spec's "
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


def _pad(
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
            f"The image is {_by(shape)}, larger than the network's {_by(wanted)}, and "
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
    mode = "edge" if spec.padding == "replicate" else "reflect"
    for axis, (wanted, first) in enumerate(zip(shape, before, strict=True), 1):
        count = values.shape[axis]
        which = np.pad(np.arange(count), (first, wanted - count - first), mode)  # type: ignore[call-overload]
        values = values.index_select(axis, torch.from_numpy(which))
    return values


def _by(shape: Sequence[int]) -> str:
    return " × ".join(str(n) for n in shape)


def _normalised(
    values: Tensor, unit: np.ndarray, rule: Normalization, channels: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return normalised values, and the gain and shift of each channel that made them so.

    Statistics are of `unit`, the whole image before it was resized.
    """
    gain = torch.ones(channels, dtype=torch.float64)
    shift = torch.zeros(channels, dtype=torch.float64)
    shape = (-1,) + (1,) * (values.ndim - 1)
    for step in rule.steps:
        if step.changes_nothing:
            continue
        mean, spread = _mean_and_spread(step, unit, channels)
        gain, shift = gain / spread, (shift - mean) / spread
        # The mean first: large values of little contrast would lose digits to a large shift.
        values = _divided(values - mean.float().reshape(shape), spread.reshape(shape))
        if step.then is not None:
            unit = (unit - mean.numpy().reshape(shape)) / spread.numpy().reshape(shape)
        if step.clip is not None:
            values = values.clamp(*step.clip)
            unit = np.clip(unit, *step.clip) if step.then is not None else unit
    return values, gain.float(), shift.float()


def _divided(values: Tensor, spread: Tensor) -> Tensor:
    """Divide by what is float64; whole numbers that were divided by 255, say, come back exactly."""
    factor = (1 / spread).round()
    if (factor * spread - 1).abs().max() < 1e-12:
        return values * factor.float()
    return values / spread.float()


def _mean_and_spread(step: Normalization, unit: np.ndarray, channels: int) -> tuple[Tensor, Tensor]:
    """Return what is taken from each channel's values, and what they are then divided by."""
    parts = unit.reshape(len(unit) if step.per_channel else 1, -1)
    if step.percentile is not None:
        low, high = np.percentile(parts, step.percentile, axis=1).astype(np.float64)
        mean, std = low, high - low
    elif step.per_image:
        mean, std = parts.mean(1, dtype=np.float64), parts.std(1, dtype=np.float64)
    else:
        mean = np.array(step.mean or (0.0,), np.float64)
        std = np.array(step.std or (1.0,), np.float64)
    if step.percentile is not None or step.per_image:
        # An image of one value has no spread to divide by.
        std = std + step.eps if step.eps else np.maximum(std, 1e-6)
    for name, numbers in (("mean", mean), ("std", std)):
        if len(numbers) not in (1, channels):
            raise NeuroscopeError(
                f"The spec's normalisation has {len(numbers)} numbers for "
                f"{name}, but the network takes {channels} channels."
            )
    return (
        torch.from_numpy(np.broadcast_to(mean, channels).copy()),
        torch.from_numpy(np.broadcast_to(std, channels).copy()),
    )

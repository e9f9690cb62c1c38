"""From an image of any kind to a network's input, and back to where its pixels lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope.engine.errors import Cancelled, NeuroscopeError
from napari_neuroscope.engine.files.told import reason_of
from napari_neuroscope.engine.images.axes import image_axes_of, in_read_order
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.images.normalization import normalised
from napari_neuroscope.engine.images.resizing import pad, resize, shrunk_notes
from napari_neuroscope.engine.images.value_range import to_unit_range
from napari_neuroscope.engine.spec.model_spec import ModelSpec

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
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
    unit = to_unit_range(values, spec.input.value_range, notes)
    unit = _match_channels(unit, image_channels, channels, spec.input.order)
    tensor, grid = resize(torch.from_numpy(unit), spec.input)
    notes.extend(shrunk_notes(spec, grid, values.shape[1:]))
    order = spec.input.order or {1: "gray", 3: "rgb"}.get(channels, "n")
    if order == "bgr":
        tensor, unit = tensor.flip(0), unit[::-1]
    tensor, gain, shift = normalised(tensor, unit, spec.input.normalization, channels)
    if spec.input.resize in ("pad", "tile", "fit"):
        tensor, start = pad(tensor, values.shape[1:], spec.input, shift)
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

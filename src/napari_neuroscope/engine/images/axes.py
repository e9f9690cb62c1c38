"""Which axis of an image is which to a network: its space, its channels, and those of a stack.

Nothing else decides it. What says it, in this order: names that the image's own axes have; the
spec's ``image_axes``; the image's shape beside what the network takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.images.array_view import ArrayView
from napari_neuroscope.engine.spec.model_spec import ModelSpec

_LETTERS = {"channel": "c", "channels": "c"}
# A network that looks along none of these would take their steps for channels.
_OF_STACKS = ("t", "z", "time")
# Of an axis that is no plain colour and not the network's own, so many channels are still likely.
_MOST_CHANNELS = 64


@dataclass(frozen=True)
class ImageAxes:
    """Which axis of an image is which to a network, each by its position.

    Attributes
    ----------
    space
        The axes that the network looks along, in its own order.
    channel
        The axis of the channels; None where the image has none.
    stack
        The axes that the network doesn't take, in the image's order: time, depth, positions.
    order
        The axes of one plane, in the order in which a network reads it.
    """

    space: tuple[int, ...]
    channel: int | None
    stack: tuple[int, ...]
    order: tuple[int, ...]

    @classmethod
    def _of(cls, letters: str, order: Sequence[int], space: str, ndim: int) -> ImageAxes:
        """Return the axes of a plane whose letters and positions are known; the others are a stack."""
        position_of = dict(zip(letters, order, strict=True))
        return cls(
            tuple(position_of[axis] for axis in space),
            position_of.get("c"),
            tuple(n for n in range(ndim) if n not in order),
            tuple(order),
        )


def axes_of(
    shape: Sequence[int],
    spec: ModelSpec,
    channels: int,
    names: Sequence[str] | None = None,
    *,
    coloured: bool = False,
) -> ImageAxes:
    """Return which axes an image has that may be a stack.

    Parameters
    ----------
    shape
        The image's.
    spec, channels
        What the network expects.
    names
        What the image's axes are called; None: not known. Names that were only guessed of the shape
        (`unnamed_axes`) say nothing.
    coloured
        Whether the last axis is known to be of colours.

    Raises
    ------
    NeuroscopeError
        Where the image has too few axes, or can be read in no way, or in several.
    """
    shape, space, wanted = tuple(int(n) for n in shape), spec.input.space, spec.image_axes
    letters = _letters(names, shape)
    if set(wanted or space) <= set(letters):
        channel = None if wanted else _named_channel(shape, letters, spec, channels)
        return _by_names(shape, letters, channel, spec, channels)
    if coloured and wanted and "c" not in wanted:
        raise _unfit(shape, wanted, space)
    if wanted:
        first = max(len(shape) - len(wanted), 0)
    elif coloured and len(shape) > len(space):
        first = len(shape) - len(space) - 1
    else:
        first = _leading(shape, space, channels, takes_gray=_takes_gray(spec, channels))
    plane = f"{space}c" if coloured and not wanted else image_axes_of(shape[first:], spec, channels)
    return ImageAxes._of(plane, range(first, len(shape)), space, len(shape))


def image_axes_of(shape: Sequence[int], spec: ModelSpec, channels: int) -> str:
    """Return the axes of one image that is no stack and says nothing of them, such as "yxc".

    Raises
    ------
    NeuroscopeError
        Where the shape doesn't fit the spec's ``image_axes``, or leaves no way to read it.
    """
    space = spec.input.space
    axes = spec.image_axes or guess_image_axes(shape, space, channels)
    if len(axes) != len(shape) or set(axes) - {"c"} != set(space):
        raise _unfit(shape, axes, space)
    return axes


def in_read_order(image: Any, spec: ModelSpec, channels: int) -> Any:
    """Return one image with its axes in the order in which a network reads them; nothing is read.

    What names no axes, or has that order already, is returned as it is.

    Parameters
    ----------
    image
        What may name its axes, as an image file or an xarray does.
    spec, channels
        What the network expects.

    Raises
    ------
    NeuroscopeError
        Where its names say that it is a stack, which its shape alone may hide.
    """
    names = names_of(image)
    if names is None:
        return image
    shape, space, wanted = np.shape(image), spec.input.space, spec.image_axes
    letters = _letters(names, shape)
    if not wanted:
        _refuse_stack(shape, names, space)
    if not set(wanted or space) <= set(letters):
        return image
    channel = None if wanted else _only_channel(shape, letters, space)
    axes = _by_names(shape, letters, channel, spec, channels)
    if any(shape[n] > 1 for n in axes.stack):
        raise _stack(names, next(names[n] for n in axes.stack if shape[n] > 1))
    if axes.order == tuple(range(len(shape))):
        return image
    return ArrayView(image, dict.fromkeys(axes.stack, 0), axes.order)


def in_order_of(image: Any, space: Sequence[str], image_axes: str | None) -> Any:
    """Return an image whose axes are known with those of `space` in that order, the channels last.

    One of unknown or other axes is returned as it is; nothing is read.
    """
    if not image_axes or not set(space) <= set(image_axes):
        return image
    order = [image_axes.index(axis) for axis in (*space, "c") if axis in image_axes]
    ndim = len(getattr(image, "shape", ()))
    if ndim != len(image_axes) or len(order) != ndim or order == list(range(ndim)):
        return image
    return ArrayView(image, {}, order)


# --- by names -------------------------------------------------------------------------------------


def names_of(image: Any) -> tuple[str, ...] | None:
    """Return what an image says that its axes are called, as an image file or an xarray does."""
    names = getattr(getattr(image, "spacing", None), "axes", None)
    if names is None:
        names = getattr(image, "dims", None)
    good = isinstance(names, tuple | list) and all(isinstance(name, str) for name in names)
    # What names no axes may be anything: lists that are no array are told later.
    if not good or not names or len(names) != len(np.shape(image)):
        return None
    return tuple(names)


def unnamed_axes(shape: Sequence[int]) -> tuple[str, ...]:
    """Return what to call the axes of an image that says nothing of them."""
    channels = ("c",) if has_channels_last(shape, 2) else ()
    last = (*("y", "x")[-len(shape) :], *channels) if shape else ()
    return (*(f"axis {n}" for n in range(len(shape) - len(last))), *last)


def _letters(names: Sequence[str] | None, shape: Sequence[int]) -> tuple[str, ...]:
    """Return the letter that each name stands for, or else the name; nothing where none is known."""
    if names is None or len(names) != len(shape) or tuple(names) == unnamed_axes(shape):
        return ()
    folded = [name.casefold() for name in names]
    letters = tuple(_LETTERS.get(name, name) for name in folded)
    return letters if len(set(letters)) == len(letters) else ()


def _named_channel(
    shape: Sequence[int], letters: Sequence[str], spec: ModelSpec, channels: int
) -> int | None:
    """Return which axis of a stack a network takes as channels, and not one by one."""
    takes_gray = _takes_gray(spec, channels)
    if "c" in letters:
        at = letters.index("c")
        as_many = channels > 1 and shape[at] == channels
        of_colours = at == len(letters) - 1 and shape[at] in (3, 4)
        return at if as_many or of_colours or not takes_gray else None
    others = [] if takes_gray else _may_be_channels(letters, spec.input.space)
    fitting = [n for n in others if shape[n] == channels]
    return fitting[0] if len(fitting) == 1 else None


def _only_channel(shape: Sequence[int], letters: Sequence[str], space: str) -> int | None:
    """Return which axis of an image that is no stack is that of its channels."""
    if "c" in letters:
        return letters.index("c")
    others = [n for n in _may_be_channels(letters, space) if shape[n] > 1]
    return others[0] if len(others) == 1 else None


def _may_be_channels(letters: Sequence[str], space: str) -> list[int]:
    return [n for n, axis in enumerate(letters) if axis not in space and axis not in _OF_STACKS]


def _by_names(
    shape: Sequence[int],
    letters: Sequence[str],
    channel: int | None,
    spec: ModelSpec,
    channels: int,
) -> ImageAxes:
    """Return the axes of an image whose letters hold all that the network takes."""
    space, wanted = spec.input.space, spec.image_axes
    at = {letter: n for n, letter in enumerate(letters)}
    if wanted:
        return ImageAxes._of(wanted, [at[axis] for axis in wanted], space, len(shape))
    if channel is None:
        return ImageAxes._of(space, [at[axis] for axis in space], space, len(shape))
    at["c"] = channel
    # Where the shape alone is read later, it must be read as the names say.
    last = channel == len(shape) - 1
    for said in (f"{space}c", f"c{space}") if last else (f"c{space}", f"{space}c"):
        order = [at[axis] for axis in said]
        if _guessed([shape[n] for n in order], space, channels) == said:
            return ImageAxes._of(said, order, space, len(shape))
    raise NeuroscopeError(
        f"An image of shape {tuple(shape)}, of axes {', '.join(letters)}, can be read in several "
        f"ways by a network of {channels} channels; set the spec's image_axes."
    )


def _guessed(shape: Sequence[int], space: str, channels: int) -> str | None:
    try:
        return guess_image_axes(shape, space, channels)
    except NeuroscopeError:
        return None


def _refuse_stack(shape: Sequence[int], names: Sequence[str], space: str) -> None:
    for name, count in zip(names, shape, strict=True):
        letter = name.casefold()
        if letter in _OF_STACKS and letter not in space and count > 1:
            raise _stack(names, letter)


def _stack(names: Sequence[str], axis: str) -> NeuroscopeError:
    letters = ", ".join(name.casefold() for name in names)
    return NeuroscopeError(
        f"The image's axes are {letters}, and the network takes no {axis.casefold()}: choose one "
        f"plane of it, explain it as a stack, or set the spec's image_axes."
    )


# --- by the shape ---------------------------------------------------------------------------------


def guess_image_axes(shape: Sequence[int], space: str, channels: int) -> str:
    """Return which axes an image has that is no stack, from its shape and what the network takes.

    Raises
    ------
    NeuroscopeError
        Where the shape leaves no way to read it.
    """
    if len(shape) == len(space):
        return space
    if len(shape) == len(space) + 1:
        likely = (channels, 3, 4, 1)
        for count in likely:
            if shape[-1] == count:
                return space + "c"
            if shape[0] == count:
                return "c" + space
        last_smaller = shape[-1] < shape[0]
        count = shape[-1] if last_smaller else shape[0]
        if count <= _MOST_CHANNELS:
            return space + "c" if last_smaller else "c" + space
    raise NeuroscopeError(
        f"An image of shape {tuple(shape)} can't be read by a network of {len(space)} spatial "
        f"axes ({', '.join(space)}) and {channels} channels; choose one plane of it, or set the "
        f"spec's image_axes."
    )


def _leading(shape: Sequence[int], space: str, channels: int, *, takes_gray: bool) -> int:
    behind = len(shape) - len(space)
    if behind <= 0:
        return 0
    of_channels = channels > 1 and channels in (shape[-1], shape[behind - 1])
    # Planes of one channel are nothing to a network that takes several of its own.
    return behind - (of_channels or not takes_gray or has_channels_last(shape, len(space)))


def has_channels_last(shape: Sequence[int], space: int) -> bool:
    """Whether an image's last axis is likely of channels, behind `space` spatial ones.

    It is where there are as many as of colours, or so few beside so many.
    """
    if len(shape) <= space:
        return False
    count = shape[-1]
    return has_colours_last(shape, space) or (
        count <= 8 and 4 * count <= min(shape[-1 - space : -1])
    )


def has_colours_last(shape: Sequence[int], space: int = 2) -> bool:
    """Whether an image's last axis, behind `space` spatial ones, can be shown as colours."""
    return len(shape) > space and shape[-1] in (3, 4)


def _takes_gray(spec: ModelSpec, channels: int) -> bool:
    """Whether a network takes an image of one channel."""
    return channels == 1 or (channels == 3 and spec.input.order != "n")


def _unfit(shape: Sequence[int], axes: str, space: str) -> NeuroscopeError:
    return NeuroscopeError(
        f"The image has shape {tuple(shape)}, which does not fit the axes “{axes}” for a network "
        f"over {', '.join(space)}; set the spec's image_axes."
    )

"""What a picture of an explanation shows: its maps over the image, and its label maps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.colormaps import coloured, is_background, limits
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.images.axes import in_order_of
from napari_neuroscope.engine.images.grid import Grid, resample, resample_nearest
from napari_neuroscope.engine.results.layout import Layout

# Larger pictures are thinned out.
_LONGEST = 3000
_MOST_PANELS = 100
_LABELS_ALPHA = 0.55
_LARGE = 1e38


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture of a figure.

    Attributes
    ----------
    title
        What it is of; empty where the figure's title says so.
    picture
        Red, green and blue of 0..1, (y, x, 3).
    span, signed, unit
        What the colours mean; a span of None: they are no values.
    legend
        The classes that are shown, by name and colour of 0..255.
    step
        How many pixels of the image one of the picture is.
    """

    title: str
    picture: np.ndarray
    span: tuple[float, float] | None = None
    signed: bool = False
    unit: str = ""
    legend: tuple[tuple[str, tuple[int, int, int]], ...] = ()
    step: int = 1


def panels_of(explanation: Explanation, image: Any) -> list[Panel]:
    """Return the pictures of an explanation, one for each class, layer and channel.

    Of a volume or a stack each shows the plane where the sum of magnitudes is largest.

    Raises
    ------
    NeuroscopeError
        Where there is nothing to be shown, or far too much.
    """
    spec = explanation.record.spec or {}
    image = in_order_of(image, explanation.space, spec.get("image_axes"))
    if explanation.is_table:
        raise NeuroscopeError("A table of scores has no picture; save it as .npy or .tif.")
    if len(explanation.image.shape) < 2:
        raise NeuroscopeError("A picture has two axes, but this map one; save it as .tif or .npy.")
    leading = explanation.values.shape[: len(explanation.leading)]
    if explanation.is_picture:
        return _seen_by_network(explanation)
    if math.prod(leading) > _MOST_PANELS:
        raise NeuroscopeError(
            f"A picture of {math.prod(leading):,} maps shows none of them; choose {_MOST_PANELS} "
            f"at most, or save them as .tif or .zarr."
        )
    names = Layout(explanation.leading, leading).channel_names(explanation.labels)
    return [
        *(_map(explanation, image, at, name)
          for at, name in zip(np.ndindex(*leading), names or [""], strict=True)),
        *_label_maps(explanation, image),
    ]  # fmt: skip


def _map(explanation: Explanation, image: Any, at: tuple[int, ...], name: str) -> Panel:
    values = np.asarray(explanation.values[at], np.float32)
    plane = _strongest(explanation, values)
    onto, step = _grid_of_plane(explanation, plane)
    fine = resample(torch.from_numpy(values), explanation.grid, onto).numpy()
    fine = fine.reshape(onto.shape[-2:])
    signed = explanation.signed
    span = limits(fine, signed=signed, unit=explanation.unit)
    below = _below(image, explanation.image.shape, plane, step)
    title = " · ".join(filter(None, (name, _plane_in_words(explanation, plane))))
    picture = over(below, coloured(fine, span, signed=signed))
    return Panel(title, picture, span, signed, explanation.unit, step=step)


def _label_maps(explanation: Explanation, image: Any) -> Iterator[Panel]:
    """Yield the label maps of classes; those of regions have no colours that mean something."""
    if not explanation.classes:
        return
    for name, labels in explanation.companions.items():
        if name in explanation.ordered:
            continue
        counts = np.asarray(labels)
        plane = _strongest(explanation, counts)
        onto, step = _grid_of_plane(explanation, plane)
        fine = resample_nearest(counts, explanation.grid, onto, outside=-1)
        fine = fine.reshape(onto.shape[-2:])
        rgba = np.zeros((*fine.shape, 4))
        legend = []
        for number, (word, colour) in enumerate(explanation.classes):
            here = fine == number
            if not here.any() or is_background(word):
                continue
            rgba[here] = (*(part / 255 for part in colour), _LABELS_ALPHA)
            legend.append((word, colour))
        below = _below(image, explanation.image.shape, plane, step)
        title = " · ".join(filter(None, (name.capitalize(), _plane_in_words(explanation, plane))))
        yield Panel(title, over(below, rgba), legend=tuple(legend), step=step)


def _seen_by_network(explanation: Explanation) -> list[Panel]:
    """Return what the network sees as one picture, in colour where it has three channels."""
    values = np.asarray(explanation.values, np.float32)
    plane = _strongest(explanation, np.abs(values).sum(0))
    onto, step = _grid_of_plane(explanation, plane)
    fine = resample(torch.from_numpy(values), explanation.grid, onto).numpy()
    fine = np.nan_to_num(fine.reshape(len(values), *onto.shape[-2:]))
    shown = fine if len(fine) == 3 else np.repeat(fine[:1], 3, axis=0)
    picture = np.clip(np.moveaxis(shown, 0, -1), 0, 1)
    return [Panel(_plane_in_words(explanation, plane), picture, step=step)]


def over(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Return a picture (y, x, 3) below another of red, green, blue and alpha."""
    alpha = above[..., 3:]
    mixed: np.ndarray = below * (1 - alpha) + above[..., :3] * alpha
    return mixed


# --- planes ---------------------------------------------------------------------------------------


def _strongest(explanation: Explanation, values: np.ndarray) -> tuple[int, ...]:
    """Return the place on the image's first axes of the plane with the most in it."""
    first = values.ndim - 2
    if not first:
        return ()
    sums = np.nan_to_num(np.abs(values)).sum((-2, -1))
    steps = np.unravel_index(int(sums.argmax()), sums.shape)
    grid, image = explanation.grid, explanation.image
    place = []
    for n, step in enumerate(steps):
        # The nearest of the planes that were looked at; of a stack these may not be all.
        at = grid.offset[n] + grid.scale[n] * int(step)
        nearest = round((at - image.offset[n]) / image.scale[n])
        nearest = min(max(nearest, 0), image.shape[n] - 1)
        place.append(round(image.offset[n] + image.scale[n] * nearest))
    return tuple(place)


def _grid_of_plane(explanation: Explanation, plane: tuple[int, ...]) -> tuple[Grid, int]:
    """Return the pixels of a plane of the image, and how far apart they are."""
    sides = explanation.image.shape[-2:]
    step = -(-max(sides) // _LONGEST)
    onto = Grid(
        (*(1 for _ in plane), *(-(-n // step) for n in sides)),
        (*(1.0 for _ in plane), float(step), float(step)),
        (*map(float, plane), 0.0, 0.0),
    )
    return onto, step


def _plane_in_words(explanation: Explanation, plane: tuple[int, ...]) -> str:
    """Return which plane is shown; nothing of a plane that is all there is."""
    image, words = explanation.image, []
    for axis, at, size, scale, offset in zip(
        explanation.space, plane, image.shape, image.scale, image.offset, strict=False
    ):
        if size > 1 or offset:
            whole = scale == 1 and not offset
            words.append(f"{axis} = {at} of 0…{size - 1}" if whole else f"{axis} = {at}")
    return ", ".join(words)


def _below(image: Any, shape: tuple[int, ...], plane: tuple[int, ...], step: int) -> np.ndarray:
    """Return the image's plane in colours; black where the image is not known."""
    sides = tuple(-(-n // step) for n in shape[-2:])
    thin = (slice(None, None, step),) * 2
    image_shape = tuple(getattr(image, "shape", ()))
    # A plane that was explained by itself may come without the axes that it is a plane of.
    for drop in range(len(plane) + 1):
        at = plane[drop:]
        count = len(at) + 2
        if any(n != 1 for n in shape[:drop]):
            break
        for plane_sides, index in (
            (image_shape[:count], (*at, *thin)),
            (image_shape[-count:], (..., *at, *thin)),
        ):
            inside = len(plane_sides) == count and plane_sides[-2:] == shape[-2:]
            if inside and all(n < size for n, size in zip(at, plane_sides, strict=False)):
                return displayable(np.asarray(image[index]), sides)
    return np.zeros((*sides, 3))


def displayable(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return an image as RGB floats of 0..1, stretched between its 0.5 and 99.8 percentiles."""
    values = _without_overflow(image)
    if values.ndim == 3 and values.shape[:2] == shape:
        values = values[..., :3] if values.shape[-1] >= 3 else values[..., :1]
    elif values.ndim == 3:
        values = np.moveaxis(values, 0, -1)
        values = values[..., :3] if values.shape[-1] == 3 else values[..., :1]
    else:
        values = values[..., None]
    finite = values[np.isfinite(values)]
    low, high = map(float, np.percentile(finite, (0.5, 99.8))) if finite.size else (0.0, 1.0)
    if image.dtype == np.uint8 and values.shape[-1] == 3:
        low, high = 0.0, 255.0
    shown = np.clip(np.nan_to_num((values - low) / max(high - low, 1e-12)), 0, 1)
    return np.repeat(shown, 3, -1) if shown.shape[-1] == 1 else shown


def _without_overflow(image: np.ndarray) -> np.ndarray:
    """Return an image as float32, with values whose differences are finite where they are."""
    if image.dtype.kind == "f" and image.dtype.itemsize > 2:
        most = float(np.abs(image).max(initial=0, where=np.isfinite(image)))
        if most > _LARGE:
            return np.asarray(image / most, np.float32)
    return np.asarray(image, np.float32)

"""The colours of maps, and the values that they begin and end at."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from napari_neuroscope.engine.methods.interface.result import ATTENTION

# Zero is transparent, so that the image is seen where a map says nothing. The hues stay apart for
# colour-blind readers: dark red to yellow, and blue against orange.
_POSITIVE = ((0.45, 0.0, 0.15, 0.0), (0.70, 0.05, 0.10, 0.55), (0.93, 0.35, 0.05, 0.8),
             (0.99, 0.70, 0.10, 0.9), (1.0, 0.98, 0.60, 0.95))  # fmt: skip
_SIGNED = ((0.02, 0.35, 0.80, 0.95), (0.30, 0.62, 0.95, 0.6), (1.0, 1.0, 1.0, 0.0),
           (0.98, 0.62, 0.25, 0.6), (0.80, 0.28, 0.0, 0.95))  # fmt: skip
# Of more values than these some are enough to tell how large they are.
_MANY = 1 << 20
# Colours end at this percentile of the magnitudes: a few extreme values leave the others visible.
PERCENTILE = 99.5
# Where fewer values than this share are not zero, zeros are left out of the count.
SPARSE = 0.05
_SHADES = 4097
_LARGE = 1e38
_BACKGROUND_NAMES = {"background", "void", "ignore", "unlabelled", "unlabeled"}


def stops(*, signed: bool) -> np.ndarray:
    """Return the colours (step, red green blue alpha) of 0..1 that a map's are mixed from.

    They are evenly spaced: over maps from zero, or maps about zero.
    """
    return np.array(_SIGNED if signed else _POSITIVE)


def map_colormap(*, signed: bool) -> dict[str, Any]:
    """Return the colour map of maps from zero, or of maps about zero, as napari takes it."""
    name, display = ("neuroscope signed", "signed") if signed else ("neuroscope heat", "evidence")
    return {"colors": stops(signed=signed), "name": name, "display_name": display}


def class_colours(
    classes: Sequence[tuple[str, Sequence[int]]],
) -> dict[int | None, tuple[float, ...]]:
    """Return the colour of each label of classes, as napari takes it; a background is left clear.

    Label 0 is always clear, and classes begin at `first_label`: where only the contours of labels
    are drawn, napari paints the inside of each as label 0.
    """
    colours: dict[int | None, tuple[float, ...]] = {None: (0, 0, 0, 0), 0: (0, 0, 0, 0)}
    for label, (name, colour) in enumerate(classes, first_label(classes)):
        colours[label] = (0, 0, 0, 0) if is_background(name) else (*(c / 255 for c in colour), 1)
    return colours


def first_label(classes: Sequence[tuple[str, Sequence[int]]]) -> int:
    """Return the label that shows class 0: 0 where that is a background, else 1."""
    return 0 if not classes or is_background(classes[0][0]) else 1


def limits(
    values: np.ndarray, *, signed: bool, unit: str = "", to_maximum: bool = False
) -> tuple[float, float]:
    """Return contrast limits: symmetric about zero for signed values, else from zero.

    They end at the 99.5th percentile of the magnitudes, or the next that occurs: of fewer than 200
    values, at the largest. Of a sparse map, where fewer than one value of twenty is not zero, it is
    the percentile of those: else it could be zero, and the map unseen. Shares of attention are never
    zero, and begin at their 0.5th percentile. Of many values, those of evenly spaced pixels tell.

    Parameters
    ----------
    values
        What is shown; values that are not finite are left out.
    signed
        Whether zero is the middle.
    unit
        What they are, as the record of their map says.
    to_maximum
        Whether they end at the largest magnitude, and attention begins at the least.
    """
    while values.size > _MANY and max(values.shape[-2:]) > 1:
        values = values[..., ::2, ::2] if values.ndim > 1 else values[::2]
    finite = values[np.isfinite(values)]
    most = _largest(np.abs(finite), to_maximum=to_maximum) or 1.0
    if signed:
        return -most, most
    least = 0.0
    if unit == ATTENTION and finite.size:
        share = 0 if to_maximum else 100 - PERCENTILE
        least = float(np.percentile(finite, share, method="lower"))
    return (least if least < most else 0.0), most


def _largest(magnitudes: np.ndarray, *, to_maximum: bool) -> float:
    """Return where colours end: at the largest of magnitudes, or a percentile of them."""
    if not magnitudes.size:
        return 0.0
    if to_maximum:
        return float(magnitudes.max())
    positive = magnitudes[magnitudes > 0]
    if positive.size and positive.size < SPARSE * magnitudes.size:
        magnitudes = positive
    return float(np.percentile(magnitudes, PERCENTILE, method="higher"))


def coloured(values: np.ndarray, span: tuple[float, float], *, signed: bool) -> np.ndarray:
    """Return a map (...) as colours (..., red green blue alpha) of 0..1; clear where not finite."""
    low, high = span
    if high > _LARGE:
        # The distance of the ends may be more than 32-bit numbers hold.
        values, low, high = values / high, low / high, 1.0
    unit = np.clip((np.nan_to_num(values) - low) / (high - low), 0, 1)
    colours: np.ndarray = _table(signed)[np.rint(unit * (_SHADES - 1)).astype(np.intp)]
    colours[..., 3] *= np.isfinite(values)
    return colours


@cache
def _table(signed: bool) -> np.ndarray:
    """Return the colours of evenly spaced values, many more than a screen can show."""
    mixed = stops(signed=signed)
    at, steps = np.linspace(0, 1, len(mixed)), np.linspace(0, 1, _SHADES)
    return np.stack([np.interp(steps, at, channel) for channel in mixed.T], -1).astype(np.float32)


def is_background(name: str) -> bool:
    """Whether a class is what lies between the others, which pictures leave clear."""
    return name.casefold() in _BACKGROUND_NAMES

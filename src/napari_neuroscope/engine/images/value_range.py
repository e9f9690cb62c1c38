"""Which values of an image become 0 and 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError

# Below this part of what its type holds, an image is likely of fewer bits.
_SMALL_PART = 0.1
_TOPS_OF_CAMERAS = (255, 1023, 4095, 16383)


def to_unit_range(values: np.ndarray, value_range: Any, notes: list[str]) -> np.ndarray:
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

"""Whether a network normalises images of 0..255 itself, told by the numbers that it does it with."""

from __future__ import annotations

from napari_neuroscope.engine.spec.input_spec import Normalization

_HIGHEST = 255.0

AS_BYTES = Normalization(std=(1 / _HIGHEST,))
"""Brings an image of 0..1 to 0..255."""

# Of images in 0..1 no mean is larger, and none is divided by as much.
_MOST_MEAN_OF_UNITS = 3.0
_LEAST_SPREAD = 32.0


def is_mean_of_bytes(mean: float) -> bool:
    """Whether what is subtracted from an image is a mean of values in 0..255."""
    return _MOST_MEAN_OF_UNITS < mean <= _HIGHEST


def is_spread_of_bytes(spread: float) -> bool:
    """Whether what an image is divided by is a deviation, or the range, of values in 0..255."""
    return _LEAST_SPREAD <= abs(spread) <= 2 * _HIGHEST


def is_arithmetic_on_bytes(operation: str, constant: float) -> bool:
    """Whether what is done to an image first is made for values in 0..255.

    Parameters
    ----------
    operation
        One of "add", "subtract", "multiply" and "divide".
    constant
        By which number; that of the largest magnitude, where there is one for each channel.
    """
    if operation in ("add", "subtract"):
        return is_mean_of_bytes(constant if operation == "subtract" else -constant)
    return is_spread_of_bytes(
        constant if operation == "divide" else 1 / constant if constant else 0
    )

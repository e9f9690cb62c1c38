"""What values a Keras model takes: whole numbers, or the 0..255 of an image that it normalises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

_BYTES = 255.0
# Of images in 0..1 neither mean nor deviation is larger; of those in 0..255 both are.
_MOST_MEAN = 3.0
_LEAST_RANGE = 64.0
_PASS_ON = {"InputLayer", "Identity", "Cast", "Dropout", "GaussianNoise", "ZeroPadding2D",
            "Resizing", "CenterCrop"}  # fmt: skip


def input_type(model: Any) -> str:
    """Return the name of the type that a model takes."""
    inputs = getattr(model, "inputs", None)
    dtype = getattr(inputs[0], "dtype", None) if isinstance(inputs, list) and inputs else None
    return str(getattr(dtype, "name", dtype) or "float32")


def takes_whole_numbers(model: Any) -> bool:
    """Whether a model's input is of a type of whole numbers."""
    return input_type(model).startswith(("uint", "int"))


def takes_bytes(model: Any, layers: Sequence[Any]) -> bool:
    """Whether a model takes the values 0..255 of an image: by its type, or as it normalises them.

    Parameters
    ----------
    model, layers
        The model, and the layers in it, in order.
    """
    if takes_whole_numbers(model):
        return True
    for layer in layers:
        kind = type(layer).__name__
        if kind in _PASS_ON or kind.startswith("Random") or _is_model(layer):
            continue
        if kind == "Rescaling":
            scale = _largest(getattr(layer, "scale", None))
            return scale is not None and 0 < scale <= 1 / _LEAST_RANGE
        if kind in ("Normalization", "BatchNormalization"):
            name = "mean" if kind == "Normalization" else "moving_mean"
            mean = _largest(getattr(layer, name, None))
            return mean is not None and _MOST_MEAN < mean <= _BYTES
        return False
    return False


def whole_numbers(values: Tensor, of_type: str) -> Tensor:
    """Return the nearest numbers of a type, as floats."""
    limits = torch.iinfo(getattr(torch, of_type))
    # The ends of long types are no float32.
    least, most = max(limits.min, -(1 << 24)), min(limits.max, 1 << 24)
    return values.round().clamp(least, most)


def _is_model(layer: Any) -> bool:
    import keras

    return isinstance(layer, keras.Model)


def _largest(value: Any) -> float | None:
    """Return the largest magnitude of a setting or a weight; None where it is no number."""
    if value is None:
        return None
    try:
        # A weight's values lie in its `value`.
        found = np.abs(np.asarray(getattr(value, "value", value), np.float64))
    except (TypeError, ValueError):
        return None
    return float(found.max()) if found.size and np.isfinite(found).all() else None

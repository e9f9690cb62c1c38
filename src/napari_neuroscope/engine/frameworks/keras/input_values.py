"""What a Keras model takes: the order of its axes, and whole numbers or the 0..255 of an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope.engine.frameworks.byte_range import is_arithmetic_on_bytes

_PASS_ON = {"InputLayer", "Identity", "Cast", "Dropout", "GaussianNoise", "ZeroPadding2D",
            "Resizing", "CenterCrop"}  # fmt: skip
_MOVES = {"Identity", "Cast", "Transpose", "Pad", "PadV2", "MirrorPad", "ReverseV2", "StridedSlice",
          "Reshape", "ResizeBilinear", "ResizeNearestNeighbor", "StopGradient", "Split", "SplitV",
          "Unpack", "Pack", "ConcatV2", "GatherV2"}  # fmt: skip
_OF_CONSTANTS = {"Squeeze", "Reshape", "ExpandDims", "Cast", "Identity"}
_ARITHMETIC = {"Add": "add", "AddV2": "add", "BiasAdd": "add", "Sub": "subtract", "Mul": "multiply",
               "RealDiv": "divide", "Div": "divide"}  # fmt: skip


def input_axes(axes: str, shape: Sequence[int | None] | None, layers: Sequence[Any]) -> str:
    """Return the order of the input's axes, of a model that takes `shape` and has `layers`."""
    import keras

    formats = Counter(
        layer.data_format
        for layer in layers
        if isinstance(getattr(layer, "data_format", None), str)
    )
    default = keras.config.image_data_format()
    last = (formats.most_common(1)[0][0] if formats else default) == "channels_last"
    space = "".join(axis for axis in axes if axis in "zyx")
    if shape is not None:
        one_axis = any(type(layer).__name__.endswith("1D") for layer in layers)
        if len(shape) == 3 and not one_axis:
            return "byx"
        space = {3: "x", 4: "yx", 5: "zyx"}.get(len(shape), space)
    return f"b{space}c" if last else f"bc{space}"


def input_type(model: Any) -> str:
    """Return the name of the type that a model takes."""
    inputs = getattr(model, "inputs", None)
    dtype = getattr(inputs[0], "dtype", None) if isinstance(inputs, list) and inputs else None
    return str(getattr(dtype, "name", dtype) or "float32")


def takes_whole_numbers(model: Any) -> bool:
    """Whether a model's input is of a type of whole numbers."""
    return input_type(model).startswith(("uint", "int"))


def takes_bytes(model: Any, layers: Sequence[Any]) -> bool | None:
    """Whether a model takes the values 0..255 of an image: by its type, or as it normalises them.

    Parameters
    ----------
    model, layers
        The model, and the layers in it, in order.

    Returns
    -------
    bool or None
        None where its layers don't tell, since it works on the image otherwise.
    """
    if takes_whole_numbers(model):
        return True
    if not hasattr(model, "inputs") or _has_operations(model):
        return None
    for layer in layers:
        kind = type(layer).__name__
        if _is_model(layer) and not _has_operations(layer):
            continue
        if not type(layer).__module__.startswith("keras.") or kind == "Lambda" or _is_model(layer):
            return None
        if kind in _PASS_ON or kind.startswith("Random"):
            continue
        if kind == "Rescaling":
            scale = _largest(getattr(layer, "scale", None))
            return scale is not None and is_arithmetic_on_bytes("multiply", scale)
        if kind in ("Normalization", "BatchNormalization"):
            name = "mean" if kind == "Normalization" else "moving_mean"
            mean = _largest(getattr(layer, name, None))
            return mean is not None and is_arithmetic_on_bytes("subtract", mean)
        return False
    return False


def graph_takes_bytes(image: Any) -> bool:
    """Whether the first arithmetic on a traced model's input is made for the values 0..255.

    Parameters
    ----------
    image
        The symbolic input.
    """
    waiting, seen = [image], {image.name}
    while waiting:
        tensor = waiting.pop()
        for op in tensor.consumers():
            if op.type in _MOVES and op.outputs:
                # Channels may be taken apart and put together again.
                waiting += [each for each in op.outputs if each.name not in seen]
                seen.update(each.name for each in op.outputs)
            elif (operation := _ARITHMETIC.get(op.type)) and op.inputs[0] is tensor:
                constant = _largest(_static_value(op.inputs[1]))
                if constant is not None and is_arithmetic_on_bytes(operation, constant):
                    return True
    return False


def whole_numbers(values: Tensor, of_type: str) -> Tensor:
    """Return the nearest numbers of a type, as floats."""
    limits = torch.iinfo(getattr(torch, of_type))
    # The ends of long types are no float32.
    least, most = max(limits.min, -(1 << 24)), min(limits.max, 1 << 24)
    return values.round().clamp(least, most)


def _static_value(tensor: Any) -> Any:
    """Return the value of a constant, whatever its shape and type were made to be."""
    import tensorflow as tf

    while tensor.op.type in _OF_CONSTANTS:
        tensor = tensor.op.inputs[0]
    return tf.get_static_value(tensor)


def _has_operations(model: Any) -> bool:
    """Whether a model works on tensors in other ways than by layers."""
    import keras

    operations = getattr(model, "operations", None)
    if operations is None:
        return not isinstance(model, keras.Sequential)
    return not all(isinstance(operation, keras.layers.Layer) for operation in operations)


def _is_model(layer: Any) -> bool:
    import keras

    return isinstance(layer, keras.Model)


def _largest(value: Any) -> float | None:
    """Return the number of the largest magnitude in a setting or a weight; None where none is."""
    if value is None:
        return None
    try:
        # A weight's values lie in its `value`.
        numbers = np.asarray(getattr(value, "value", value), np.float64).ravel()
    except (TypeError, ValueError):
        return None
    if not numbers.size or not np.isfinite(numbers).all():
        return None
    return float(numbers[np.abs(numbers).argmax()])

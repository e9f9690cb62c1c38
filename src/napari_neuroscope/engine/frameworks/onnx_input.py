"""Whether an ONNX graph normalises an image of 0..255 itself, told by its first operations."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import onnx
from onnx import numpy_helper

_BYTES = 255.0
# Of images in 0..1 no mean is larger, and none is divided by as much.
_MOST_MEAN = 3.0
_LEAST_RANGE = 16.0
_MOST_NUMBERS = 4096
_PASS_ON = {"Identity", "Cast", "Transpose"}


def takes_bytes(graph: onnx.GraphProto, image: str) -> bool:
    """Whether the first arithmetic on the image is made for values of 0..255.

    Parameters
    ----------
    graph
        A graph whose nodes are in order.
    image
        The name of its input.
    """
    constants = {t.name: t for t in graph.initializer}
    for node in graph.node:
        value = next((a.t for a in node.attribute if a.HasField("t")), None)
        if node.op_type == "Constant" and node.output and value is not None:
            constants[node.output[0]] = value
    tensor = image
    while True:
        takers = [node for node in graph.node if tensor in node.input]
        if len(takers) != 1 or not takers[0].output:
            return False
        (node,) = takers
        if node.op_type not in _PASS_ON:
            break
        tensor = node.output[0]
    place = {"BatchNormalization": 3}.get(node.op_type, 1)
    if len(node.input) <= place or node.input[0] != tensor or node.input[place] not in constants:
        return False
    largest = _largest(constants[node.input[place]])
    if largest is None:
        return False
    if node.op_type in ("BatchNormalization", "Sub"):
        return _MOST_MEAN < largest <= _BYTES
    if node.op_type == "Div":
        return _LEAST_RANGE <= largest <= 2 * _BYTES
    return node.op_type == "Mul" and 1 / (2 * _BYTES) <= largest <= 1 / _LEAST_RANGE


def _largest(tensor: onnx.TensorProto) -> float | None:
    if tensor.external_data or not 0 < np.prod(tensor.dims, dtype=float) <= _MOST_NUMBERS:
        return None
    with suppress(ValueError, TypeError, KeyError):
        values = np.abs(numpy_helper.to_array(tensor).astype(np.float64))
        if np.isfinite(values).all():
            return float(values.max())
    return None

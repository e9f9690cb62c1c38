"""What an ONNX graph takes: the order of its axes, and whether it normalises an image of 0..255."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import onnx
from onnx import numpy_helper

from napari_neuroscope.engine.frameworks.byte_range import is_arithmetic_on_bytes
from napari_neuroscope.engine.frameworks.onnx.graph import OnnxGraph

_MOST_NUMBERS = 4096
_MOVES = {"Identity", "Cast", "Transpose", "Pad", "Resize", "Slice", "Gather", "Split", "Concat",
          "Unsqueeze", "Squeeze", "Reshape"}  # fmt: skip
_ARITHMETIC = {"Add": "add", "Sub": "subtract", "Mul": "multiply", "Div": "divide",
               "BatchNormalization": "subtract"}  # fmt: skip
_PLACE_OF_MEAN = 3


def input_axes(graph: OnnxGraph, shape: Sequence[int | None], axes: str) -> str:
    """Return the order of the input's axes, from the graph, or else from the shape."""
    space = {2: "yx", 3: "x", 4: "yx", 5: "zyx"}.get(len(shape))
    if space is None:
        return axes
    if len(shape) == 2:
        return space
    first, last = f"bc{space}", f"b{space}c"
    told = graph.fits(1), graph.fits(len(shape) - 1)
    if told[0] or (told[0] is None and told[1] is False):
        return first
    if told[1] and len(shape) > 3:
        return last
    if len(shape) == 3:
        return "byx"
    few = [n is not None and n <= 4 for n in (shape[1], shape[-1])]
    return last if few == [False, True] else first


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
    takers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in set(node.input):
            takers.setdefault(name, []).append(node)
    waiting, seen = [image], {image}
    while waiting:
        tensor = waiting.pop()
        for node in takers.get(tensor, ()):
            if node.op_type in _MOVES:
                # Channels may be taken apart and put together again.
                waiting += [name for name in node.output if name not in seen]
                seen.update(node.output)
            elif _is_arithmetic_on_bytes(node, tensor, constants):
                return True
    return False


def _is_arithmetic_on_bytes(
    node: onnx.NodeProto, tensor: str, constants: dict[str, onnx.TensorProto]
) -> bool:
    place = _PLACE_OF_MEAN if node.op_type == "BatchNormalization" else 1
    if node.op_type not in _ARITHMETIC or len(node.input) <= place or node.input[0] != tensor:
        return False
    constant = constants.get(node.input[place])
    largest = None if constant is None else _largest(constant)
    return largest is not None and is_arithmetic_on_bytes(_ARITHMETIC[node.op_type], largest)


def _largest(tensor: onnx.TensorProto) -> float | None:
    """Return the number of the largest magnitude in a constant; None where it is no few numbers."""
    if tensor.external_data or not 0 < np.prod(tensor.dims, dtype=float) <= _MOST_NUMBERS:
        return None
    with suppress(ValueError, TypeError, KeyError):
        numbers = numpy_helper.to_array(tensor).astype(np.float64).ravel()
        if np.isfinite(numbers).all():
            return float(numbers[np.abs(numbers).argmax()])
    return None

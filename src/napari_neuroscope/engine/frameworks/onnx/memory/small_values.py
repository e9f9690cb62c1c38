"""Small values that a graph computes of shapes alone, such as the sizes that it resizes to."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

MOST = 1024
"""How many numbers a value may have: more are no shape."""

_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "Identity": np.asarray, "Neg": np.negative, "Abs": np.abs, "Floor": np.floor, "Ceil": np.ceil,
    "Round": np.round, "Sqrt": np.sqrt, "Not": np.logical_not, "Add": np.add, "Sub": np.subtract,
    "Mul": np.multiply, "Mod": np.mod, "Pow": np.power, "Equal": np.equal, "Less": np.less,
    "Greater": np.greater, "And": np.logical_and, "Or": np.logical_or, "Min": np.minimum,
    "Max": np.maximum, "Where": np.where,
}  # fmt: skip


def known_values(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """Return the constants of a graph that are numbers."""
    values = {}
    for tensor in graph.initializer:
        # Some types are none that NumPy knows.
        with suppress(ValueError, TypeError, KeyError):
            values[tensor.name] = numpy_helper.to_array(tensor)
    return values


def small_values(
    nodes: Sequence[onnx.NodeProto], values: dict[str, np.ndarray], shapes: dict[str, list[int]]
) -> None:
    """Compute what small values tell, in the order of the nodes.

    Parameters
    ----------
    nodes
        The operations.
    values
        What is known; what is computed is added.
    shapes
        The shapes that are known.
    """
    for node in nodes:
        if len(node.output) != 1 or node.output[0] in values or node.domain not in ("", "ai.onnx"):
            continue
        attributes = {a.name: a for a in node.attribute}
        try:
            with np.errstate(all="ignore"):
                value = _value(node, attributes, values, shapes)
        except (ValueError, IndexError, KeyError, TypeError, OverflowError, ZeroDivisionError):
            # It fails where it runs, too, or is none of those that are known.
            continue
        if value is not None and value.size <= MOST:
            values[node.output[0]] = value


def _value(
    node: onnx.NodeProto,
    attributes: dict[str, onnx.AttributeProto],
    values: dict[str, np.ndarray],
    shapes: dict[str, list[int]],
) -> np.ndarray | None:
    if node.op_type in ("Shape", "Size"):
        shape = np.asarray(shapes[node.input[0]], np.int64)
        if node.op_type == "Size":
            return np.asarray(math.prod(shape.tolist()), np.int64)
        first = attributes["start"].i if "start" in attributes else 0
        return shape[first : attributes["end"].i if "end" in attributes else None]
    if node.op_type == "Constant":
        return _constant(attributes)
    if not all(node.input):
        return None
    return _computed(node.op_type, attributes, [values[name] for name in node.input])


def _constant(attributes: dict[str, onnx.AttributeProto]) -> np.ndarray | None:
    for attribute in attributes.values():
        if attribute.HasField("t") and math.prod(attribute.t.dims) <= MOST:
            return None if attribute.t.external_data else numpy_helper.to_array(attribute.t)
        if attribute.name in ("value_int", "value_ints"):
            return np.asarray(helper.get_attribute_value(attribute), np.int64)
        if attribute.name in ("value_float", "value_floats"):
            return np.asarray(helper.get_attribute_value(attribute), np.float32)
    return None


def _computed(
    operation: str, attributes: dict[str, onnx.AttributeProto], given: list[np.ndarray]
) -> np.ndarray | None:
    first = given[0] if given else np.zeros(0)
    if operation in _ELEMENTWISE and (len(given) <= 2 or operation == "Where"):
        return np.asarray(_ELEMENTWISE[operation](*given))
    if operation == "Div":
        divisor = given[1]
        whole = first.dtype.kind in "iu"
        quotient = np.asarray(first / divisor)
        return np.trunc(quotient).astype(first.dtype) if whole else quotient
    if operation == "Cast":
        return first.astype(helper.tensor_dtype_to_np_dtype(attributes["to"].i))
    if operation == "Concat":
        return np.concatenate(given, attributes["axis"].i)
    if operation == "Gather":
        return np.take(first, given[1], attributes["axis"].i if "axis" in attributes else 0)
    if operation in ("Squeeze", "Unsqueeze"):
        return _with_axes(operation, first, attributes, given)
    if operation == "Slice":
        return _sliced(first, *given[1:])
    if operation == "Reshape":
        shape = [first.shape[i] if n == 0 else int(n) for i, n in enumerate(given[1])]
        return first.reshape(shape)
    if operation == "Transpose":
        return first.transpose(list(attributes["perm"].ints) if "perm" in attributes else None)
    if operation in ("ConstantOfShape", "Expand") and math.prod(given[-1].tolist()) <= MOST:
        return _spread(operation, attributes, given)
    return None


def _with_axes(
    operation: str, first: np.ndarray, attributes: Any, given: list[np.ndarray]
) -> np.ndarray:
    axes = given[1].tolist() if len(given) > 1 else None
    if "axes" in attributes:
        axes = list(attributes["axes"].ints)
    if operation == "Unsqueeze":
        return np.expand_dims(first, tuple(axes or ()))
    return np.squeeze(first, None if axes is None else tuple(axes))


def _sliced(
    first: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    axes: np.ndarray | None = None,
    steps: np.ndarray | None = None,
) -> np.ndarray:
    along = range(len(starts)) if axes is None else axes.tolist()
    by = [1] * len(starts) if steps is None else steps.tolist()
    parts: list[slice] = [slice(None)] * first.ndim
    for axis, start, end, step in zip(along, starts.tolist(), ends.tolist(), by, strict=True):
        # Before the first is written as a very small number.
        before = step < 0 and end < -first.shape[axis]
        parts[axis] = slice(start, None if before else end, step)
    return first[tuple(parts)]


def _spread(operation: str, attributes: Any, given: list[np.ndarray]) -> np.ndarray:
    if operation == "Expand":
        return np.broadcast_to(given[0], np.broadcast_shapes(given[0].shape, tuple(given[1])))
    value = (
        numpy_helper.to_array(attributes["value"].t) if "value" in attributes else np.zeros(1, "f4")
    )
    return np.full(tuple(given[0].tolist()), value.reshape(()), value.dtype)

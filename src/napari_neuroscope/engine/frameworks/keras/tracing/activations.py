"""Which operations of a TensorFlow graph are activations, for guided backpropagation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from napari_neuroscope.engine.frameworks.activation_search import (
    Activations,
    Operation,
    OperationKind,
    find_activations,
)
from napari_neuroscope.engine.frameworks.keras.tracing.graph import CLIPPING, NONLINEAR, Graph

_KINDS: dict[str, OperationKind] = {
    **dict.fromkeys(NONLINEAR, "activation"),
    **dict.fromkeys(("Erf", "Erfc", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Asinh"),
                    "activation"),
    **dict.fromkeys(("Exp", "Expm1", "Sinh", "Cosh"), "exponential"),
    **dict.fromkeys(("Pow", "Square", "Sqrt", "Rsqrt", "Reciprocal", "Inv", "Abs", "Log", "Log1p",
                     "Acosh", "Atanh", "SquaredDifference"), "power"),
    **dict.fromkeys(CLIPPING, "clipping"),
    **dict.fromkeys(("Greater", "GreaterEqual", "Less", "LessEqual", "Equal", "NotEqual", "Sign",
                     "LogicalAnd", "LogicalOr", "LogicalNot", "Floor", "Ceil", "Round", "Rint"),
                    "comparison"),
    **dict.fromkeys(("Mul", "MulNoNan", "Div", "RealDiv", "DivNoNan", "Xlogy", "Atan2"), "product"),
    **dict.fromkeys(("Add", "AddV2", "AddN", "Sub", "Neg", "Select", "SelectV2", "Identity",
                     "IdentityN", "Cast", "BiasAdd", "StopGradient"), "linear"),
    **dict.fromkeys(("Conv2D", "Conv3D", "DepthwiseConv2dNative", "Conv2DBackpropInput",
                     "Conv3DBackpropInputV2", "MatMul", "BatchMatMulV2", "Einsum"), "weighted"),
}  # fmt: skip
_QUOTIENTS = {"Div", "RealDiv", "DivNoNan"}
_LARGEST_HALF = 65504


def activations(graph: Graph, ends: Iterable[Any]) -> Activations:
    """Return the activations of a graph that lead to tensors, by the names of operations."""
    return find_activations([_operation(graph, op) for op in _leading_to(graph, ends)])


def _leading_to(graph: Graph, ends: Iterable[Any]) -> list[Any]:
    met: dict[str, Any] = {}
    stack = [tensor.op for tensor in ends]
    while stack:
        op = stack.pop()
        if op.name in graph.from_input and op.name not in met:
            met[op.name] = op
            stack.extend(tensor.op for tensor in op.inputs)
    return sorted(met.values(), key=graph.place)


def _operation(graph: Graph, op: Any) -> Operation:
    varying = [tensor for tensor in op.inputs if graph.depends(tensor)]
    kind = _KINDS.get(op.type, "other")
    if kind in ("product", "linear", "power", "clipping") and len(varying) == 1:
        kind = _kind_with_constants(op, graph)
    sources = tuple(dict.fromkeys(tensor.op.name for tensor in varying))
    shapes = [tensor.shape for tensor in (*varying, op.outputs[0])] if op.outputs else []
    sizes = [shape.as_list() for shape in shapes if shape.rank is not None]
    elementwise = op.type == "IdentityN" or all(size == sizes[-1] for size in sizes)
    return Operation(op.name, kind, sources, elementwise)


def _kind_with_constants(op: Any, graph: Graph) -> OperationKind:
    """Return the kind of an operation that takes one tensor which varies, and constants."""
    if op.type in CLIPPING:
        return "linear" if _is_limit(op) else "clipping"
    first = graph.depends(op.inputs[0])
    if op.type == "Neg":
        return "flip"
    if (op.type in _QUOTIENTS and not first) or op.type == "Xlogy":
        return "power"
    if op.type == "Atan2":
        return "activation"
    if op.type == "Pow":
        return "power" if first else "exponential"
    if op.type == "SquaredDifference" or _KINDS[op.type] == "power":
        return "power"
    number = _number(op.inputs[1 if first else 0]) if len(op.inputs) == 2 else None
    if number is None:
        return "linear"
    if op.type in ("Add", "AddV2"):
        return "scalar"
    if op.type == "Sub":
        return "scalar" if first else "flip"
    if op.type in {"Mul", "MulNoNan"} | _QUOTIENTS:
        return "flip" if number < 0 else "scalar" if number > 0 else "linear"
    return "linear"


def _number(tensor: Any) -> float | None:
    """Return a constant that is one number, and nothing that was learnt."""
    import tensorflow as tf

    value = tf.get_static_value(tensor)
    if value is None or value.size != 1 or value.dtype.kind not in "biuf":
        return None
    return float(value.reshape(()))


def _is_limit(op: Any) -> bool:
    """Whether a clipping only keeps values to what a type can hold."""
    import tensorflow as tf

    values = [tf.get_static_value(tensor) for tensor in op.inputs]
    return any(v is not None for v in values) and all(
        v is None or bool((abs(v.astype("float64")) >= _LARGEST_HALF).all()) for v in values
    )

"""How much an ONNX model may claim to be, told from its structure before anything is made of it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any

import onnx
from onnx import AttributeProto, TensorProto, helper

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files import limits

_PLAIN_DOMAINS = ("", "ai.onnx")
# ONNX Runtime computes shapes ahead by these; of the second the first input alone is counted.
_JOINED = {"Add", "Sub", "Mul", "Div", "Concat", "Where", "Max", "Min"}
_FOLLOWED = {
    "Cast", "Gather", "GatherElements", "Identity", "Neg", "Reshape", "Slice", "Squeeze",
    "Unsqueeze", "Flatten", "Transpose", "Abs", "Floor", "Ceil",
}  # fmt: skip
_MOST_AXES = 64
ALL_TYPES = frozenset(TensorProto.DataType.values())
_WHOLE = (TensorProto.INT64, TensorProto.INT32)
_REFERENCES = {TensorProto.UNDEFINED, TensorProto.STRING}
# A number of eight bytes is written as one byte at least.
_MOST_PACKED = 8


def refuse_unbounded(model: onnx.ModelProto, title: str, size: int) -> None:
    """Refuse a model that would become much larger than its bytes are.

    Parameters
    ----------
    model
        What the bytes say.
    title
        What people call it, at the beginning of a sentence.
    size
        How many bytes it has.

    Raises
    ------
    NeuroscopeError
        Where a weight claims more numbers than it holds, or functions call themselves or expand to
        more operations than any network has.
    """
    for tensor in tensors_in(model):
        _refuse_claim(tensor, title)
    most = max(limits.ALWAYS_UNPACKED, limits.MOST_GROWTH * size)
    _refuse_sparse(model, title, most)
    _refuse_expanding(model, title, most)


# --- weights --------------------------------------------------------------------------------------


def tensors_in(message: Any) -> Iterator[TensorProto]:
    """Yield all constant tensors of a model, or of a part of it."""
    from google.protobuf.message import Message

    if isinstance(message, TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                yield from tensors_in(part)


def bytes_of(data_type: int, count: int) -> int:
    """Return how many bytes so many numbers of a type take, or words their references."""
    if data_type in _REFERENCES or data_type not in ALL_TYPES:
        return 8 * count
    return helper.tensor_dtype_to_np_dtype(data_type).itemsize * count


def named(tensor: TensorProto) -> str:
    """Return how a sentence names a weight."""
    return f"the weight “{shortened(tensor.name or '?', 80)}”"


def _refuse_claim(tensor: TensorProto, title: str) -> None:
    """Refuse a weight that says it has another number of values than it holds."""
    if any(n < 0 for n in tensor.dims) or len(tensor.dims) > _MOST_AXES:
        raise NeuroscopeError(
            f"{title} is broken: {named(tensor)} has the shape "
            f"{shortened(str(list(tensor.dims[:_MOST_AXES])), 100)}, which can't be; export it "
            f"again."
        )
    if tensor.data_type not in ALL_TYPES:
        raise NeuroscopeError(
            f"{title} is broken, or newer than the onnx that is installed: {named(tensor)} is of an "
            f"unknown type."
        )
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        return
    count = math.prod(tensor.dims)
    # Its own bytes are counted, not copied.
    if bytes_of(tensor.data_type, count) > _MOST_PACKED * (tensor.ByteSize() + _MOST_AXES):
        raise NeuroscopeError(
            f"{title} is broken: {named(tensor)} should hold {count:,} values, and doesn't; "
            f"download or export it again."
        )


def _refuse_sparse(message: Any, title: str, most: int) -> None:
    total = 0
    for sparse in _sparse_in(message):
        if any(n < 0 for n in sparse.dims):
            most = -1
        total += bytes_of(sparse.values.data_type, math.prod(sparse.dims))
        if total > most:
            raise NeuroscopeError(
                f"{title} has weights such as “{shortened(sparse.values.name, 80)}”, mostly of zeros "
                f"that are not written, which would take "
                f"{total:,} bytes, far more than the file has; it is not opened."
            )


def _sparse_in(message: Any) -> Iterator[onnx.SparseTensorProto]:
    from google.protobuf.message import Message

    if isinstance(message, onnx.SparseTensorProto):
        yield message
    elif not isinstance(message, TensorProto):
        for field, value in message.ListFields():
            if field.message_type is not None:
                for part in [value] if isinstance(value, Message) else value:
                    yield from _sparse_in(part)


# --- functions ------------------------------------------------------------------------------------


def graphs_of(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the graphs that a node holds, such as the body of a loop."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH or attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def nodes_in(nodes: Any) -> Iterator[onnx.NodeProto]:
    """Yield nodes, and those of the graphs that they hold."""
    for node in nodes:
        yield node
        for graph in graphs_of(node):
            yield from nodes_in(graph.node)


def _refuse_expanding(model: onnx.ModelProto, title: str, most_bytes: int) -> None:
    """Refuse functions that take too much room where each call of them is replaced by its body."""
    functions = {_key(f.domain, f.name, f): f for f in model.functions}
    # Operations, bytes, and how deep calls lie in each other.
    cost: dict[Any, tuple[int, int, int]] = {}
    for first in functions:
        waiting, within = [first], set[Any]()
        while waiting:
            key = waiting[-1]
            if key in cost:
                within.discard(key)
                waiting.pop()
                continue
            calls = {
                _key(node.domain, node.op_type, node) for node in nodes_in(functions[key].node)
            }
            todo = [called for called in calls if called in functions and called not in cost]
            if todo and key in within:
                raise _functions_broken(title, f"“{shortened(str(key[1]), 80)}” calls itself")
            if todo:
                within.add(key)
                waiting.extend(todo)
            else:
                cost[key] = _cost(functions[key].node, cost)
    count, size, depth = _cost(model.graph.node, cost)
    if depth > limits.MOST_DEPTH:
        raise _functions_broken(title, f"their calls are nested {depth:,} deep")
    if count > limits.MOST_OPERATIONS:
        raise NeuroscopeError(
            f"{title} has {count:,} operations, with those of its functions, more than any network "
            f"that can be opened here ({limits.MOST_OPERATIONS:,})."
        )
    if functions and size > most_bytes:
        raise _functions_broken(title, f"their calls take {size:,} bytes")


def _functions_broken(title: str, reason: str) -> NeuroscopeError:
    return NeuroscopeError(f"{title} can't be opened, its functions are broken: {reason}.")


def _key(domain: str, name: str, of: Any) -> tuple[str, str, str]:
    return "" if domain in _PLAIN_DOMAINS else domain, name, getattr(of, "overload", "")


def _cost(nodes: Any, cost: dict[Any, tuple[int, int, int]]) -> tuple[int, int, int]:
    count = size = depth = 0
    for node in nodes_in(nodes):
        called = cost.get(_key(node.domain, node.op_type, node))
        inside = called or (1, node.ByteSize(), 0)
        count, size = count + inside[0], size + inside[1]
        depth = max(depth, inside[2] + 1) if called else depth
    return count, size, depth


# --- shapes ---------------------------------------------------------------------------------------


def refuse_long_shapes(graph: onnx.GraphProto, title: str) -> None:
    """Refuse shapes that are joined with themselves again and again.

    ONNX Runtime computes them when it opens a model, however long they become.

    Parameters
    ----------
    graph
        A graph without calls of functions.
    title
        What people call the model, at the beginning of a sentence.

    Raises
    ------
    NeuroscopeError
        Where they are longer than any network's.
    """
    if followed_numbers(graph, _WHOLE) > limits.MOST_SHAPE_NUMBERS:
        raise NeuroscopeError(
            f"{title} computes shapes of more than {limits.MOST_SHAPE_NUMBERS:,} numbers, as no "
            f"network does; it is not opened."
        )


def followed_numbers(graph: onnx.GraphProto, types: Collection[int]) -> int:
    """Return how many numbers are computed where small constants of some types are followed."""
    length: dict[str, int] = {}
    for inside in (graph, *(inner for node in nodes_in(graph.node) for inner in graphs_of(node))):
        length |= {t.name: math.prod(t.dims) for t in inside.initializer if t.data_type in types}
    total = 0
    for node in nodes_in(graph.node):
        if node.op_type == "Constant":
            count = max((_numbers(a, types) for a in node.attribute), default=0)
        elif node.op_type in ("Shape", "Size"):
            count = _MOST_AXES
        elif node.op_type in _JOINED:
            counts = [length.get(name, 0) for name in node.input]
            count = sum(counts) if node.op_type == "Concat" else max(counts, default=0)
        elif node.op_type in _FOLLOWED and node.input and length.get(node.input[0], 0):
            # As many as it takes, or as a Gather has places to take them from.
            count = max(length.get(name, 0) for name in node.input)
        else:
            continue
        if count:
            length.update(dict.fromkeys(node.output, count))
            total += count if node.op_type != "Constant" else 0
    return total


def _numbers(attribute: AttributeProto, types: Collection[int]) -> int:
    if attribute.HasField("t"):
        return math.prod(attribute.t.dims) if attribute.t.data_type in types else 0
    return max(len(attribute.ints), len(attribute.floats), int(attribute.HasField("i")))

"""How much memory a pass takes, told by the shapes of its tensors before it runs."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference
from onnx.shape_inference import InferenceError

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.frameworks.onnx.files.bounds import (
    ALL_TYPES,
    bytes_of,
    followed_numbers,
    graphs_of,
)
from napari_neuroscope.engine.frameworks.onnx.memory.small_values import (
    MOST,
    known_values,
    small_values,
)

_COLUMNS = {"ConvTranspose", "DeformConv"}
# Shapes that take longer to be inferred are as good as unknown.
_SECONDS = 3.0
_Shapes = dict[str, tuple[int, list[int]]]


class ShapesError(NeuroscopeError):
    """Shapes that don't fit each other: a pass would fail."""


@dataclass(frozen=True)
class PassSizes:
    """The bytes that the tensors of a pass take.

    Attributes
    ----------
    of
        Of each tensor.
    beside
        What operations need beside them meanwhile.
    shapes
        Their shapes.
    """

    of: dict[str, int]
    beside: int
    shapes: dict[str, tuple[int, ...]]

    @property
    def total(self) -> int:
        """All tensors together, which is more than lies in memory at once."""
        return sum(self.of.values()) + self.beside

    def least(self, kept: Collection[str]) -> int:
        """What surely lies in memory at once where these tensors are kept."""
        return max(sum(self.of.get(name, 0) for name in kept), max(self.of.values(), default=0))


class OnnxSizes:
    """The structure of a model, without its weights, which tells the sizes of its tensors.

    Attributes
    ----------
    has_loops
        Whether it holds graphs inside of its graph, such as the body of a loop, so that no shape
        tells how long it runs.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.has_loops = any(True for node in graph.node for _ in graphs_of(node))
        self._structure = onnx.ModelProto(ir_version=model.ir_version)
        self._structure.opset_import.extend(model.opset_import)
        made = self._structure.graph
        made.name = "structure"
        for tensor in graph.initializer:
            if _is_small(tensor):
                made.initializer.add().CopyFrom(tensor)
            else:
                made.input.append(_value(tensor.name, tensor))
        for sparse in graph.sparse_initializer:
            shape = list(sparse.dims)
            name, of_type = sparse.values.name, sparse.values.data_type
            made.input.append(helper.make_tensor_value_info(name, of_type, shape))
        weights = {t.name for t in graph.initializer} | {v.name for v in made.input}
        self._images = [value.name for value in graph.input if value.name not in weights]
        made.input.extend(value for value in graph.input if value.name not in weights)
        for node in graph.node:
            large = _large_constant(node)
            if large is None:
                made.node.add().CopyFrom(node)
            else:
                made.input.append(_value(node.output[0], large))

    def constants(self) -> int | None:
        """Return how many bytes all take that don't come of the image; None where that is unknown.

        Those are computed when the model is opened.
        """
        kept = onnx.ModelProto()
        kept.CopyFrom(self._structure)
        of_image, nodes = set(self._images), []
        for node in kept.graph.node:
            if of_image.isdisjoint(node.input):
                nodes.append(node)
            else:
                of_image.update(node.output)
        del kept.graph.node[:]
        kept.graph.node.extend(nodes)
        sizes = None if self.has_loops else _sizes(kept)
        return None if sizes is None else sizes.total

    def of(self, shape: Sequence[int]) -> PassSizes | None:
        """Return the sizes for an input of a shape; None where no shape tells them.

        Raises
        ------
        ShapesError
            Where the shapes don't fit each other.
        """
        if self.has_loops:
            return None
        given = onnx.ModelProto()
        given.CopyFrom(self._structure)
        for value in given.graph.input:
            if value.name in self._images:
                dims = value.type.tensor_type.shape
                dims.ClearField("dim")
                dims.dim.extend(onnx.TensorShapeProto.Dimension(dim_value=n) for n in shape)
        return _sizes(given)


def _is_small(tensor: TensorProto) -> bool:
    return math.prod(tensor.dims) <= MOST and not tensor.external_data


def _value(name: str, tensor: TensorProto) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))


def _large_constant(node: onnx.NodeProto) -> TensorProto | None:
    if node.op_type != "Constant" or len(node.output) != 1:
        return None
    for attribute in node.attribute:
        tensor: TensorProto = attribute.t
        if attribute.HasField("t") and not _is_small(tensor):
            return tensor
        if attribute.HasField("sparse_tensor"):
            sparse = attribute.sparse_tensor
            return TensorProto(data_type=sparse.values.data_type, dims=sparse.dims)
    return None


def _sizes(model: onnx.ModelProto) -> PassSizes | None:
    """Infer the shapes, and again with what they tell, until all are known."""
    values = known_values(model.graph)
    # ONNX's own way to follow values has no bound.
    follows = followed_numbers(model.graph, ALL_TYPES) <= limits.MOST_SHAPE_NUMBERS
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        try:
            told = shape_inference.infer_shapes(model, strict_mode=True, data_prop=follows).graph
        except InferenceError as error:
            raise ShapesError(shortened(" ".join(str(error).split()), 200)) from error
        except Exception:  # noqa: BLE001  what can't be inferred is unknown, whatever the reason
            return None
        shapes = _shapes(told)
        if all(name in shapes for node in told.node for name in node.output if name):
            return _summed(told, shapes)
        count = len(values)
        small_values(model.graph.node, values, {name: dims for name, (_, dims) in shapes.items()})
        if len(values) == count:
            return None
        _put(model.graph, values)
    return None


def _shapes(graph: onnx.GraphProto) -> _Shapes:
    shapes: _Shapes = {t.name: (t.data_type, list(t.dims)) for t in graph.initializer}
    for value in (*graph.input, *graph.value_info):
        tensor = value.type.tensor_type
        dims = [n.dim_value if n.HasField("dim_value") else -1 for n in tensor.shape.dim]
        if tensor.HasField("shape") and min(dims, default=0) >= 0:
            shapes[value.name] = tensor.elem_type, dims
    return shapes


def _put(graph: onnx.GraphProto, values: dict[str, np.ndarray]) -> None:
    """Put values in place of the operations that compute them."""
    nodes = [node for node in graph.node if not node.output or node.output[0] not in values]
    made = {node.output[0] for node in graph.node if node.output} - {n.output[0] for n in nodes}
    graph.initializer.extend(numpy_helper.from_array(values[name], name) for name in sorted(made))
    del graph.node[:]
    graph.node.extend(nodes)


def _summed(graph: onnx.GraphProto, shapes: _Shapes) -> PassSizes:
    of = {
        name: bytes_of(shapes[name][0], math.prod(shapes[name][1]))
        for node in graph.node
        for name in node.output
        if name
    }
    columns = (_columns(node, shapes) for node in graph.node if node.op_type in _COLUMNS)
    told = {name: tuple(shapes[name][1]) for name in of}
    return PassSizes(of, max(columns, default=0), told)


def _columns(node: onnx.NodeProto, shapes: _Shapes) -> int:
    """Return the bytes of what such a convolution lays out: a kernel for each position."""
    if not {*node.input[:2], node.output[0]} <= shapes.keys():
        return 0
    of_type, kernel = shapes[node.input[1]]
    place = node.input[0] if node.op_type == "ConvTranspose" else node.output[0]
    return bytes_of(of_type, math.prod(kernel[1:]) * math.prod(shapes[place][1][2:]))

"""What an ONNX graph says of itself: which tensors come from the image, and what made them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.frameworks.onnx.node_order import inputs_of
from napari_neuroscope.engine.graph.layer_graph import Kind

_MOST_NUMBERS, _MOST_LETTERS = 64, 300
"""Of an attribute that is told; what is longer is data."""

_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("Conv", "ConvInteger", "QLinearConv", "DeformConv", "FusedConv"),
                    "convolution"),
    "ConvTranspose": "transposed convolution",
    **dict.fromkeys(("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", "FusedMatMul"), "dense"),
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool",
                     "GlobalLpPool", "ReduceMean", "ReduceMax"), "pooling"),
    **dict.fromkeys(("BatchNormalization", "InstanceNormalization", "LayerNormalization",
                     "GroupNormalization", "RMSNormalization", "SimplifiedLayerNormalization",
                     "LRN", "MeanVarianceNormalization", "LpNormalization"), "normalisation"),
    **dict.fromkeys(("Relu", "LeakyRelu", "PRelu", "ThresholdedRelu", "Elu", "Selu", "Celu", "Gelu",
                     "Sigmoid", "HardSigmoid", "HardSwish", "Swish", "Mish", "Tanh", "Softplus",
                     "Softsign", "Softmax", "LogSoftmax", "Hardmax", "Clip"), "activation"),
    **dict.fromkeys(("Attention", "MultiHeadAttention", "QAttention"), "attention"),
    **dict.fromkeys(("Add", "Sum", "Sub"), "add"),
    "Concat": "concatenate",
    **dict.fromkeys(("Resize", "Upsample"), "upsampling"),
    **dict.fromkeys(("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Pad", "Slice",
                     "Split", "Expand", "Tile", "DepthToSpace", "SpaceToDepth"), "reshape"),
    "Dropout": "dropout",
}  # fmt: skip

# ONNX defines these for (batch, channel, *space), and for nothing else.
_CHANNELS_FIRST = {
    "Conv", "ConvInteger", "QLinearConv", "DeformConv", "FusedConv", "ConvTranspose", "MaxPool",
    "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "LRN",
    "BatchNormalization", "InstanceNormalization", "GroupNormalization", "DepthToSpace",
    "SpaceToDepth",
}  # fmt: skip
_NEW_AXES = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Gather", "Einsum"}
_MATRIX = {"MatMul", "Gemm", "MatMulInteger", "QLinearMatMul", "FusedMatMul"}
# But for rounding.
_SAME_VALUES = {"Identity", "Cast", "QuantizeLinear", "DequantizeLinear", "Dropout"}
# As many as a padding of a volume has.
_FEW = 16
_LEARNS_NOTHING = {"pooling", "upsampling", "reshape", "dropout"}
# Where an operation on whole numbers has its weights: its other constants were measured.
_QUANTISED = {
    "ConvInteger": (1,), "MatMulInteger": (0, 1), "QLinearConv": (3, 8), "QLinearMatMul": (0, 3),
}  # fmt: skip
_WEIGHT_TYPES = {
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16,
    TensorProto.INT8, TensorProto.UINT8,
}  # fmt: skip
_ENDINGS: dict[str, Literal["softmax", "sigmoid"]] = {
    "Softmax": "softmax", "LogSoftmax": "softmax", "Sigmoid": "sigmoid",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Node:
    """One operation of the graph."""

    operation: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    @property
    def description(self) -> str:
        """The operation with its attributes."""
        told = ", ".join(f"{name}={value}" for name, value in self.attributes.items())
        return shortened(f"{self.operation}({told})", 2000)


@dataclass(frozen=True)
class FinalActivation:
    """The softmax or sigmoid that a network ends in.

    Attributes
    ----------
    layer, kind, logarithmic
        The tensor that it answers, what it is, and whether it answers logarithms.
    scores
        The tensor that it takes.
    permutations
        What lies between it and the output: axes that change places, or None: other shapes.
    """

    layer: str
    kind: Literal["softmax", "sigmoid"]
    logarithmic: bool
    scores: str
    permutations: tuple[tuple[int, ...], ...] | None

    def bring(self, scores: Tensor, output: Tensor) -> Tensor:
        """Bring the scores to the shape of the output."""
        if self.permutations is None:
            return scores.reshape(output.shape)
        for permutation in self.permutations:
            scores = scores.permute(permutation)
        return scores


@dataclass
class OnnxGraph:
    """A graph, of which little is kept: no weights.

    Attributes
    ----------
    inputs
        The inputs that are no weights: name to element type and shape, where it is told.
    outputs
        The names of the network's own outputs.
    nodes
        The operations, in order.
    weights
        The shapes and types of all constant tensors.
    of_image
        The tensors whose values come from the image, in order, and the nodes that make them.
    numbers
        The values of short constant tensors of whole numbers, such as paddings.
    """

    inputs: dict[str, tuple[int, tuple[int | None, ...] | None]]
    outputs: tuple[str, ...]
    nodes: list[Node] = field(default_factory=list)
    weights: dict[str, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    of_image: dict[str, Node] = field(default_factory=dict)
    numbers: dict[str, list[int]] = field(default_factory=dict)
    title: str = "The ONNX network"
    _counted: dict[tuple[str, ...], int] = field(default_factory=dict)
    _steps: int = 0

    @classmethod
    def of(cls, graph: onnx.GraphProto, title: str = "The ONNX network") -> OnnxGraph:
        """Look at a graph, which people call `title` at the beginning of a sentence."""
        weights = {t.name: (t.data_type, tuple(t.dims)) for t in graph.initializer}
        weights |= {
            t.values.name: (t.values.data_type, tuple(t.dims)) for t in graph.sparse_initializer
        }
        inputs = {
            value.name: (value.type.tensor_type.elem_type, _shape(value))
            for value in graph.input
            if value.name not in weights
        }
        made = cls(
            inputs, tuple(value.name for value in graph.output), weights=weights, title=title
        )
        made.numbers = {t.name: few for t in graph.initializer if (few := _few_numbers(t))}
        seen = set(inputs)
        for proto in graph.node:
            outputs = tuple(name for name in proto.output if name)
            node = Node(proto.op_type, tuple(inputs_of(proto)), outputs, _attributes(proto))
            made.nodes.append(node)
            for attribute in proto.attribute:
                if proto.op_type == "Constant" and attribute.name == "value" and outputs:
                    weights[outputs[0]] = attribute.t.data_type, tuple(attribute.t.dims)
                    if few := _few_numbers(attribute.t):
                        made.numbers[outputs[0]] = few
            # What is computed of an image's size alone says nothing of the image.
            if proto.op_type not in ("Shape", "Size") and not seen.isdisjoint(node.inputs):
                seen.update(outputs)
                made.of_image.update(dict.fromkeys(outputs, node))
        return made

    @cached_property
    def _makers(self) -> dict[str, Node]:
        return {name: node for node in self.nodes for name in node.outputs}

    def kind(self, tensor: str) -> Kind:
        """Return what the node that makes a tensor does."""
        node = self.of_image[tensor]
        kind = _KINDS.get(node.operation, "other")
        joined = sum(name in self.of_image or name in self.inputs for name in node.inputs)
        # A bias joins nothing, and a product of two answers has no weights.
        if (kind == "add" and joined < 2) or (node.operation in _MATRIX and joined > 1):
            return "other"
        return kind

    def parameters(self, tensor: str) -> int:
        """Return how many numbers the node that makes a tensor learnt."""
        node = self.of_image[tensor]
        if node.operation in _QUANTISED:
            return self._learnt_whole(node)
        kind = self.kind(tensor)
        if kind in _LEARNS_NOTHING or (kind == "activation" and node.operation != "PRelu"):
            return 0
        # A batch norm's means and deviations were measured, not learnt.
        learnt = node.inputs[: 3 if node.operation == "BatchNormalization" else None]
        return self._numbers(tuple(name for name in learnt if name not in self.of_image))

    def parameters_of_layers(self, layers: Collection[str]) -> dict[str, int]:
        """Return how many numbers each layer learnt, with the operations before it that are none.

        Those answer whole numbers; each is counted with the first layer that comes of it.
        """
        chosen = frozenset(layers)
        before: dict[str, tuple[str, ...]] = {}
        counted: set[str] = set()
        found = {}
        for tensor, node in self.of_image.items():
            hidden = dict.fromkeys(n for name in node.inputs for n in before.get(name, ()))
            left = [name for name in hidden if name not in counted]
            if tensor not in chosen:
                learns = node.operation in _QUANTISED
                before[tensor] = (*left, tensor) if learns else tuple(left)
                continue
            counted.update(left)
            found[tensor] = self.parameters(tensor) + sum(map(self.parameters, left))
        return {tensor: found[tensor] for tensor in layers}

    def _learnt_whole(self, node: Node) -> int:
        """Return how many numbers an operation on whole numbers learnt."""
        places = [place for place in _QUANTISED[node.operation] if place < len(node.inputs)]
        names = [node.inputs[place] for place in places]
        # Biases are of a type that otherwise holds sizes and places.
        here = [math.prod(self.weights[name][1]) for name in names if name in self.weights]
        made = [n for n in names if n not in self.weights and n not in self.of_image]
        return sum(here) + self._numbers(tuple(made))

    def _numbers(self, names: tuple[str, ...]) -> int:
        """Return how many numbers were learnt that constants are, or are made of, each once."""
        if names in self._counted:
            return self._counted[names]
        counted: dict[str, int] = {}
        seen, waiting = set(names), list(names)
        while waiting:
            name = waiting.pop()
            self._steps += 1
            if self._steps > limits.MOST_CONNECTIONS:
                raise NeuroscopeError(
                    f"{self.title} computes its weights in more steps than can be followed; export "
                    f"it with its constants folded."
                )
            if name in self.weights:
                of_type, shape = self.weights[name]
                counted[name] = math.prod(shape) if shape and of_type in _WEIGHT_TYPES else 0
            elif (made_by := self._makers.get(name)) is not None:
                # Weights may come to a node by way of others, such as what restores their type.
                first = made_by.operation == "DequantizeLinear"
                before = set(made_by.inputs[: 1 if first else None]) - seen
                seen |= before
                waiting.extend(before)
        self._counted[names] = sum(counted.values())
        return self._counted[names]

    def edges(self, layers: Collection[str]) -> tuple[dict[str, tuple[str, ...]], set[str]]:
        """Return the layers before each layer, and those that reach another by no layer alone."""
        chosen = frozenset(layers)
        sources: dict[str, tuple[str, ...]] = {}
        inputs: dict[str, tuple[str, ...]] = {}
        altered: set[str] = set()
        connections = 0
        for tensor, node in self.of_image.items():
            before = [(name, sources.get(name, ())) for name in node.inputs]
            found = tuple(dict.fromkeys(source for _, names in before for source in names))
            connections += len(found)
            if connections > limits.MOST_CONNECTIONS:
                raise NeuroscopeError(
                    f"{self.title} has more than {limits.MOST_CONNECTIONS:,} connections "
                    f"between its layers, more than can be shown."
                )
            if tensor in chosen:
                altered.update(s for name, names in before if name not in chosen for s in names)
                sources[tensor], inputs[tensor] = (tensor,), found
            else:
                sources[tensor] = found
        return {tensor: inputs[tensor] for tensor in layers}, altered

    def sources_of(self, tensor: str) -> set[str]:
        """Return all tensors that one is computed from."""
        found: set[str] = set()
        waiting = [tensor]
        while waiting:
            node = self._makers.get(waiting.pop())
            new = set(node.inputs) - found if node is not None else set()
            found |= new
            waiting.extend(new)
        return found

    # --- where the channels are ---

    def channel_axes(self, axis: int | None, ranks: Mapping[str, int]) -> dict[str, int | None]:
        """Return the axis of the channels of each tensor, for an image that has them at `axis`."""
        found: dict[str, int | None] = dict.fromkeys(self.inputs, axis)
        for tensor, node in self.of_image.items():
            before = [found[name] for name in node.inputs if found.get(name) is not None]
            first = before[0] if before else None
            if node.operation in _CHANNELS_FIRST:
                found[tensor] = 1
            elif node.operation == "Transpose" and first is not None:
                order = node.attributes.get("perm")
                found[tensor] = order.index(first) if order and first < len(order) else None
            elif node.operation in _MATRIX:
                same = first is not None and first == ranks.get(tensor, 0) - 1
                found[tensor] = first if same else None
            else:
                found[tensor] = None if node.operation in _NEW_AXES else first
        return found

    def fits(self, axis: int) -> bool | None:
        """Whether the image's channels may be at `axis`; None where the graph doesn't tell."""
        axes = self.channel_axes(axis, {})
        for node in self.nodes:
            if node.operation in _CHANNELS_FIRST and axes.get(node.inputs[0]) is not None:
                return axes[node.inputs[0]] == 1
        return None

    def first_convolution(self) -> tuple[int, ...] | None:
        """Return the (input channel, *kernel) shape of the first convolution's weights."""
        for node in self.nodes:
            if _KINDS.get(node.operation) == "convolution":
                place = 3 if node.operation == "QLinearConv" else 1
                weights = self.weights.get(node.inputs[place]) if len(node.inputs) > place else None
                if weights is None:
                    return None
                return weights[1][1] * node.attributes.get("group", 1), *weights[1][2:]
        return None

    # --- how it ends ---

    def ends(self) -> frozenset[str]:
        """Return the outputs, and the tensors at which they can be cut."""
        found = set(self.outputs)
        for ending in map(self.ending, self.outputs):
            if ending is not None:
                found |= {ending.scores, ending.layer} & self.of_image.keys()
        return frozenset(found)

    def ending(self, output: str) -> FinalActivation | None:
        """Return the softmax or sigmoid behind which nothing but the shape is changed."""
        permutations: list[tuple[int, ...]] = []
        reshaped, powers, tensor = False, 0, output
        while (node := self.of_image.get(tensor)) is not None:
            if node.operation in _ENDINGS:
                logarithmic = node.operation == "LogSoftmax"
                if (reshaped and permutations) or powers > logarithmic:
                    return None
                return FinalActivation(
                    tensor,
                    _ENDINGS[node.operation],
                    logarithmic,
                    node.inputs[0],
                    None if reshaped else tuple(reversed(permutations)),
                )
            if node.operation == "Transpose" and "perm" in node.attributes:
                permutations.append(tuple(node.attributes["perm"]))
            elif node.operation in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
                reshaped = True
            elif node.operation == "Exp":
                powers += 1
            elif node.operation not in _SAME_VALUES:
                return None
            tensor = node.inputs[0]
        return None


def _shape(value: onnx.ValueInfoProto) -> tuple[int | None, ...] | None:
    if not value.type.tensor_type.HasField("shape"):
        return None
    # A size that is not positive is none that is known.
    return tuple(d.dim_value if d.dim_value > 0 else None for d in value.type.tensor_type.shape.dim)


def _few_numbers(tensor: onnx.TensorProto) -> list[int] | None:
    """Return the values of a short tensor of whole numbers that is in the file itself."""
    whole = tensor.data_type in (TensorProto.INT64, TensorProto.INT32)
    if not whole or tensor.external_data or math.prod(tensor.dims) > _FEW:
        return None
    try:
        return [int(n) for n in numpy_helper.to_array(tensor).reshape(-1)]
    except ValueError:
        return None


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the attributes that are numbers or words, but for long ones."""
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        if max(len(attribute.ints), len(attribute.floats), len(attribute.strings)) > _MOST_NUMBERS:
            continue
        value = helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            found[attribute.name] = shortened(
                value[:4096].decode("utf-8", "replace"), _MOST_LETTERS
            )
        elif isinstance(value, int | float):
            found[attribute.name] = value
        elif isinstance(value, Sequence) and all(isinstance(item, int | float) for item in value):
            found[attribute.name] = list(value)
    return found

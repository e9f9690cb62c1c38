"""What an ONNX graph says of itself: which tensors come from the image, and what made them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import onnx

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.frameworks.onnx.final_activation import (
    FinalActivation,
    find_final_activation,
)
from napari_neuroscope.engine.frameworks.onnx.node import (
    KINDS,
    MATRIX_PRODUCTS,
    Node,
    small_numbers,
)
from napari_neuroscope.engine.graph.layer_graph import Kind

# ONNX defines these for (batch, channel, *space), and for nothing else.
_CHANNELS_FIRST = {
    "Conv", "ConvInteger", "QLinearConv", "DeformConv", "FusedConv", "ConvTranspose", "MaxPool",
    "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "LRN",
    "BatchNormalization", "InstanceNormalization", "GroupNormalization", "DepthToSpace",
    "SpaceToDepth",
}  # fmt: skip
_NEW_AXES = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Gather", "Einsum"}


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
        made.numbers = {t.name: few for t in graph.initializer if (few := small_numbers(t))}
        seen = set(inputs)
        for proto in graph.node:
            node = Node.of(proto)
            outputs = node.outputs
            made.nodes.append(node)
            for attribute in proto.attribute:
                if proto.op_type == "Constant" and attribute.name == "value" and outputs:
                    weights[outputs[0]] = attribute.t.data_type, tuple(attribute.t.dims)
                    if few := small_numbers(attribute.t):
                        made.numbers[outputs[0]] = few
            # What is computed of an image's size alone says nothing of the image.
            if proto.op_type not in ("Shape", "Size") and not seen.isdisjoint(node.inputs):
                seen.update(outputs)
                made.of_image.update(dict.fromkeys(outputs, node))
        return made

    @cached_property
    def makers(self) -> dict[str, Node]:
        """The nodes that make tensors, by their names."""
        return {name: node for node in self.nodes for name in node.outputs}

    def kind(self, tensor: str) -> Kind:
        """Return what the node that makes a tensor does."""
        node = self.of_image[tensor]
        kind = KINDS.get(node.operation, "other")
        joined = sum(name in self.of_image or name in self.inputs for name in node.inputs)
        # A bias joins nothing, and a product of two answers has no weights.
        if (kind == "add" and joined < 2) or (node.operation in MATRIX_PRODUCTS and joined > 1):
            return "other"
        return kind

    def edges(self, layers: Collection[str]) -> tuple[dict[str, tuple[str, ...]], set[str]]:
        """Return the layers before each layer, and those that reach another by no layer alone."""
        chosen = frozenset(layers)
        sources: dict[str, tuple[str, ...]] = {}
        inputs: dict[str, tuple[str, ...]] = {}
        altered: set[str] = set()
        connections = 0
        for tensor, node in self.of_image.items():
            before = [(name, sources.get(name, ())) for name in node.inputs]
            layers_before = tuple(dict.fromkeys(source for _, names in before for source in names))
            connections += len(layers_before)
            if connections > limits.MOST_CONNECTIONS:
                raise NeuroscopeError(
                    f"{self.title} has more than {limits.MOST_CONNECTIONS:,} connections "
                    f"between its layers, more than can be shown."
                )
            if tensor in chosen:
                altered.update(s for name, names in before if name not in chosen for s in names)
                sources[tensor], inputs[tensor] = (tensor,), layers_before
            else:
                sources[tensor] = layers_before
        return {tensor: inputs[tensor] for tensor in layers}, altered

    def sources_of(self, tensor: str) -> set[str]:
        """Return all tensors that one is computed from."""
        sources: set[str] = set()
        waiting = [tensor]
        while waiting:
            node = self.makers.get(waiting.pop())
            new = set(node.inputs) - sources if node is not None else set()
            sources |= new
            waiting.extend(new)
        return sources

    # --- where the channels are ---

    def channel_axes(self, axis: int | None, ranks: Mapping[str, int]) -> dict[str, int | None]:
        """Return the axis of the channels of each tensor, for an image that has them at `axis`."""
        axes: dict[str, int | None] = dict.fromkeys(self.inputs, axis)
        for tensor, node in self.of_image.items():
            before = [axes[name] for name in node.inputs if axes.get(name) is not None]
            first = before[0] if before else None
            if node.operation in _CHANNELS_FIRST:
                axes[tensor] = 1
            elif node.operation == "Transpose" and first is not None:
                order = node.attributes.get("perm")
                axes[tensor] = order.index(first) if order and first < len(order) else None
            elif node.operation in MATRIX_PRODUCTS:
                same = first is not None and first == ranks.get(tensor, 0) - 1
                axes[tensor] = first if same else None
            else:
                axes[tensor] = None if node.operation in _NEW_AXES else first
        return axes

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
            if KINDS.get(node.operation) == "convolution":
                place = 3 if node.operation == "QLinearConv" else 1
                weights = self.weights.get(node.inputs[place]) if len(node.inputs) > place else None
                if weights is None:
                    return None
                return weights[1][1] * node.attributes.get("group", 1), *weights[1][2:]
        return None

    # --- how it ends ---

    def final_activation(self, output: str) -> FinalActivation | None:
        """Return the softmax or sigmoid that an output ends in."""
        return find_final_activation(self.of_image, output)

    def ends(self) -> frozenset[str]:
        """Return the outputs, and the tensors at which they can be cut."""
        ends = set(self.outputs)
        for final in map(self.final_activation, self.outputs):
            if final is not None:
                ends |= {final.scores, final.layer} & self.of_image.keys()
        return frozenset(ends)


def _shape(value: onnx.ValueInfoProto) -> tuple[int | None, ...] | None:
    if not value.type.tensor_type.HasField("shape"):
        return None
    # A size that is not positive is none that is known.
    return tuple(d.dim_value if d.dim_value > 0 else None for d in value.type.tensor_type.shape.dim)

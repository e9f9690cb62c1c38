"""How many numbers the layers of an ONNX network learnt: the format only has constants."""

from __future__ import annotations

import math
from collections.abc import Collection

from onnx import TensorProto

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.frameworks.onnx.graph import OnnxGraph
from napari_neuroscope.engine.frameworks.onnx.node import Node

_LEARNS_NOTHING = {"pooling", "upsampling", "reshape", "dropout"}
# Where an operation on whole numbers has its weights: its other constants were measured.
_QUANTISED = {
    "ConvInteger": (1,), "MatMulInteger": (0, 1), "QLinearConv": (3, 8), "QLinearMatMul": (0, 3),
}  # fmt: skip
_WEIGHT_TYPES = {
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16,
    TensorProto.INT8, TensorProto.UINT8,
}  # fmt: skip


class ParameterCounter:
    """Counts what the layers of a graph learnt, each way to a constant once."""

    def __init__(self, graph: OnnxGraph) -> None:
        self._graph = graph
        self._counted: dict[tuple[str, ...], int] = {}
        self._steps = 0

    def _of_tensor(self, tensor: str) -> int:
        """Return how many numbers the node that makes a tensor learnt."""
        node = self._graph.of_image[tensor]
        if node.operation in _QUANTISED:
            return self._count_quantised(node)
        kind = self._graph.kind(tensor)
        if kind in _LEARNS_NOTHING or (kind == "activation" and node.operation != "PRelu"):
            return 0
        # A batch norm's means and deviations were measured, not learnt.
        learnt = node.inputs[: 3 if node.operation == "BatchNormalization" else None]
        return self._count(tuple(name for name in learnt if name not in self._graph.of_image))

    def of_layers(self, layers: Collection[str]) -> dict[str, int]:
        """Return how many numbers each layer learnt, with the operations before it that are none.

        Those answer whole numbers; each is counted with the first layer that comes of it.
        """
        chosen = frozenset(layers)
        before: dict[str, tuple[str, ...]] = {}
        counted: set[str] = set()
        parameters = {}
        for tensor, node in self._graph.of_image.items():
            hidden = dict.fromkeys(n for name in node.inputs for n in before.get(name, ()))
            left = [name for name in hidden if name not in counted]
            if tensor not in chosen:
                learns = node.operation in _QUANTISED
                before[tensor] = (*left, tensor) if learns else tuple(left)
                continue
            counted.update(left)
            parameters[tensor] = self._of_tensor(tensor) + sum(map(self._of_tensor, left))
        return {tensor: parameters[tensor] for tensor in layers}

    def _count_quantised(self, node: Node) -> int:
        """Return how many numbers an operation on whole numbers learnt."""
        places = [place for place in _QUANTISED[node.operation] if place < len(node.inputs)]
        names = [node.inputs[place] for place in places]
        # Biases are of a type that otherwise holds sizes and places.
        weights = self._graph.weights
        constant = sum(math.prod(weights[name][1]) for name in names if name in weights)
        made = [n for n in names if n not in weights and n not in self._graph.of_image]
        return constant + self._count(tuple(made))

    def _count(self, names: tuple[str, ...]) -> int:
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
                    f"{self._graph.title} computes its weights in more steps than can be followed; "
                    f"export it with its constants folded."
                )
            if name in self._graph.weights:
                of_type, shape = self._graph.weights[name]
                counted[name] = math.prod(shape) if shape and of_type in _WEIGHT_TYPES else 0
            elif (made_by := self._graph.makers.get(name)) is not None:
                # Weights may come to a node by way of others, such as what restores their type.
                first = made_by.operation == "DequantizeLinear"
                before = set(made_by.inputs[: 1 if first else None]) - seen
                seen |= before
                waiting.extend(before)
        self._counted[names] = sum(counted.values())
        return self._counted[names]

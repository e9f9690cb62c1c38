"""One operation of an ONNX graph: what it does, what it takes, and how it is described."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import TensorProto, helper, numpy_helper

from napari_neuroscope.engine.errors import shortened
from napari_neuroscope.engine.frameworks.onnx.node_order import inputs_of
from napari_neuroscope.engine.graph.layer_graph import Kind

_MOST_NUMBERS, _MOST_LETTERS = 64, 300
"""Of an attribute that is told; what is longer is data."""
# As many as a padding of a volume has.
_MOST_SMALL_NUMBERS = 16

KINDS: dict[str, Kind] = {
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
MATRIX_PRODUCTS = {"MatMul", "Gemm", "MatMulInteger", "QLinearMatMul", "FusedMatMul"}


@dataclass(frozen=True, eq=False)
class Node:
    """One operation of the graph."""

    operation: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    @classmethod
    def of(cls, proto: onnx.NodeProto) -> Node:
        """Return what a graph's own node says."""
        outputs = tuple(name for name in proto.output if name)
        return cls(proto.op_type, tuple(inputs_of(proto)), outputs, _attributes(proto))

    @property
    def description(self) -> str:
        """The operation with its attributes."""
        told = ", ".join(f"{name}={value}" for name, value in self.attributes.items())
        return shortened(f"{self.operation}({told})", 2000)


def small_numbers(tensor: onnx.TensorProto) -> list[int] | None:
    """Return the values of a short tensor of whole numbers that is in the file itself."""
    whole = tensor.data_type in (TensorProto.INT64, TensorProto.INT32)
    if not whole or tensor.external_data or math.prod(tensor.dims) > _MOST_SMALL_NUMBERS:
        return None
    try:
        return [int(n) for n in numpy_helper.to_array(tensor).reshape(-1)]
    except ValueError:
        return None


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the attributes that are numbers or words, but for long ones."""
    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        if max(len(attribute.ints), len(attribute.floats), len(attribute.strings)) > _MOST_NUMBERS:
            continue
        value = helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            attributes[attribute.name] = shortened(
                value[:4096].decode("utf-8", "replace"), _MOST_LETTERS
            )
        elif isinstance(value, int | float):
            attributes[attribute.name] = value
        elif isinstance(value, Sequence) and all(isinstance(item, int | float) for item in value):
            attributes[attribute.name] = list(value)
    return attributes

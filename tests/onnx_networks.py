"""ONNX networks, exported from PyTorch or written node by node."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

OPSET = 17


def exported(model: nn.Module, shape: Sequence[int], *, fixed: bool = False) -> onnx.ModelProto:
    """Export a network as it is, with its batch norms as layers of their own."""
    file = io.BytesIO()
    axes = {0: "batch", **{axis: f"size{axis}" for axis in range(2, len(shape))}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(), (torch.zeros(1, *shape[1:]),), file, dynamo=False, opset_version=OPSET,
            input_names=["image"], output_names=["scores"], do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            dynamic_axes=None if fixed else {"image": axes},
        )  # fmt: skip
    return onnx.ModelProto.FromString(file.getvalue())


def node(operation: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """Make an operation of tensors whose names are parted by blanks."""
    return helper.make_node(operation, inputs.split(), outputs.split(), **attributes)


def value(name: str, shape: Any = None, of_type: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, of_type, shape)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: dict[str, np.ndarray] | None = None,
    *,
    domains: dict[str, int] | None = None,
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(np.asarray(w), n) for n, w in (weights or {}).items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, tensors)
    opsets = {"": OPSET, **(domains or {})}
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in opsets.items()],
        functions=functions,
        ir_version=8,
    )


def by_hand(end: str = "Softmax", **more: Any) -> onnx.ModelProto:
    """Make a classifier of two channels whose answers can be worked out on paper."""
    nodes = [
        node("Conv", "image w b", "conv", kernel_shape=[1, 1]),
        node("Relu", "conv", "relu"),
        node("GlobalAveragePool", "relu", "pool"),
        node("Flatten", "pool", "flat"),
        node("Gemm", "flat m c", "logit", transB=1),
        node(end, "logit", "answer", **more),
    ]
    weights = {
        "w": np.float32([[[[1]]], [[[-1]]]]),
        "b": np.float32([0, 1]),
        "m": np.float32([[1, 2], [3, 4]]),
        "c": np.float32([0, 0.5]),
    }
    return model(nodes, [value("image", ["n", 1, "h", "w"])], [value("answer")], weights)


def channels_last(network: nn.Sequential) -> onnx.ModelProto:
    """Write a convolution, a relu and a convolution as TensorFlow's networks are exported."""
    first, _, last = network
    nodes = [
        node("Transpose", "image", "first", perm=[0, 3, 1, 2]),
        node("Conv", "first w1 b1", "conv1", pads=[1, 1, 1, 1]),
        node("Relu", "conv1", "relu"),
        node("Conv", "relu w2 b2", "conv2"),
        node("Transpose", "conv2", "last", perm=[0, 2, 3, 1]),
        node("Softmax", "last", "softmax", axis=-1),
        node("Identity", "softmax", "answer"),
    ]
    weights = {
        name: parameter.detach().numpy()
        for name, parameter in zip(
            ("w1", "b1", "w2", "b2"), [*first.parameters(), *last.parameters()], strict=True
        )
    }
    inputs = [value("image", ["n", "h", "w", first.in_channels])]
    return model(nodes, inputs, [value("answer")], weights)

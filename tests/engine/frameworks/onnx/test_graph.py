"""All nodes and edges of ONNX networks, as they are known to be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn

import napari_neuroscope as ns
from closeness import assert_close
from networks import ResNet, UNet, as_network, settled

pytest.importorskip("onnx", reason="needs the extra “onnx”")

pytest.importorskip("onnxruntime", reason="needs the extra “onnx”")


from onnx import TensorProto, helper

from graphs import assert_graph
from onnx_networks import by_hand, channels_last, exported, model, node, value

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


from napari_neuroscope.engine.frameworks.onnx.graph import OnnxGraph

IMAGE = np.float32([[0, 1], [2, 3]])


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


def test_layers_with_kinds_parameters_shapes_and_edges() -> None:
    graph = as_network(by_hand()).layers
    kinds = {name: layer.kind for name, layer in graph.items()}
    assert kinds == {
        "conv": "convolution", "relu": "activation", "pool": "pooling", "flat": "reshape",
        "logit": "dense", "answer": "activation",
    }  # fmt: skip
    assert [graph[name].parameters for name in ("conv", "relu", "logit")] == [4, 0, 6]
    assert graph["conv"].output_shape == (2, 64, 64)
    assert graph["flat"].inputs == ("pool",)
    assert graph["flat"].outputs == ("logit",)
    assert graph["conv"].description == "Conv(kernel_shape=[1, 1])"
    assert graph.last_with_positions() == "relu"
    assert graph.final_activation == ("answer", "softmax")


def test_arithmetic_of_shapes_and_constants_are_no_layers(image: np.ndarray) -> None:
    size = helper.make_tensor("value", TensorProto.INT64, [1], [-1])
    nodes = [
        node("Shape", "image", "shape"),
        node("Cast", "shape", "real", to=TensorProto.FLOAT),
        node("Constant", "", "rest", value=size),
        node("Gather", "shape zero", "first"),
        node("Concat", "first rest", "wanted", axis=0),
        node("Relu", "image", "relu"),
        node("Cast", "relu", "whole", to=TensorProto.INT32),
        node("Cast", "whole", "back", to=TensorProto.FLOAT),
        node("Split", "back half", "left right", axis=3),
        node("Add", "left right", "sum"),
        node("Mul", "w w", "squared"),
        node("Mul", "sum squared", "scaled"),
        node("Reshape", "scaled wanted", "flat"),
        node("MatMul", "flat dense", "answer"),
    ]  # fmt: skip
    weights = {
        "zero": np.int64([0]), "half": np.int64([8, 8]), "w": np.full(1, 3, np.float32),
        "dense": np.ones((384, 2), np.float32),
    }  # fmt: skip
    network = as_network(model(nodes, [value("image", [1, 3, 16, 16])], [value("answer")], weights))
    graph = network.layers
    assert list(graph) == ["relu", "back", "left", "right", "sum", "scaled", "flat", "answer"]
    assert graph["relu"].altered
    assert graph["back"].inputs == ("relu",)
    assert graph["sum"].inputs == ("left", "right")
    assert graph["sum"].kind == "add"
    assert graph["scaled"].inputs == ("sum",)
    assert graph["answer"].parameters == 768
    bright = np.floor(image * 9)
    assert_close(network.predict(bright).scores, [9 * bright.sum()] * 2)


def test_functions_of_the_model_are_looked_into(image: np.ndarray) -> None:
    block = helper.make_function(
        "own", "Block", ["x"], ["y"], [node("Relu", "x", "inner"), node("Neg", "inner", "y")],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    nodes = [node("Block", "image", "middle", domain="own"), node("Tanh", "middle", "answer")]
    network = as_network(
        model(nodes, [value("image", ["n", 3, "h", "w"])], [value("answer")],
              domains={"own": 1}, functions=[block]), "segmentation",
    )  # fmt: skip
    operations = [layer.operation for layer in network.layers.values()]
    assert operations == ["Relu", "Neg", "Tanh"]
    assert_close(network.predict(image).scores, np.tanh(-image.transpose(2, 0, 1)))


def test_what_a_branch_takes_from_outside_is_an_edge() -> None:
    def branch(name: str, operation: str) -> Any:
        return helper.make_graph([node(operation, "relu", name)], name, [], [value(name)])

    nodes = [
        node("Relu", "image", "relu"),
        node("ReduceSum", "image", "sum", keepdims=0),
        node("Greater", "sum zero", "bright"),
        node("If", "bright", "way", then_branch=branch("a", "Neg"), else_branch=branch("b", "Abs")),
        node("Identity", "way", "answer"),
    ]
    network = as_network(
        model(nodes, [value("image", ["n", 1, "h", "w"])], [value("answer")],
              {"zero": np.float32(0)}), "segmentation",
    )  # fmt: skip
    assert set(network.layers["way"].inputs) == {"relu", "sum"}
    assert_close(network.predict(IMAGE).scores[1], -IMAGE)


SIZE = (16, 16)


def of_size(network: Any, task: str = "classification") -> ns.Network:
    spec = {"task": task, "input": {"value_range": (0, 1), "size": SIZE}}
    return ns.wrap(network, spec, device="cpu")


def tensors(written: str) -> str:
    """Write out the names that PyTorch gives to tensors: ``enc1/enc1.0/Conv`` and so on."""
    lines = [line.split() for line in written.strip().splitlines()]

    def whole(name: str) -> str:
        return name if name in ("<", "scores") else f"/{name}_output_0"

    return "\n".join(" ".join(map(whole, line)) for line in lines)


def test_residuals() -> None:
    assert_graph(
        of_size(exported(settled(ResNet()), (1, 3, *SIZE))).layers,
        tensors(
            """
            conv1/Conv <
            bn1/BatchNormalization < conv1/Conv
            relu/Relu < bn1/BatchNormalization
            layer1/layer1.0/conv1/Conv < relu/Relu
            layer1/layer1.0/bn1/BatchNormalization < layer1/layer1.0/conv1/Conv
            layer1/layer1.0/relu/Relu < layer1/layer1.0/bn1/BatchNormalization
            layer1/layer1.0/conv2/Conv < layer1/layer1.0/relu/Relu
            layer1/layer1.0/bn2/BatchNormalization < layer1/layer1.0/conv2/Conv
            layer1/layer1.0/Add < layer1/layer1.0/bn2/BatchNormalization relu/Relu
            layer1/layer1.0/relu_1/Relu < layer1/layer1.0/Add
            layer1/layer1.1/conv1/Conv < layer1/layer1.0/relu_1/Relu
            layer1/layer1.1/bn1/BatchNormalization < layer1/layer1.1/conv1/Conv
            layer1/layer1.1/relu/Relu < layer1/layer1.1/bn1/BatchNormalization
            layer1/layer1.1/conv2/Conv < layer1/layer1.1/relu/Relu
            layer1/layer1.1/bn2/BatchNormalization < layer1/layer1.1/conv2/Conv
            layer1/layer1.1/Add < layer1/layer1.1/bn2/BatchNormalization layer1/layer1.0/relu_1/Relu
            layer1/layer1.1/relu_1/Relu < layer1/layer1.1/Add
            layer2/layer2.0/downsample/Conv < layer1/layer1.1/relu_1/Relu
            layer2/layer2.0/conv1/Conv < layer1/layer1.1/relu_1/Relu
            layer2/layer2.0/bn1/BatchNormalization < layer2/layer2.0/conv1/Conv
            layer2/layer2.0/relu/Relu < layer2/layer2.0/bn1/BatchNormalization
            layer2/layer2.0/conv2/Conv < layer2/layer2.0/relu/Relu
            layer2/layer2.0/bn2/BatchNormalization < layer2/layer2.0/conv2/Conv
            layer2/layer2.0/Add < layer2/layer2.0/bn2/BatchNormalization layer2/layer2.0/downsample/Conv
            layer2/layer2.0/relu_1/Relu < layer2/layer2.0/Add
            avgpool/GlobalAveragePool < layer2/layer2.0/relu_1/Relu
            Flatten < avgpool/GlobalAveragePool
            scores < Flatten
            """
        ),
    )


def test_skips() -> None:
    graph = of_size(exported(settled(UNet()), (1, 3, *SIZE)), "segmentation").layers
    parts = []
    for block, before in (
        ("enc1", ""), ("enc2", "MaxPool"), ("bottom", "MaxPool_1"), ("dec2", "Concat"),
        ("dec1", "Concat_2"),
    ):  # fmt: skip
        name = f"{block}/{block}"
        parts.append(
            f"""{name}.0/Conv < {before}
            {name}.1/BatchNormalization < {name}.0/Conv
            {name}.2/Relu < {name}.1/BatchNormalization
            {name}.3/Conv < {name}.2/Relu
            {name}.4/Relu < {name}.3/Conv"""
        )
    enc1, enc2, bottom, dec2, dec1 = parts
    written = f"""
        {enc1}
        MaxPool < enc1/enc1.4/Relu
        {enc2}
        MaxPool_1 < enc2/enc2.4/Relu
        {bottom}
        up2/ConvTranspose < bottom/bottom.4/Relu
        Concat < up2/ConvTranspose enc2/enc2.4/Relu
        {dec2}
        Resize < dec2/dec2.4/Relu
        Concat_2 < Resize enc1/enc1.4/Relu
        {dec1}
        scores < dec1/dec1.4/Relu
    """
    assert_graph(graph, tensors(written))


def test_channels_last() -> None:

    network = settled(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1)))
    assert_graph(
        of_size(channels_last(network), "segmentation").layers,
        """
        first <
        conv1 < first
        relu < conv1
        conv2 < relu
        last < conv2
        softmax < last
        answer < softmax
        """,
    )


def diamond() -> Any:
    """Return a network whose branches come together twice, and share a weight."""
    nodes = [
        node("Conv", "image w", "stem", pads=[1, 1, 1, 1]),
        node("Relu", "stem", "left"),
        node("Neg", "stem", "negative"),
        node("Relu", "negative", "right"),
        node("Concat", "left right", "both", axis=1),
        node("Split", "both", "one two", axis=1),
        node("Add", "one left", "upper"),
        node("Mul", "two half", "halved"),
        node("Add", "halved upper", "lower"),
        node("Conv", "lower h", "answer"),
    ]
    weights = {
        "w": np.ones((2, 3, 3, 3), np.float32), "half": np.float32([0.5]),
        "h": np.ones((2, 2, 1, 1), np.float32),
    }  # fmt: skip
    return model(nodes, [value("image", ["n", 3, "h", "w"])], [value("answer")], weights)


DIAMOND = """
    stem <
    left < stem
    negative < stem
    right < negative
    both < left right
    one < both
    two < both
    upper < one left
    halved < two
    lower < halved upper
    answer < lower
"""


def test_branches_that_part_and_meet() -> None:
    assert_graph(of_size(diamond(), "segmentation").layers, DIAMOND)


def test_a_stack_is_in_the_order_of_the_nodes(rng: np.random.Generator) -> None:
    network = of_size(diamond(), "segmentation")
    graph = network.layers
    asked = sorted(graph, reverse=True)
    stack = ns.explain(network, rng.random((*SIZE, 3)), "activation", None, asked, channels=1)
    made = [name for proto in diamond().graph.node for name in proto.output]
    assert list(stack.labels["layer"]) == made


def test_layers_in_a_long_row_are_joined_in_order() -> None:
    nodes = [node("Relu", "image" if i == 0 else f"l{i - 1}", f"l{i}") for i in range(5000)]
    graph = OnnxGraph.of(model(nodes, [value("image")], [value("l4999")]).graph)
    inputs, altered = graph.edges([f"l{i}" for i in range(5000)])
    assert inputs["l0"] == ()
    assert inputs["l4999"] == ("l4998",)
    assert not altered

"""All nodes and edges of ONNX networks, as they are known to be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import napari_neuroscope as ns
from graphs import assert_graph

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from networks import ResNet, UNet, settled
from onnx_networks import channels_last, exported, model, node, value

SIZE = (16, 16)


def as_network(network: Any, task: str = "classification") -> ns.Network:
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
        as_network(exported(settled(ResNet()), (1, 3, *SIZE))).layers,
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
    graph = as_network(exported(settled(UNet()), (1, 3, *SIZE)), "segmentation").layers
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
    from torch import nn

    network = settled(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1)))
    assert_graph(
        as_network(channels_last(network), "segmentation").layers,
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
    assert_graph(as_network(diamond(), "segmentation").layers, DIAMOND)


def test_a_stack_is_in_the_order_of_the_nodes(rng: np.random.Generator) -> None:
    network = as_network(diamond(), "segmentation")
    graph = network.layers
    asked = sorted(graph, reverse=True)
    stack = ns.explain(network, rng.random((*SIZE, 3)), "activation", None, asked, channels=1)
    made = [name for proto in diamond().graph.node for name in proto.output]
    assert list(stack.labels["layer"]) == made

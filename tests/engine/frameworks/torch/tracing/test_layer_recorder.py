"""All nodes and edges of PyTorch networks, live and exported, as they are known to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns
from graphs import assert_graph
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from networks import ResNet, UNet, Vgg, as_network, settled

SIZE = (16, 16)

VGG = """
      features.0 <
      features.1 < features.0
      features.2 < features.1
      features.3 < features.2
      features.4 < features.3
      features.5 < features.4
      features.6 < features.5
      features.7 < features.6
    features >
      classifier.0 < features.7
      classifier.1 < classifier.0
      classifier.2 < classifier.1
      classifier.3 < classifier.2
      classifier.4 < classifier.3
    classifier >
"""

RESNET = """
    conv1 <
    bn1 < conv1
    relu < bn1
        layer1.0.conv1 < relu
        layer1.0.bn1 < layer1.0.conv1
        layer1.0.relu < layer1.0.bn1
        layer1.0.conv2 < layer1.0.relu
        layer1.0.bn2 < layer1.0.conv2
        add < layer1.0.bn2 relu
        layer1.0.relu:2 < add
      layer1.0 >
        layer1.1.conv1 < layer1.0.relu:2
        layer1.1.bn1 < layer1.1.conv1
        layer1.1.relu < layer1.1.bn1
        layer1.1.conv2 < layer1.1.relu
        layer1.1.bn2 < layer1.1.conv2
        add_2 < layer1.1.bn2 layer1.0.relu:2
        layer1.1.relu:2 < add_2
      layer1.1 >
    layer1 >
        layer2.0.downsample < layer1.1.relu:2
        layer2.0.conv1 < layer1.1.relu:2
        layer2.0.bn1 < layer2.0.conv1
        layer2.0.relu < layer2.0.bn1
        layer2.0.conv2 < layer2.0.relu
        layer2.0.bn2 < layer2.0.conv2
        add_3 < layer2.0.bn2 layer2.0.downsample
        layer2.0.relu:2 < add_3
      layer2.0 >
    layer2 >
    avgpool < layer2.0.relu:2
    flatten < avgpool
    fc < flatten
"""

UNET = """
      enc1.0 <
      enc1.1 < enc1.0
      enc1.2 < enc1.1
      enc1.3 < enc1.2
      enc1.4 < enc1.3
    enc1 >
    max_pool2d < enc1.4
      enc2.0 < max_pool2d
      enc2.1 < enc2.0
      enc2.2 < enc2.1
      enc2.3 < enc2.2
      enc2.4 < enc2.3
    enc2 >
    max_pool2d_2 < enc2.4
      bottom.0 < max_pool2d_2
      bottom.1 < bottom.0
      bottom.2 < bottom.1
      bottom.3 < bottom.2
      bottom.4 < bottom.3
    bottom >
    up2 < bottom.4
    cat < up2 enc2.4
      dec2.0 < cat
      dec2.1 < dec2.0
      dec2.2 < dec2.1
      dec2.3 < dec2.2
      dec2.4 < dec2.3
    dec2 >
    interpolate < dec2.4
    cat_2 < interpolate enc1.4
      dec1.0 < cat_2
      dec1.1 < dec1.0
      dec1.2 < dec1.1
      dec1.3 < dec1.2
      dec1.4 < dec1.3
    dec1 >
    head < dec1.4
"""


@pytest.mark.parametrize(
    ("model", "task", "written"),
    [
        (Vgg(), "classification", VGG),
        (Vgg(inplace=True), "classification", VGG),
        (ResNet(), "classification", RESNET),
        (UNet(), "segmentation", UNET),
    ],
    ids=["chain", "in-place chain", "residuals", "skips"],
)
def test_networks_of_modules(model: nn.Module, task: str, written: str) -> None:
    assert_graph(as_network(settled(model), task, size=SIZE).layers, written)


class Pyramid(nn.Module):
    """One stem for two scales of the image, and a block and a layer that are used three times."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.body = nn.ModuleDict(
            {"conv": nn.Conv2d(4, 4, 3, padding=1), "act": nn.Sequential(nn.ReLU())}
        )
        self.head = nn.Conv2d(8, 2, 1)

    def step(self, x: Tensor) -> Tensor:
        return x + self.body["act"](self.body["conv"](x))

    def forward(self, x: Tensor) -> Tensor:
        fine = self.stem(x)
        coarse = self.stem(functional.avg_pool2d(x, 2))
        fine = self.step(self.step(fine))
        coarse = functional.interpolate(self.step(coarse), scale_factor=2)
        return self.head(torch.cat((fine, coarse), 1))


def test_what_is_used_again_is_a_node_each_time() -> None:
    assert_graph(
        as_network(settled(Pyramid()), "segmentation", size=SIZE).layers,
        """
        stem <
        avg_pool2d <
        stem:2 < avg_pool2d
        body.conv < stem
          body.act.0 < body.conv
        body.act >
        add < stem body.act.0
        body.conv:2 < add
          body.act.0:2 < body.conv:2
        body.act:2 >
        add_2 < add body.act.0:2
        body.conv:3 < stem:2
          body.act.0:3 < body.conv:3
        body.act:3 >
        add_3 < stem:2 body.act.0:3
        interpolate < add_3
        cat < add_2 interpolate
        head < cat
        """,
    )


class Operations(nn.Module):
    """Functions, methods and operators, some of which change what they are given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4, 3, 3, 3))
        self.scale = nn.Parameter(torch.ones(4))
        self.table = nn.Parameter(torch.zeros(2, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.conv2d(x, self.weight, padding=1)
        x = functional.batch_norm(x, torch.zeros(4), torch.ones(4), self.scale)
        left, right = functional.gelu(x).chunk(2, dim=1)
        skipped = x.relu_()
        x = torch.add(skipped, torch.hstack([left, right]))
        x = functional.dropout(functional.leaky_relu(x), training=False)
        x = torch.stack([x.amax((2, 3)), x.mean((2, 3))], 1).flatten(1)
        return functional.linear(x, self.table).softmax(-1)


def test_operations_without_a_module() -> None:
    graph = as_network(settled(Operations()), size=SIZE).layers
    assert_graph(
        graph,
        """
        conv2d <
        batch_norm < conv2d
        gelu < batch_norm
        relu < batch_norm
        hstack < gelu
        add < relu hstack
        leaky_relu < add
        dropout < leaky_relu
        amax < dropout
        mean < dropout
        stack < amax mean
        flatten < stack
        linear < flatten
        softmax < linear
        """,
    )


class Attentive(nn.Module):
    """A block of a vision transformer: norm, attention, sum, norm, two dense layers, sum."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        y = self.norm1(x)
        x = x + self.attention(y, y, y)[0]
        x = x + self.mlp(self.norm2(x))
        return self.head(x[:, 0])


def test_a_transformers_block() -> None:
    assert_graph(
        as_network(settled(Attentive()), size=SIZE).layers,
        """
        patches <
        flatten < patches
        transpose < flatten
        norm1 < transpose
        attention < norm1
        add < transpose attention
        norm2 < add
          mlp.0 < norm2
          mlp.1 < mlp.0
          mlp.2 < mlp.1
        mlp >
        add_2 < add mlp.2
        head < add_2
        """,
    )


# --- torch.export ---

EXPORTED_RESNET = """
    conv2d <
    batch_norm < conv2d
    relu < batch_norm
    conv2d_2 < relu
    batch_norm_2 < conv2d_2
    relu_2 < batch_norm_2
    conv2d_3 < relu_2
    batch_norm_3 < conv2d_3
    add < batch_norm_3 relu
    relu_3 < add
    conv2d_4 < relu_3
    batch_norm_4 < conv2d_4
    relu_4 < batch_norm_4
    conv2d_5 < relu_4
    batch_norm_5 < conv2d_5
    add_2 < batch_norm_5 relu_3
    relu_5 < add_2
    conv2d_6 < relu_5
    conv2d_7 < relu_5
    batch_norm_6 < conv2d_7
    relu_6 < batch_norm_6
    conv2d_8 < relu_6
    batch_norm_7 < conv2d_8
    add_3 < batch_norm_7 conv2d_6
    relu_7 < add_3
    adaptive_avg_pool2d < relu_7
    flatten < adaptive_avg_pool2d
    linear < flatten
"""

EXPORTED_PYRAMID = """
    conv2d <
    avg_pool2d <
    conv2d_2 < avg_pool2d
    conv2d_3 < conv2d
    relu < conv2d_3
    add < conv2d relu
    conv2d_4 < add
    relu_2 < conv2d_4
    add_2 < add relu_2
    conv2d_5 < conv2d_2
    relu_3 < conv2d_5
    add_3 < conv2d_2 relu_3
    upsample_nearest2d < add_3
    cat < add_2 upsample_nearest2d
    conv2d_6 < cat
"""


@pytest.mark.parametrize(
    ("model", "written"),
    [(ResNet(), EXPORTED_RESNET), (Pyramid(), EXPORTED_PYRAMID)],
    ids=["residuals", "reused"],
)
def test_an_exported_file_has_the_edges_of_its_network(
    model: nn.Module, written: str, tmp_path: Path
) -> None:
    program = torch.export.export(settled(model), (torch.zeros(1, 3, *SIZE),))
    torch.export.save(program, tmp_path / "network.pt2")
    assert_graph(ns.load(tmp_path / "network.pt2", device="cpu", trust=True).layers, written)


# --- the order of a stack ---


def executed(model: nn.Module, x: Tensor) -> list[str]:
    """Return the paths of the innermost modules as PyTorch itself calls them."""
    called: list[str] = []
    handles = [
        module.register_forward_pre_hook(lambda *_, path=path: called.append(path))
        for path, module in model.named_modules()
        if path and not list(module.children())
    ]
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return called


class Backwards(nn.Module):
    """Layers that are defined in another order than they run in."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(4, 2, 1)
        self.second = nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
        self.first = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.second(self.second(self.first(x))))


@pytest.mark.parametrize(
    ("model", "task"),
    [
        (Backwards(), "segmentation"),
        (UNet(), "segmentation"),
        (Pyramid(), "segmentation"),
        (ResNet(), "classification"),
    ],
    ids=["backwards", "skips", "reused", "residuals"],
)
def test_a_stack_is_in_the_order_of_execution(
    model: nn.Module, task: str, rng: np.random.Generator
) -> None:
    network = as_network(settled(model), task, size=SIZE, channels=3)
    x = torch.zeros(1, 3, *SIZE)
    modules = dict(model.named_modules())
    # However they are asked for.
    names = [n for n in network.layers if n.partition(":")[0] in modules]
    asked = [n for n in sorted(names, reverse=True) if network.layers.has_positions(n)]
    stack = ns.explain(network, rng.random((*SIZE, 3)), "grad_cam", 1, asked)
    shown = list(stack.labels["layer"])
    assert shown == [n for n in network.layers if n in asked]
    leaves = [n.partition(":")[0] for n in shown if network.layers[n].kind != "block"]
    with_positions = {n.partition(":")[0] for n in asked}
    assert leaves == [path for path in executed(model, x) if path in with_positions]


def order_of_fx(program: Any) -> list[str]:
    """Return the operations of an exported program in its own order."""
    return [
        node.target.__name__.partition(".")[0]
        for node in program.graph.nodes
        if node.op == "call_function"
    ]


def test_an_exported_stack_is_in_the_order_of_its_program(rng: np.random.Generator) -> None:
    program = torch.export.export(settled(Pyramid()), (torch.zeros(1, 3, *SIZE),))
    network = as_network(program.module(), "segmentation", size=SIZE)
    graph: LayerGraph = network.layers
    known = {graph[name].operation for name in graph}
    inside = [name.rstrip("_") for name in order_of_fx(program)]
    assert [graph[name].operation for name in graph] == [op for op in inside if op in known]
    stack = ns.explain(network, rng.random((*SIZE, 3)), "grad_cam", 1, sorted(graph, reverse=True))
    assert list(stack.labels["layer"]) == list(graph)

"""Layers in order of execution: chosen by name and pattern, and as networks have them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns
from napari_neuroscope.engine.graph.layer_graph import Layer, LayerGraph
from networks import GapLinear, Pixelwise, ResNet, UNet, Vgg, as_network, settled


def layer(name: str, kind: Any = "convolution", shape: tuple[int, ...] = (4, 8, 8)) -> Layer:
    return Layer(name, kind, shape, 0, (), (), "Conv2d", name.rpartition(".")[0])


GRAPH = LayerGraph(
    [
        layer("enc1.conv1"),
        layer("enc1.relu1", "activation"),
        layer("enc1", "block"),
        layer("enc2.block.conv1"),
        layer("enc2.block", "block"),
        layer("enc2", "block"),
        layer("relu", "activation"),
        layer("relu:2", "activation"),
        layer("pool", "pooling", (4, 1, 1)),
        layer("head", "dense", (10,)),
        layer("tokens", "other", (17, 4)),
    ],
    space=2,
)


def test_the_graph_is_an_ordered_mapping() -> None:
    assert next(iter(GRAPH)) == "enc1.conv1"
    assert len(GRAPH) == 11
    assert GRAPH["head"].output_shape == (10,)
    assert "head" in GRAPH
    assert "tail" not in GRAPH


@pytest.mark.parametrize(
    ("which", "names"),
    [
        ("enc1.conv1", ["enc1.conv1"]),
        ("enc1", ["enc1"]),
        ("enc*", ["enc1", "enc2"]),
        ("enc?", ["enc1", "enc2"]),
        ("enc*.*", ["enc1.conv1", "enc1.relu1", "enc2.block"]),
        ("enc2.**", ["enc2.block.conv1", "enc2.block"]),
        ("**", list(GRAPH)[:8]),
        ("**.conv1", ["enc1.conv1", "enc2.block.conv1"]),
        ("relu*", ["relu", "relu:2"]),
        (["relu:2", "enc1.conv1"], ["enc1.conv1", "relu:2"]),
        (["relu", "relu", "rel*"], ["relu", "relu:2"]),
        ("all", ["enc1.conv1", "enc1.relu1", "enc2.block.conv1", "relu", "relu:2"]),
        (
            ("all", "enc1"),
            ["enc1.conv1", "enc1.relu1", "enc1", "enc2.block.conv1", "relu", "relu:2"],
        ),
    ],
)
def test_names_patterns_and_lists(which: Any, names: list[str]) -> None:
    assert GRAPH.select(which) == names


def test_the_inside_alone_of_what_a_pattern_fits() -> None:
    """`enc*` is enc1 and enc2, and `enc*.**` what is inside of them."""
    inside = ["enc1.conv1", "enc1.relu1", "enc2.block.conv1", "enc2.block"]
    assert GRAPH.select("enc*.**") == inside


def test_layers_without_positions_count_where_none_are_needed() -> None:
    assert GRAPH.select("head", positions=False) == ["head"]
    assert "head" in GRAPH.select("all", positions=False)
    assert "head" not in GRAPH.select("all")


@pytest.mark.parametrize(
    ("which", "says"),
    [
        ("enc1.conv2", "“enc1.conv1”"),
        ("relu:3", "“relu:2”"),
        ("ENC1", "“enc1”"),
        ("zzz*", "No layer fits “zzz*”"),
        ("hea*", "none of them has positions"),
        ("head", "has no positions: its output is (10,)"),
        ("head", "such as “relu:2”"),
        ("pool", "has no positions"),
        ("tokens", "has no positions"),
        ([], 'layer="all"'),
        (["enc1", "heda"], "“head”"),
    ],
)
def test_what_does_not_fit_is_said(which: Any, says: str) -> None:
    with pytest.raises(ns.NeuroscopeError) as refusal:
        GRAPH.select(which)
    assert says in str(refusal.value)
    assert "None" not in str(refusal.value)


def test_a_network_without_layers_says_so() -> None:
    for which in ("conv", "all", "conv*"):
        with pytest.raises(ns.NeuroscopeError, match="has no layers"):
            LayerGraph([], 2).select(which)


def test_a_network_without_positions_offers_none() -> None:
    graph = LayerGraph([layer("head", "dense", (10,))], 2)
    with pytest.raises(ns.NeuroscopeError) as refusal:
        graph.select("head")
    assert "None" not in str(refusal.value)


def test_a_name_of_any_length_makes_a_short_sentence() -> None:
    for which in ("x" * 20_000, "x*" * 10_000):
        with pytest.raises(ns.NeuroscopeError) as refusal:
            GRAPH.select(which)
        assert len(str(refusal.value)) < 500


def test_a_pattern_cannot_stall() -> None:
    deep = LayerGraph([layer(".".join(["a"] * 25))], 2)
    with pytest.raises(ns.NeuroscopeError):
        deep.select(".".join(["**", "a"] * 12 + ["b"]))


def test_kinds_in_order() -> None:
    assert GRAPH.of_kind("activation", "dense") == ["enc1.relu1", "relu", "relu:2", "head"]


def test_the_last_layer_with_positions_is_no_block() -> None:
    assert GRAPH.last_with_positions() == "relu:2"
    assert LayerGraph([layer("head", "dense", (10,))], 2).last_with_positions() is None


def graph_of(model: nn.Module, task: str = "segmentation", size: Any = (16, 16)) -> LayerGraph:
    return as_network(settled(model), task, size=size).layers


class Functional(nn.Module):
    """Operations that have no module."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Conv2d(12, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        y = functional.relu(x)
        z = functional.max_pool2d(y, 2)
        z = functional.interpolate(z, scale_factor=2)
        z = z + y
        z += x
        z = 2 * z - 1
        z = torch.cat([z, y, torch.sigmoid(x)], dim=1)
        return torch.softmax(self.head(z), 1)


def test_functional_operations_are_layers_in_order_of_execution() -> None:
    graph = graph_of(Functional())
    assert [(layer.name, layer.kind, layer.inputs) for layer in graph.values()] == [
        ("conv", "convolution", ()),
        ("relu", "activation", ("conv",)),
        ("max_pool2d", "pooling", ("relu",)),
        ("interpolate", "upsampling", ("max_pool2d",)),
        ("add", "add", ("interpolate", "relu")),
        ("add_2", "add", ("add", "conv")),
        ("sigmoid", "activation", ("conv",)),
        ("cat", "concatenate", ("add_2", "relu", "sigmoid")),
        ("head", "convolution", ("cat",)),
        ("softmax", "activation", ("head",)),
    ]
    assert graph.final_activation == ("softmax", "softmax")


def test_edges_are_the_same_from_both_ends() -> None:
    for model, task in ((Functional(), "segmentation"), (ResNet(), "classification")):
        graph = graph_of(model, task)
        forth = {
            (a, b) for b, layer in graph.items() if layer.kind != "block" for a in layer.inputs
        }
        back = {
            (a, b) for a, layer in graph.items() if layer.kind != "block" for b in layer.outputs
        }
        assert forth == back
        order = list(graph)
        assert all(order.index(a) < order.index(b) for a, b in forth)


def test_shapes_and_parameters() -> None:
    graph = graph_of(UNet(), size=(16, 24))
    assert graph["enc1.0"].output_shape == (4, 16, 24)
    assert graph["bottom"].output_shape == (16, 4, 6)
    assert graph["head"].output_shape == (3, 16, 24)
    assert graph["enc1.0"].parameters == 3 * 4 * 9  # without bias
    assert graph["enc1.1"].parameters == 4 + 4
    assert graph["enc1"].parameters == 3 * 4 * 9 + 8 + 4 * 4 * 9 + 4
    assert graph["head"].parameters == 4 * 3 + 3
    assert graph["cat"].parameters == 0
    leaves = sum(layer.parameters for layer in graph.values() if layer.kind != "block")
    assert leaves == sum(p.numel() for p in UNet().parameters())


def test_skips_of_a_u_net() -> None:
    graph = graph_of(UNet())
    assert graph["cat"].inputs == ("up2", "enc2.4")
    assert graph["cat_2"].inputs == ("interpolate", "enc1.4")
    assert set(graph["enc1.4"].outputs) == {"max_pool2d", "cat_2"}
    assert set(graph["enc1"].outputs) == {"max_pool2d", "cat_2"}
    assert graph["up2"].kind == "transposed convolution"
    assert graph["enc1"].kind == "block"
    assert graph["enc1.0"].block == "enc1"
    assert graph["head"].block == ""


def test_a_module_that_is_called_again_has_a_number() -> None:
    graph = graph_of(ResNet(), "classification")
    names = list(graph)
    assert names.index("layer1.0.relu") < names.index("add") < names.index("layer1.0.relu:2")
    assert graph["add"].inputs == ("layer1.0.bn2", "relu")
    assert graph["layer1.0.relu:2"].inputs == ("add",)
    assert graph["layer1.0.relu"].output_shape == (8, 16, 16)


def test_what_is_overwritten_is_known() -> None:
    graph = graph_of(ResNet(), "classification")
    assert graph["bn1"].overwritten
    assert graph["add"].overwritten
    assert not graph["conv1"].overwritten
    assert not graph["relu"].overwritten


def test_kinds_of_modules() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.GroupNorm(2, 4),
        nn.PReLU(),
        nn.AvgPool2d(2),
        nn.Upsample(scale_factor=2),
        nn.ConvTranspose2d(4, 4, 2, 2),
        nn.Dropout2d(),
        nn.Identity(),
        nn.ZeroPad2d(1),
        nn.PixelShuffle(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.LayerNorm(1),
        nn.Linear(1, 2),
    )
    assert [layer.kind for layer in graph_of(model, "classification").values()] == [
        "convolution",
        "normalisation",
        "activation",
        "pooling",
        "upsampling",
        "transposed convolution",
        "dropout",
        "other",
        "reshape",
        "reshape",
        "pooling",
        "reshape",
        "normalisation",
        "dense",
    ]


class Attention(nn.Module):
    """Tokens that look at each other, by a module and by the function."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        tokens = functional.scaled_dot_product_attention(tokens, tokens, tokens)
        return self.head(tokens.mean(1))


def test_attention_is_a_layer_as_module_and_as_function() -> None:
    graph = graph_of(Attention(), "classification")
    assert graph["attention"].kind == "attention"
    assert graph["attention"].output_shape == (16, 8)
    assert graph["scaled_dot_product_attention"].kind == "attention"
    assert graph["scaled_dot_product_attention"].inputs == ("add",)
    assert set(graph["add"].inputs) == {"transpose", "attention"}
    # The parts of a module that is one layer are not listed.
    assert not [name for name in graph if name.startswith("attention.")]


def test_what_stands_between_operations_keeps_the_edges() -> None:
    """Slices, arithmetic with numbers and the like are no layers, but pass on where they come from."""

    class Sliced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)
            self.head = nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            first, second = self.conv(x * 2 - 1).split(2, dim=1)
            return self.head(torch.cat([first[:, :, :, :].exp(), second / 3], 1))

    graph = graph_of(Sliced())
    assert graph["cat"].inputs == ("conv",)
    assert graph["conv"].outputs == ("cat",)


@pytest.mark.parametrize(
    ("model", "task"),
    [
        (Vgg(inplace=True), "classification"),
        (ResNet(), "classification"),
        (UNet(), "segmentation"),
        (Functional(), "segmentation"),
    ],
)
def test_activations_are_what_each_call_answered(
    model: nn.Module, task: str, rng: np.random.Generator
) -> None:
    """Also where an in-place operation overwrites them afterwards."""
    network = as_network(settled(model), task, size=(16, 16))
    image = rng.random((16, 16, 3), dtype=np.float32)

    seen: dict[str, Tensor] = {}
    handles = []
    for path, module in model.named_modules():
        if path and not list(module.children()):

            def keep(_: nn.Module, __: Any, output: Tensor, path: str = path) -> None:
                number = 1 + sum(n == path or n.startswith(path + ":") for n in seen)
                seen[path if number == 1 else f"{path}:{number}"] = output.clone()

            handles.append(module.register_forward_hook(keep))
    with torch.no_grad():
        model(torch.from_numpy(image).permute(2, 0, 1)[None])
    for handle in handles:
        handle.remove()

    compared = 0
    for keep_what in ("asked", "everything"):
        network.traces.clear()
        for name in network.layers:
            if name in seen and network.layers.has_positions(name):
                found = ns.explain(network, image, "activation", layer=name, keep=keep_what)
                np.testing.assert_allclose(
                    found.values, seen[name][0].numpy(), rtol=1e-5, atol=1e-6, err_msg=name
                )
                compared += 1
    assert compared >= 4


def test_before_an_in_place_relu_values_are_negative(rng: np.random.Generator) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 1))
    network = as_network(settled(model), "segmentation")
    image = rng.random((8, 8, 3))
    before = ns.explain(network, image, "activation", layer="0").values
    after = ns.explain(network, image, "activation", layer="1").values
    assert before.min() < 0
    np.testing.assert_array_equal(after, np.maximum(before, 0))


def test_layers_are_found_without_an_image() -> None:
    network = as_network(settled(GapLinear()))
    assert list(network.layers) == ["conv", "relu", "pool", "flatten", "head"]
    assert network.class_names == ["0", "1", "2"]


def test_layers_are_found_for_a_network_of_one_size() -> None:
    network = as_network(settled(Vgg()), size=(16, 16))
    assert network.layers["features.0"].output_shape == (6, 16, 16)


@pytest.mark.parametrize("axes", [1, 3])
def test_layers_over_other_numbers_of_axes(axes: int) -> None:
    network = as_network(
        settled(Pixelwise(axes=axes)), "segmentation", axes={1: "bcx", 3: "bczyx"}[axes]
    )
    assert network.layers.has_positions("conv1")
    assert len(network.layers["conv1"].output_shape) == 1 + axes


def test_patterns_over_a_real_network() -> None:
    graph = graph_of(UNet())
    assert graph.select("enc*") == ["enc1", "enc2"]
    assert graph.select("enc1.**") == [f"enc1.{n}" for n in range(5)]
    assert graph.select(["bottom", "cat*"]) == ["bottom", "cat", "cat_2"]
    everything = graph.select("all")
    assert "enc1" not in everything
    assert everything[-1] == "head"


@pytest.mark.parametrize(
    "convert",
    [
        lambda model, x: torch.export.export(model, (x,)).module(),
        torch.jit.trace,
    ],
    ids=["exported", "traced"],
)
def test_a_converted_network_has_no_layers_or_right_ones(
    convert: Any, rng: np.random.Generator
) -> None:
    model = settled(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1)))
    image = rng.random((8, 8, 3), dtype=np.float32)
    x = torch.from_numpy(image).permute(2, 0, 1)[None]
    network = as_network(convert(model, x), "segmentation", size=(8, 8))
    graph = network.layers
    for name in graph:
        assert graph[name].output_shape
    with torch.no_grad():
        middle = model[1](model[0](x))[0].numpy()
    reached = [n for n in graph if graph[n].kind == "activation"]
    for name in reached:
        found = ns.explain(network, image, "activation", layer=name)
        np.testing.assert_allclose(found.values, middle, atol=1e-6)
    if not reached:
        with pytest.raises(ns.NeuroscopeError, match=r"layer"):
            ns.explain(network, image, "grad_cam", 0)


def test_the_description_is_the_frameworks_own() -> None:
    graph = graph_of(UNet())
    assert graph["head"].description == "Conv2d(4, 3, kernel_size=(1, 1), stride=(1, 1))"
    assert graph["head"].operation == "Conv2d"
    assert graph["cat"].description == ""

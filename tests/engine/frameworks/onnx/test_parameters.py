"""How many numbers the layers of an ONNX network learnt."""

from __future__ import annotations

import numpy as np
import pytest

import napari_neuroscope as ns

pytest.importorskip("onnx", reason="needs the extra “onnx”")

pytest.importorskip("onnxruntime", reason="needs the extra “onnx”")


from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from napari_neuroscope.engine.frameworks.onnx.graph import OnnxGraph
from napari_neuroscope.engine.frameworks.onnx.parameters import ParameterCounter
from onnx_networks import model, node, value


def test_weights_of_whole_numbers_are_counted_with_the_layer_that_comes_of_them() -> None:
    nodes = [
        node("DynamicQuantizeLinear", "x", "q qs qz"),
        node("ConvInteger", "q w qz zero", "i", kernel_shape=[3, 3], pads=[1] * 4),
        node("Cast", "i", "f", to=TensorProto.FLOAT),
        node("Mul", "f qs", "m"),
        node("QuantizeLinear", "m s z", "mq"),
        node("QLinearConv", "mq s z k s zero s z bias", "yq"),
        node("DequantizeLinear", "yq s z", "y"),
    ]
    weights = {
        "w": np.ones((8, 3, 3, 3), "u1"), "zero": np.array(0, "u1"),
        "s": np.array(0.5, "f4"), "z": np.array(0, "u1"),
        "k": np.ones((4, 8, 1, 1), "u1"), "bias": np.ones(4, "i4"),
    }  # fmt: skip
    proto = model(nodes, [value("x", [1, 3, 16, 16])], [value("y", [1, 4, 16, 16])], weights)

    layers = ns.wrap(proto, {"task": "segmentation"}).layers

    counted = {name: layer.parameters for name, layer in layers.items() if layer.parameters}
    assert counted == {"f": 216, "y": 36}


@given(st.data())
def test_weights_are_counted_once_however_they_are_made(data: st.DataObject) -> None:
    """Constants are sums of earlier ones; each layer takes one or two of them."""
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    weights = {f"w{i}": np.ones((size, 1), np.float32) for i, size in enumerate(sizes)}
    behind: dict[str, set[str]] = {name: {name} for name in weights}
    nodes = []
    for number in range(data.draw(st.integers(0, 12))):
        two = [data.draw(st.sampled_from(sorted(behind))) for _ in range(2)]
        behind[f"c{number}"] = behind[two[0]] | behind[two[1]]
        nodes.append(node("Concat", " ".join(two), f"c{number}", axis=0))
    before, expected = "image", {}
    for number in range(data.draw(st.integers(1, 4))):
        taken = data.draw(st.lists(st.sampled_from(sorted(behind)), min_size=1, max_size=2))
        nodes.append(node("Sum", " ".join([before, *taken]), f"l{number}"))
        learnt = set().union(*(behind[name] for name in taken))
        expected[f"l{number}"] = sum(weights[name].size for name in learnt)
        before = f"l{number}"
    graph = OnnxGraph.of(model(nodes, [value("image")], [value(before)], weights).graph)
    assert ParameterCounter(graph).of_layers(list(expected)) == expected


def test_paths_without_number_take_no_time() -> None:
    nodes = [node("Add", f"w{i} w{i}", f"w{i + 1}") for i in range(2000)]
    nodes += [node("Add", f"{'image' if i == 0 else f'l{i - 1}'} w2000", f"l{i}") for i in range(9)]
    weights = {"w0": np.ones((3, 1), np.float32)}
    graph = OnnxGraph.of(model(nodes, [value("image")], [value("l8")], weights).graph)
    layers = [f"l{i}" for i in range(9)]
    assert ParameterCounter(graph).of_layers(layers) == dict.fromkeys(layers, 3)

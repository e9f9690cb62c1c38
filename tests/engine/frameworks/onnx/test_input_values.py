"""What ONNX networks take: the order of axes, types, and images of 0..255 that they normalise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn

import napari_neuroscope as ns
from closeness import assert_close
from networks import as_network, settled

pytest.importorskip("onnx", reason="needs the extra “onnx”")

pytest.importorskip("onnxruntime", reason="needs the extra “onnx”")

import onnxruntime
from onnx import ModelProto, TensorProto

from napari_neuroscope.engine.passes.model import BYTES
from onnx_networks import by_hand, channels_last, exported, model, node, value

IMAGE = np.float32([[0, 1], [2, 3]])


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


def test_a_network_with_channels_last(image: np.ndarray) -> None:
    module = settled(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1)))
    network, twin = (
        as_network(channels_last(module), "segmentation"),
        as_network(module, "segmentation"),
    )
    assert network.spec.input.axes == "byxc"
    assert network.channels == 3
    assert network.layers["conv1"].output_shape == (4, 64, 64)
    assert network.layers["last"].output_shape == (2, 64, 64)
    assert network.layers.final_activation == ("softmax", "softmax")
    wide = image[:, :12]
    assert_close(network.predict(wide).scores, twin.predict(wide).scores)
    assert_close(network.predict(wide).probabilities, twin.predict(wide).probabilities)
    found = ns.explain(network, wide, "activation", layer=["relu", "first"][:1])
    assert_close(found.values[0], ns.explain(twin, wide, "activation", layer="1").values)
    trace = network.trace(wide, ["first", "softmax"])
    assert_close(trace.activation("first"), wide.transpose(2, 0, 1))
    assert trace.activation("softmax").shape == (2, 16, 12)


@pytest.mark.parametrize(
    ("shape", "axes", "size"),
    [
        ([1, 3, 20, 20], "bcyx", (20, 20)),
        ([1, 20, 20, 3], "byxc", (20, 20)),
        (["n", "h", "w", 1], "byxc", None),
        (["n", "c", "h", "w"], "bcyx", None),
        (["n", 1, 8, 20, 20], "bczyx", (8, 20, 20)),
        (["n", 8, 20, 20, 1], "bzyxc", (8, 20, 20)),
        (["n", 20, 20], "byx", (20, 20)),
    ],
)
def test_the_axes_are_told_by_the_shape_where_no_convolution_tells(
    shape: list[Any], axes: str, size: tuple[int, ...] | None
) -> None:
    network = model([node("Relu", "image", "answer")], [value("image", shape)], [value("answer")])
    found = as_network(network, "segmentation").spec.input
    assert (found.axes, found.size) == (axes, size)


def test_volumes(rng: np.random.Generator) -> None:
    module = settled(nn.Sequential(nn.Conv3d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv3d(3, 2, 1)))
    network = as_network(exported(module, (1, 1, 8, 8, 8)), "segmentation")
    assert network.spec.input.axes == "bczyx"
    twin = as_network(module, "segmentation", axes="bczyx")
    volume = rng.random((6, 10, 8), dtype=np.float32)
    assert_close(network.predict(volume).scores, twin.predict(volume).scores)


def test_half_precision(image: np.ndarray) -> None:
    nodes = [node("Conv", "image w", "conv"), node("Relu", "conv", "answer")]
    w = np.random.default_rng(1).standard_normal((2, 3, 1, 1)).astype(np.float16)
    inputs = [value("image", ["n", 3, "h", "w"], TensorProto.FLOAT16)]
    half = model(nodes, inputs, [value("answer", None, TensorProto.FLOAT16)], {"w": w})
    network = as_network(half, "segmentation")
    expected = np.einsum("oc,yxc->oyx", w[..., 0, 0].astype(float), image.astype(float))
    found = network.predict(image).scores
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.clip(min=0), atol=0.01)


def test_whole_numbers_are_the_values_of_the_image(rng: np.random.Generator) -> None:
    nodes = [
        node("Cast", "image", "real", to=TensorProto.FLOAT),
        node("Identity", "real", "answer"),
    ]
    inputs = [value("image", ["n", 3, "h", "w"], TensorProto.UINT8)]
    network = as_network(
        model(nodes, inputs, [value("answer")]), "segmentation", value_range="auto"
    )
    image = rng.integers(0, 256, (9, 7, 3), np.uint8)
    assert_close(network.predict(image).scores, image.transpose(2, 0, 1))


def test_other_types_of_input_are_refused() -> None:
    nodes = [node("Cast", "image", "answer", to=TensorProto.FLOAT)]
    inputs = [value("image", ["n", 3, "h", "w"], TensorProto.INT64)]
    with pytest.raises(ns.NeuroscopeError, match=r"int64.*only networks that take float32"):
        as_network(model(nodes, inputs, [value("answer")]))


def test_several_inputs_and_fixed_batches_are_refused() -> None:
    nodes = [node("Add", "image other", "answer")]
    inputs = [value("image", [1, 3, 8, 8]), value("other", [1, 3, 8, 8])]
    with pytest.raises(ns.NeuroscopeError, match=r"takes 2 inputs \(image, other\)"):
        as_network(model(nodes, inputs, [value("answer")]))
    nodes = [node("Relu", "image", "answer")]
    with pytest.raises(ns.NeuroscopeError, match="takes 4 images at once"):
        as_network(model(nodes, [value("image", [4, 3, 8, 8])], [value("answer")]))


def test_weights_among_the_inputs_are_no_inputs() -> None:
    network = by_hand()
    network.ir_version = 3
    network.graph.input.extend(
        [value("w", [2, 1, 1, 1]), value("b", [2]), value("m", [2, 2]), value("c", [2])]
    )
    assert_close(as_network(network).predict(IMAGE).scores, [2, 6])


def answer(proto: ModelProto, image: np.ndarray) -> np.ndarray:
    """What ONNX Runtime itself says."""
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    given = {session.get_inputs()[0].name: np.moveaxis(image, -1, 0)[None]}
    found: np.ndarray = session.run(None, given)[0][0]
    return found


def normalising(operation: str, constant: float) -> ModelProto:
    """A classifier whose first operation is arithmetic with a constant."""
    ends = [node("GlobalAveragePool", "n", "p"), node("Flatten", "p", "y")]
    weights = {"k": np.full((1, 3, 1, 1), constant, "f4")}
    first = node(operation, "x k", "n")
    if operation == "BatchNormalization":
        weights = {"k": np.full(3, constant, "f4"), "one": np.ones(3, "f4")}
        first = node(operation, "x one one k one", "n")
    return model([first, *ends], [value("x", [1, 3, 16, 16])], [value("y", [1, 3])], weights)


@pytest.mark.parametrize(
    ("operation", "constant", "of_bytes"),
    [("Div", 255, True), ("Mul", 1 / 255, True), ("Sub", 123.7, True), ("Sub", 0.485, False),
     ("BatchNormalization", 118, True), ("BatchNormalization", 0.5, False), ("Mul", 2, False),
     ("Div", 0.229, False), ("Add", 100, False)],
)  # fmt: skip
def test_a_network_that_normalises_bytes_itself_is_given_them(
    operation: str, constant: float, of_bytes: bool, rng: np.random.Generator
) -> None:
    image = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
    proto = normalising(operation, constant)
    predicted = ns.wrap(proto, {"task": "classification"}).predict(image)
    given = image.astype("f4") / np.float32(1 if of_bytes else 255)
    assert_close(predicted.scores, answer(proto, given))
    assert (BYTES in predicted.notes) == of_bytes

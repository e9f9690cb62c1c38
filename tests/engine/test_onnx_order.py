"""ONNX graphs as converters write them: out of order, quantised, and large."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import napari_neuroscope as ns
from closeness import assert_close
from networks import UNet, as_network, settled

pytest.importorskip("onnx", reason="needs the extra “onnx”")
pytest.importorskip("onnxruntime", reason="needs the extra “onnx”")
import onnxruntime
from onnx import ModelProto, TensorProto

from napari_neuroscope.engine.frameworks.onnx import framework
from napari_neuroscope.engine.passes.model import BYTES
from onnx_networks import exported, model, node, value


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


def answer(proto: ModelProto, image: np.ndarray) -> np.ndarray:
    """What ONNX Runtime itself says."""
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    given = {session.get_inputs()[0].name: np.moveaxis(image, -1, 0)[None]}
    found: np.ndarray = session.run(None, given)[0][0]
    return found


ENDED = [
    node("Identity", "x", "x16"),
    node("Conv", "x16 w", "c", kernel_shape=[1, 1]),
    node("Relu", "c", "r"),
    node("Conv", "r v", "s", kernel_shape=[1, 1]),
    node("Softmax", "s", "y", axis=1),
]


@pytest.mark.parametrize("order", [(4, 3, 2, 1, 0), (1, 2, 3, 4, 0), (0, 2, 1, 4, 3)])
def test_nodes_out_of_order(
    order: tuple[int, ...], image: np.ndarray, rng: np.random.Generator, tmp_path: Path
) -> None:
    weights = {
        "w": rng.normal(0, 1, (6, 3, 1, 1)).astype("f4"),
        "v": rng.normal(0, 1, (3, 6, 1, 1)).astype("f4"),
    }
    ends = [value("x", [1, 3, 16, 16])], [value("y", [1, 3, 16, 16])]
    proto = model([ENDED[number] for number in order], *ends, weights)
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())

    network = ns.load(tmp_path / "net.onnx", {"task": "segmentation"})

    assert list(network.layers) == ["x16", "c", "r", "s", "y"]
    assert network.layers.final_activation == ("y", "softmax")
    assert [layer.parameters for layer in network.layers.values()] == [0, 18, 0, 18, 0]
    assert_close(network.predict(image).probabilities, answer(proto, image))


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


def test_layers_are_found_without_keeping_them_all(
    image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    run = framework.run_session

    def seen(session: Any, names: list[str], *rest: Any) -> list[Any]:
        asked.extend(names)
        assert len(session.get_outputs()) < 4
        return run(session, names, *rest)

    monkeypatch.setattr(framework, "run_session", seen)
    network = as_network(exported(settled(UNet()), (1, 3, 16, 16)), "segmentation")
    layers = network.layers
    scores = network.predict(image).scores
    assert set(asked) < {*layers, "scores"}
    monkeypatch.undo()
    trace = network.trace(image, keep="everything")
    for name, layer in layers.items():
        # Shapes are told for the example that the layers were found with.
        assert trace.activation(name).shape[0] == layer.output_shape[0]
    np.testing.assert_array_equal(trace.outputs.scores.numpy(), scores)


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

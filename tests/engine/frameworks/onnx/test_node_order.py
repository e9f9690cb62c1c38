"""ONNX graphs as converters write them, out of order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import napari_neuroscope as ns
from closeness import assert_close

pytest.importorskip("onnx", reason="needs the extra “onnx”")

pytest.importorskip("onnxruntime", reason="needs the extra “onnx”")

import onnxruntime
from onnx import ModelProto

from onnx_networks import model, node, value


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

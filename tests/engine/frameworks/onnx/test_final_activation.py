"""The softmax or sigmoid before which an ONNX network is cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn

from closeness import assert_close
from networks import as_network, settled

pytest.importorskip("onnx", reason="needs the extra “onnx”")

pytest.importorskip("onnxruntime", reason="needs the extra “onnx”")


from onnx_networks import by_hand, channels_last, node

IMAGE = np.float32([[0, 1], [2, 3]])


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


@pytest.mark.parametrize(
    ("end", "attributes", "kind"),
    [
        ("Softmax", {}, "softmax"),
        ("LogSoftmax", {"axis": 1}, "softmax"),
        ("Sigmoid", {}, "sigmoid"),
        ("Softmax", {"axis": 0}, None),
        ("Tanh", {}, None),
    ],
)
def test_a_network_is_cut_before_its_last_softmax_or_sigmoid(
    end: str, attributes: dict[str, Any], kind: str | None
) -> None:
    network = as_network(by_hand(end, **attributes))
    found = network.layers.final_activation
    assert found == (("answer", kind) if kind else None)
    expected = {"Tanh": np.tanh([2, 6])}.get(end, [2, 6] if kind else [1, 1])
    assert_close(network.predict(IMAGE).scores, expected)


def test_a_softmax_before_the_last_transposition_is_cut(image: np.ndarray) -> None:
    module = settled(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1)))
    network = channels_last(module)
    network.graph.node[4].CopyFrom(node("Softmax", "conv2", "softmax", axis=1))
    network.graph.node[5].CopyFrom(node("Transpose", "softmax", "last", perm=[0, 2, 3, 1]))
    network.graph.node[6].input[0] = "last"
    found, twin = as_network(network, "segmentation"), as_network(module, "segmentation")
    assert found.layers.final_activation == ("softmax", "softmax")
    assert_close(found.predict(image).scores, twin.predict(image).scores)

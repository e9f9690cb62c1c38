"""ONNX networks with several outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import napari_neuroscope as ns
from closeness import assert_close
from networks import as_network

pytest.importorskip("onnx", reason="needs the extra “onnx”")

pytest.importorskip("onnxruntime", reason="needs the extra “onnx”")


from onnx import TensorProto

from onnx_networks import model, node, value

IMAGE = np.float32([[0, 1], [2, 3]])


def several(*outputs: tuple[str, int]) -> Any:
    nodes = [
        node("Conv", "image w", "first"),
        node("Neg", "first", "second"),
        node("ArgMax", "first", "labels", axis=1),
    ]
    w = np.float32([[[[1]]], [[[2]]]])
    return model(nodes, [value("image", ["n", 1, "h", "w"])],
                 [value(name, None, kind) for name, kind in outputs], {"w": w})  # fmt: skip


@pytest.mark.parametrize(("index", "sign"), [(None, 1), (1, 1), ("second", -1), (-1, -1)])
def test_one_of_several_outputs(index: Any, sign: int) -> None:
    network = several(
        ("labels", TensorProto.INT64), ("first", TensorProto.FLOAT), ("second", TensorProto.FLOAT)
    )
    found = as_network(network, "segmentation", output={"index": index}).predict(IMAGE).scores
    assert_close(found, sign * np.stack([IMAGE, 2 * IMAGE]))


@pytest.mark.parametrize(("index", "says"), [("third", "no output “third”"), (0, "whole numbers"), (7, "no output “7”")])  # fmt: skip
def test_an_output_that_is_not_there_or_holds_labels(index: Any, says: str) -> None:
    network = several(("labels", TensorProto.INT64), ("first", TensorProto.FLOAT))
    with pytest.raises(ns.NeuroscopeError, match=says):
        as_network(network, "segmentation", output={"index": index}).predict(IMAGE)

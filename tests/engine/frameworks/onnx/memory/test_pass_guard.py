"""Passes of ONNX files that nobody trusts: what runs, and what is stopped."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.errors import Cancelled, OutOfMemoryError, TimeLimitError
from napari_neuroscope.engine.files import limits
from networks import UNet, settled

pytest.importorskip("onnx", reason="needs the extra “onnx”")

pytest.importorskip("onnxruntime", reason="needs the extra “onnx”")

import onnx
from onnx import TensorProto, helper

from onnx_networks import exported, model, node, value


def looping(times: int) -> onnx.ModelProto:
    body = helper.make_graph(
        [node("Identity", "go", "again"), node("Add", "v v", "next")], "body",
        [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("v")],
        [value("again", [], TensorProto.BOOL), value("next")],
    )  # fmt: skip
    nodes = [node("Loop", "times yes image", "more", body=body),
             node("Conv", "more w", "seen"), node("GlobalAveragePool", "seen", "answer")]  # fmt: skip
    weights = {"w": np.ones((2, 3, 1, 1), np.float32), "times": np.int64(times), "yes": np.bool_(1)}
    return model(nodes, [value("image", [1, 3, 8, 8])], [value("answer")], weights)


def test_a_loop_that_ends_opens_as_it_is(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(looping(3).SerializeToString())
    image = rng.random((8, 8, 3), dtype=np.float32)
    network = ns.load(path, device="cpu")
    expected = ns.wrap(looping(3), network.spec, device="cpu").predict(image).scores
    np.testing.assert_array_equal(network.predict(image).scores, expected)
    assert list(network.layers) == ["more", "seen", "answer"]


def test_a_loop_that_does_not_end_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    network = ns.wrap(looping(1 << 60), {"task": "classification"}, device="cpu")
    asked = []

    def progress(done: int, total: int, what: str) -> None:
        asked.append(what)
        if len(asked) > 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        network.discover(np.ones((8, 8, 3), np.float32), progress)
    monkeypatch.setattr(limits, "LOOP_SECONDS", 0.05)
    with pytest.raises(TimeLimitError, match="its loops may have no end"):
        network.layers


def test_a_pass_is_refused_where_memory_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(exported(settled(UNet()), (1, 3, 16, 16)).SerializeToString())
    network = ns.load(path, device="cpu")
    monkeypatch.setattr(limits, "ALWAYS_PASS", 1 << 20)
    monkeypatch.setattr("napari_neuroscope.engine.frameworks.common.free_memory", lambda: 1 << 20)
    with pytest.raises(OutOfMemoryError, match=r"of which 1,048,576 are free"):
        network.predict(np.ones((512, 512, 3), np.float32))
    # With trust nobody looks.
    trusted = ns.load(path, network.spec, device="cpu", trust=True)
    labels = trusted.predict(np.ones((64, 64, 3), np.float32)).labels
    assert math.prod(labels.shape) == 64 * 64

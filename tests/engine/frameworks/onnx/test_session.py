"""Sessions of ONNX Runtime: devices, and passes that are stopped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import napari_neuroscope as ns
from networks import UNet, as_network, settled

pytest.importorskip("onnx", reason="needs the extra “onnx”")

pytest.importorskip("onnxruntime", reason="needs the extra “onnx”")

import onnxruntime

from onnx_networks import by_hand, exported, model, node, value

IMAGE = np.float32([[0, 1], [2, 3]])


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


def test_answers_do_not_depend_on_what_else_is_asked(
    image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    session = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda *a, **k: made.append(a) or session(*a, **k)
    )
    network = as_network(exported(settled(UNet()), (1, 3, 16, 16)), "segmentation")
    layer = network.layers.of_kind("convolution")[2]
    alone = network.trace(image, [layer], keep="asked").activation(layer)
    network.traces.clear()
    before = network.predict(image).scores
    trace = network.trace(image, keep="everything")
    assert torch.equal(trace.activation(layer), alone)
    assert np.array_equal(trace.outputs.scores.numpy(), before)
    # One of the ends alone, and one of all tensors.
    assert len(made) == 2


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps", "tpu", "cuda:x"])
def test_a_device_that_is_not_there(device: str) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("there is a GPU")
    with pytest.raises(ns.NeuroscopeError, match=f"device “{device}”.*choose auto"):
        ns.wrap(by_hand(), device=device)


def test_a_long_pass_is_stopped_in_its_midst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_neuroscope.engine.frameworks.onnx.session.ASK_EVERY_S", 1e-3)
    convolutions = 300
    nodes = [node("Conv", f"t{n} w", f"t{n + 1}", pads=[1] * 4) for n in range(convolutions)]
    w = np.full((8, 8, 3, 3), 1 / 72, np.float32)
    long = model(nodes, [value("t0", [1, 8, 128, 128])], [value(f"t{convolutions}")], {"w": w})
    network = as_network(long, "segmentation")
    large = np.ones((128, 128, 8), np.float32)
    calls: list[tuple[int, int]] = []

    def progress(done: int, total: int, what: str) -> None:
        calls.append((done, total))
        if len(calls) == 2:
            raise ns.Cancelled

    with pytest.raises(ns.Cancelled):
        network.trace(large, ["t1"], keep="asked", progress=progress)
    assert calls == [(0, 1), (0, 1)], "it was asked again before the pass was done"
    small = as_network(by_hand())
    done: list[tuple[int, int]] = []
    small.trace(IMAGE, progress=lambda n, total, what: done.append((n, total)))
    assert done[-1] == (1, 1)


def test_nothing_of_onnx_is_imported_unasked(tmp_path: Path) -> None:
    code = (
        "import sys, napari_neuroscope.engine.frameworks.registry as registry\n"
        "assert 'onnx' in [f.name for f in registry.frameworks()]\n"
        "print([m for m in ('onnx', 'onnxruntime') if m in sys.modules])\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

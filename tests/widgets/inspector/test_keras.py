"""A Keras network in the viewer, beside its graphics driver, answers as its PyTorch twin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from closeness import assert_close
from places import ROOT

pytest.importorskip("tensorflow", reason="needs the extra “tensorflow”")

TWINS = [("grad_cam", "dec2.relu2"), ("guided_backprop", None), ("activation", "enc1.conv1")]


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("twin") / "twin.keras"
    script = ROOT / "scripts" / "make_keras_twin.py"
    done = subprocess.run(
        [sys.executable, script, path], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return path


def test_the_twin_is_shown_as_the_pytorch_network(
    twin: Path, opened, explained, viewer, qtbot
) -> None:
    inspector = opened()
    shown: list[list[np.ndarray]] = []
    for network in (None, twin):
        if network is not None:
            # A window is open, so the graphics driver is loaded before TensorFlow.
            inspector.open_file(network)
            qtbot.waitUntil(inspector.ready, timeout=60_000)
            assert inspector.session.network.framework == "keras"
        maps = []
        for method, layer in TWINS:
            inspector.choose_method(method)
            if layer:
                inspector.choose_layers([layer])
            inspector.choose_classes([1])
            explained(inspector)
            assert viewer.layers[-1].metadata["neuroscope"]["method"] == method
            maps.append(np.array(viewer.layers[-1].data))
        shown.append(maps)
        viewer.screenshot(canvas_only=True, flash=False)
    for ours, theirs in zip(*shown, strict=True):
        assert_close(ours, theirs, 1e-2)
        # A unit at zero may be on in one and off in the other: few pixels feel it.
        far = np.abs(ours - theirs) > 1e-4 * np.abs(theirs).max()
        assert far.mean() < 1e-3

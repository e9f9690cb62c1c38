"""The operators that TorchScript may use without being asked about only compute."""

from __future__ import annotations

import pytest
import torch

from napari_neuroscope.engine.frameworks.torch.files.script_operators import ATEN, NAMESPACES


@pytest.mark.parametrize("operator", ["from_file", "save", "_load", "fork", "wait", "manual_seed"])
def test_none_does_more_than_compute(operator: str) -> None:
    assert not any(operator in operators for operators in NAMESPACES.values())


def test_what_any_network_uses_is_listed() -> None:
    used = {"conv2d", "batch_norm", "relu_", "max_pool2d", "linear", "softmax", "interpolate"}
    # PyTorch has another name for resizing in its programs.
    assert used - ATEN <= {"interpolate"}
    assert {"upsample_bilinear2d", "upsample_nearest2d"} <= ATEN
    assert all(hasattr(torch.ops.aten, name) for name in used - {"interpolate"})

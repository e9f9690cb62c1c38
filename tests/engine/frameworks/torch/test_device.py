"""Devices that a network can't run on."""

from __future__ import annotations

import torch

import napari_neuroscope as ns
from networks import Pixelwise, settled
from sentences import sentence


def test_devices_that_do_not_exist() -> None:
    model = settled(Pixelwise())
    assert "no device “gpu”" in sentence(lambda: ns.wrap(model, device="gpu"))
    if not torch.cuda.is_available():
        assert "“cuda”" in sentence(lambda: ns.wrap(model, device="cuda"))

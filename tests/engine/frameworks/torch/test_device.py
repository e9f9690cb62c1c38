"""Devices that a network can't run on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import napari_neuroscope as ns
from networks import Pixelwise, settled


def sentence(do: Callable[[], Any]) -> str:
    """Return what a mistake is answered with, and check its form."""
    with pytest.raises(ns.NeuroscopeError) as refusal:
        do()
    text = str(refusal.value)
    assert text
    assert "\n" not in text
    assert len(text) < 500
    assert text[0].isupper() or text[0] in "“"
    assert text[-1] in ".?…", text
    for ugly in ("Traceback", "object at 0x", "None", "<class", "choose from .", "Tensor("):
        assert ugly not in text, text
    return text


def test_devices_that_do_not_exist() -> None:
    model = settled(Pixelwise())
    assert "no device “gpu”" in sentence(lambda: ns.wrap(model, device="gpu"))
    if not torch.cuda.is_available():
        assert "“cuda”" in sentence(lambda: ns.wrap(model, device="cuda"))

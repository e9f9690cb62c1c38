"""What a file of PyTorch holds, and what builds the network where it holds weights alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.errors import FactoryNeededError
from napari_neuroscope.engine.frameworks.torch.files.load import load_torch


def opened(saved: Any, folder: Path, factory: Any = None) -> nn.Module:
    path = folder / "net.pt"
    torch.save(saved, path)
    return load_torch(path, "torch checkpoint", factory=factory, arguments=None, trust=True)


def test_a_network_is_taken_as_it_is_and_weights_need_a_factory(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    assert isinstance(opened(model, tmp_path), nn.Linear)
    built = opened(model.state_dict(), tmp_path, lambda: nn.Linear(3, 2))
    assert torch.equal(built.weight, model.weight)
    assert not built.training
    with pytest.raises(FactoryNeededError, match="holds weights"):
        opened(model.state_dict(), tmp_path)


def test_what_is_no_network_is_said(tmp_path: Path) -> None:
    with pytest.raises(ns.NeuroscopeError, match="holds a list, neither a network nor its weights"):
        opened([1, 2], tmp_path)
    with pytest.raises(ns.NeuroscopeError, match="made a int"):
        opened(nn.Linear(3, 2).state_dict(), tmp_path, lambda: 3)
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(ns.NeuroscopeError):
        load_torch(path, "safetensors", factory=None, arguments=None, trust=False)

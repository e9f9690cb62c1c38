"""A script beside the weights builds the network, once its text is trusted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files.code.trust import TrustStore, UntrustedError
from napari_neuroscope.engine.networks.load import spec_path
from napari_neuroscope.engine.spec.model_spec import ModelSpec

SCRIPT = """
from dataclasses import dataclass
from pathlib import Path
from torch import nn
from blocks import layer

Path(__file__).with_name("ran").touch()

class UNet(nn.Module):
    def __init__(self, classes=2):
        super().__init__()
        self.c = layer(classes)

    def forward(self, x):
        return self.c(x)

nothing = 3
"""


BLOCKS = "from torch import nn\ndef layer(n): return nn.Conv2d(3, n, 3, padding=1)\n"


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    config = tmp_path / "config"
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_: config)
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "unet.py").write_text(SCRIPT)
    (folder / "blocks.py").write_text(BLOCKS)
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 2, 3, padding=1)
    torch.save({f"c.{name}": value for name, value in layer.state_dict().items()}, folder / "w.pt")
    return folder / "w.pt"


def refused(path: Path, **how: Any) -> UntrustedError:
    with pytest.raises(UntrustedError) as refusal:
        ns.load(path, **how)
    assert not (path.parent / "ran").exists()
    return refusal.value


def answers(network: ns.Network, weights: Path) -> bool:
    image = np.random.default_rng(0).random((9, 8, 3)).astype(np.float32)
    layer = nn.Conv2d(3, 2, 3, padding=1)
    saved = torch.load(weights, weights_only=True)
    layer.load_state_dict({name.removeprefix("c."): value for name, value in saved.items()})
    with torch.no_grad():
        wanted = layer(torch.from_numpy(image).movedim(-1, 0)[None])[0]
    network = network.with_spec(ModelSpec.parse({"task": "segmentation"}))
    return np.allclose(network.predict(image).scores, wanted, atol=1e-6)


def test_it_runs_once_it_is_trusted_and_only_as_it_was(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = refused(weights, factory="./unet.py:UNet")
    assert "of blocks beside it" in str(told)
    TrustStore().add(told.sha256, "unet.py")
    network = ns.load(weights, factory="./unet.py:UNet")
    assert answers(network, weights)
    assert "blocks" not in sys.modules
    (weights.parent / "ran").unlink()
    # A change of the script, or of what it imports, is asked about again.
    (weights.parent / "blocks.py").write_text(BLOCKS + "\n")
    refused(weights, factory="./unet.py:UNet")
    monkeypatch.chdir(weights.parent)
    refused(weights, factory="unet.py:UNet")
    assert answers(ns.load(weights, factory="unet.py:UNet", trust=True), weights)


def test_it_is_remembered_in_the_spec(weights: Path) -> None:
    network = ns.load(weights, factory="./unet.py:UNet", arguments={"classes": 2}, trust=True)
    network.spec.save(spec_path(weights))
    text = spec_path(weights).read_text()
    assert "factory: ./unet.py:UNet" in text
    assert len({network.spec, network.spec.model_copy()}) == 1
    (weights.parent / "ran").unlink()
    # Whoever wrote the spec chose what is called: it is asked about with its arguments.
    told = refused(weights)
    assert "classes" in str(told)
    TrustStore().add(told.sha256, "spec")
    assert answers(ns.load(weights), weights)
    (weights.parent / "ran").unlink()
    spec_path(weights).write_text(text.replace("classes: 2", "classes: 3"))
    refused(weights)


def test_a_stranger_s_spec_calls_nothing_unasked(weights: Path) -> None:
    spec_path(weights).write_text("factory: os:mkdir\narguments: {path: ran}\n")
    with pytest.raises(NeuroscopeError):
        ns.load(weights)
    spec_path(weights).write_text(
        "factory: torch.hub:load\narguments: {repo_or_dir: a, model: b}\n"
    )
    refused(weights)


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        ("./none.py:UNet", "There is no script"),
        ("./unet.py:nothing", "has no function or class “nothing”"),
        ("./broken.py:f", "failed with ZeroDivisionError"),
        ("./unet.py", "needs the form"),
    ],
)
def test_what_is_wrong_is_told(factory: str, says: str, weights: Path) -> None:
    (weights.parent / "broken.py").write_text("1 / 0\n")
    with pytest.raises(NeuroscopeError, match=says):
        ns.load(weights, factory=factory, trust=True)

"""Networks from files in the inspector: asked for, trusted, built."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from qtpy.QtWidgets import QFileDialog

import packages
from napari_neuroscope.engine.errors import NeuroscopeWarning
from napari_neuroscope.engine.files.code.trust import TrustStore, digest_of
from napari_neuroscope.samples.architectures import UNet
from napari_neuroscope.widgets.parts import open_network as opening
from napari_neuroscope.widgets.parts.dialogs.trust_dialog import TrustDialog


@pytest.fixture(autouse=True)
def _own_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_: tmp_path / "config")


class Marker:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_weights_are_opened_with_the_factory_that_is_asked_for(
    opened, qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.pt"
    torch.save(UNet(classes=4).state_dict(), path)
    answer = "napari_neuroscope.samples.architectures:UNet {classes: 4}"
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    monkeypatch.setattr(opening, "ask_for_text", lambda *_: answer)
    inspector = opened(network=None)
    inspector.form.networks.open_button.click()
    qtbot.waitUntil(inspector.ready, timeout=30_000)
    assert inspector.session.network.name == "mine"
    assert len(inspector.session.network.class_names) == 4
    assert inspector.session.network.spec.task == "segmentation"


@pytest.mark.parametrize("trusted", [True, False])
def test_code_in_a_file_runs_only_when_the_user_says_so(
    trusted: bool, opened, qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, marker = tmp_path / "stranger.pt", tmp_path / "marker"
    torch.save({"net": UNet(), "hook": Marker(marker)}, path)
    shown: list[str] = []

    def answer(dialog: TrustDialog) -> int:
        shown.append(f"{dialog.words.toPlainText()} {dialog.sha256.text()}")
        (dialog.trust if trusted else dialog.cancel).click()
        return dialog.result()

    monkeypatch.setattr(TrustDialog, "exec", answer)
    inspector = opened(network=None)
    inspector.open_file(path)
    if trusted:
        qtbot.waitUntil(inspector.ready, timeout=30_000)
        assert marker.exists()
    else:
        qtbot.waitUntil(lambda: "not trusted it" in inspector.form.reason.text(), timeout=30_000)
        assert not marker.exists()
        assert not inspector.ready()
    assert all("mkdir" in text and digest_of(path) in text for text in shown)
    assert (tmp_path / "config" / "trusted.json").exists() is trusted


def test_arguments_that_can_not_be_read_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "ask_for_text", lambda *_: "a.b:c [1, 2")
    with pytest.raises(opening.NeuroscopeError, match="can't be read"):
        opening.ask_for_factory(None, Path("x.pt"))


def test_a_package_opens_by_what_runs_nothing_and_offers_trust(
    opened, qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = packages.make(tmp_path / "cells", formats=("pytorch_state_dict", "torchscript"))
    path = packages.zipped(folder)
    asked: list[str] = []
    monkeypatch.setattr(
        "napari_neuroscope.widgets.inspector.fields.network_choice.ask_for_trust",
        lambda _, refusal: (
            asked.append(refusal.would_run) or TrustStore().add(refusal.sha256, "x") or True
        ),
    )
    inspector = opened(network=None)

    def open_it() -> None:
        inspector.open_file(path)
        qtbot.waitUntil(lambda: inspector.session.network_summary is not None, timeout=30_000)

    with pytest.warns(NeuroscopeWarning, match="torchscript"):
        open_it()
    assert inspector.session.network.published.weights == "torchscript"
    assert "torchscript, not by pytorch_state_dict" in inspector.form.networks.note.text()
    assert not asked
    assert inspector.form.networks.trust_button.isVisibleTo(inspector)
    inspector.form.networks.trust_button.click()
    qtbot.waitUntil(inspector.ready, timeout=30_000)
    assert "net.py" in asked[0]
    assert inspector.session.network.published.weights == "pytorch_state_dict"
    assert "down" in inspector.session.network.layers
    assert not inspector.form.networks.trust_button.isVisibleTo(inspector)

"""``check --image`` says what the network gets, and what it answers; the values are PyTorch's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from napari_neuroscope.cli.main import main

SPEC = "classes: [a, b, c]\ninput: {size: [8, 8], normalization: imagenet, resize: crop}\n"


@pytest.fixture
def photo(tmp_path: Path) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    Image.fromarray(values).save(tmp_path / "photo.png")
    return values


def checked(folder: Path, model: nn.Module, task: str, *more: str) -> int:
    (folder / "net.neuroscope.yaml").write_text(f"task: {task}\n{SPEC}")
    exported = torch.export.export(model.eval(), (torch.rand(1, 3, 8, 8),))
    torch.export.save(exported, folder / "net.pt2")
    arguments = ["check", folder / "net.pt2", "--trust", "--image", folder / "photo.png", *more]
    return main([str(one) for one in arguments])


def test_a_classifier(photo: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    seen = tmp_path / "seen.png"
    assert checked(tmp_path, model, "classification", "-o", str(seen)) == 0
    said = capsys.readouterr().out
    values = torch.from_numpy(photo[:, 2:10]).movedim(-1, 0) / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    given = ((values - mean[:, None, None]) / std[:, None, None])[None]
    shares = model(given).softmax(1)[0]
    best = int(shares.argmax())
    assert f"answer    {'abc'[best]}: {float(shares[best]):.1%} probable" in said
    assert f"3 channels (rgb), 8 × 8, values {given.min():.4g}..{given.max():.4g}" in said
    assert "8 × 12 × 3, uint8" in said
    np.testing.assert_allclose(np.asarray(Image.open(seen)), photo[:, 2:10], atol=1)
    assert checked(tmp_path, model, "classification", "-o", str(seen)) == 1
    assert "exists already" in capsys.readouterr().err


def test_a_segmenter(photo: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert photo.shape
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 3, 1))
    (tmp_path / "photo.png").unlink()
    square = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(square).save(tmp_path / "photo.png")
    assert checked(tmp_path, model, "segmentation") == 0
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    given = torch.from_numpy((square / 255 - mean) / std).float().movedim(-1, 0)[None]
    labels = model(given).argmax(1)
    said = capsys.readouterr().out
    for number, name in enumerate("abc"):
        share = float((labels == number).float().mean())
        assert share == 0 or f"{name}: {share:.1%} of the pixels" in said


def test_sentences_say_the_command_s_own_options(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_: tmp_path / "config")
    torch.save(nn.Conv2d(3, 2, 1).state_dict(), tmp_path / "w.pt")
    torch.save(nn.Conv2d(3, 2, 1), tmp_path / "whole.pt")
    (tmp_path / "net.py").write_text("from torch import nn\ndef f(): return nn.Conv2d(3, 2, 1)\n")
    script = f"{tmp_path / 'net.py'}:f"
    for name, more, says in (
        ("w.pt", [], "--factory package.module:function"),
        ("whole.pt", [], "load it with --trust"),
        ("w.pt", ["--factory", script], "load it with --trust"),
    ):
        assert main(["check", str(tmp_path / name), *more]) == 1
        said = capsys.readouterr().err
        assert says in said
        assert "trust=" not in said
        assert "factory=" not in said
    assert main(["check", str(tmp_path / "w.pt"), "--factory", script, "--trust"]) == 0
    assert "(factory: ./net.py:f)" in capsys.readouterr().out

"""TorchScript: what opens without a question, what is asked, and what is tried first."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.code import trial
from napari_neuroscope.engine.files.code.trust import UntrustedError
from napari_neuroscope.engine.frameworks.torch.files import script as torch_script
from napari_neuroscope.engine.frameworks.torch.files import script_source as torch_script_source
from napari_neuroscope.engine.frameworks.torch.files.script import load_torchscript
from napari_neuroscope.engine.frameworks.torch.files.script_operators import ATEN
from napari_neuroscope.engine.frameworks.torch.files.script_source import questions
from napari_neuroscope.samples.architectures import CellClassifier
from napari_neuroscope.samples.architectures import UNet as ShippedUNet
from networks import ResNet


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        own = nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)
        return self.encoder(own + self.attention(tokens, tokens, tokens)[0]).mean(1)


class Resized(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        size = [x.shape[2] * 2, x.shape[3] * 2]
        larger = nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
        padded = nn.functional.pad(larger, [1, 1, 1, 1], mode="reflect")
        grid = nn.functional.affine_grid(torch.eye(2, 3)[None], [1, 8, 4, 4])
        parts = torch.split(nn.functional.grid_sample(padded, grid), 4, 1)
        with torch.no_grad():
            scale = torch.stack([part.amax() for part in parts]).softmax(0)
        return torch.cat(list(parts), 1) * scale[0] + torch.einsum("bchw,bchw->b", x, x)


_MODULES: list[nn.Module] = [
    ShippedUNet(classes=3), CellClassifier(), ResNet(), Attention(), Resized(),
    nn.ConvTranspose2d(8, 4, 3, stride=2, output_padding=1),
    nn.Sequential(nn.Conv2d(8, 8, 3, padding="same", padding_mode="circular"), nn.BatchNorm2d(8),
                  nn.InstanceNorm2d(8), nn.GroupNorm(2, 8), nn.LocalResponseNorm(2),
                  nn.MaxPool2d(2), nn.AvgPool2d(2), nn.LPPool2d(2, 2), nn.Dropout2d(),
                  nn.AdaptiveAvgPool2d(2), nn.AdaptiveMaxPool2d(1)),
    nn.Sequential(nn.ReLU(), nn.LeakyReLU(), nn.ELU(), nn.GELU(), nn.SiLU(), nn.Mish(), nn.PReLU(),
                  nn.Hardswish(), nn.Softplus(), nn.Tanh(), nn.Sigmoid(), nn.Softmax2d()),
    nn.Sequential(nn.Upsample(scale_factor=2), nn.PixelShuffle(2), nn.PixelUnshuffle(2),
                  nn.Unfold(3), nn.Flatten(), nn.LogSoftmax(1)),
]  # fmt: skip


_EXAMPLES = {ShippedUNet: (1, 3, 16, 16), CellClassifier: (1, 3, 32, 32), ResNet: (1, 3, 16, 16)}


def _saved() -> Iterator[tuple[torch.jit.ScriptModule, bytes]]:
    for module in _MODULES:
        example = torch.rand(_EXAMPLES.get(type(module), (1, 8, 8, 8)))
        for made in (
            torch.jit.script(module.eval()),
            torch.jit.trace(module.eval(), example, check_trace=False),
        ):
            file = io.BytesIO()
            torch.jit.save(made, file)
            yield made, file.getvalue()


def _sources(content: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [archive.read(n).decode() for n in archive.namelist() if n.endswith(".py")]


def _operators(scripted: torch.jit.ScriptModule) -> set[str]:
    """Return the operators of a program, as PyTorch itself tells them."""
    kinds: set[str] = set()

    def walk(block: Any) -> None:
        for node in block.nodes():
            kinds.add(node.kind())
            for inner in node.blocks():
                walk(inner)

    graph = scripted.inlined_graph.copy()
    walk(graph)
    return {kind.removeprefix("aten::") for kind in kinds if kind.startswith("aten::")}


# They are written as signs of the language: ``x[0]``, ``int(x)``.
_SIGNS = {"__getitem__", "Int", "Float", "Bool", "format_"}


def test_networks_open_without_a_question_and_no_operator_is_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_for = set[str]()
    for scripted, content in _saved():
        sources = _sources(content)
        assert questions(sources) == []
        # Whatever PyTorch says that it uses is asked about where it is not allowed.
        for name in sorted(_operators(scripted) - looked_for - _SIGNS):
            looked_for.add(name)
            monkeypatch.setattr(torch_script_source, "ATEN", ATEN - {name})
            allowed = {**torch_script_source.NAMESPACES, "aten": ATEN - {name}}
            monkeypatch.setattr(torch_script_source, "NAMESPACES", allowed)
            assert any(f"{name}”" in asked for asked in questions(sources)), name
        monkeypatch.undo()
    assert len(looked_for) > 80


def _written(module: nn.Module, path: Path) -> Path:
    torch.jit.script(module.eval()).save(str(path))
    return path


def test_it_is_tried_once_and_opened_as_it_was_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    kept = trial.try_in_process

    def counted(call: str, argument: Any, **more: Any) -> Any:
        tried.append(argument["path"])
        # Whoever changes the file now changes nothing.
        path.write_bytes(b"nothing")
        return kept(call, argument, **more)

    monkeypatch.setattr(torch_script, "try_in_process", counted)
    monkeypatch.setattr(torch_script, "_tried", set())
    path = _written(nn.Conv2d(3, 2, 1), tmp_path / "m.pt")
    content, x = path.read_bytes(), torch.rand(1, 3, 4, 4)
    expected = torch.jit.load(path)(x)
    assert torch.equal(load_torchscript(path, trust=False)(x), expected)
    assert len(tried) == 1
    assert not Path(tried[0]).exists()
    path.write_bytes(content)
    assert torch.equal(load_torchscript(path, trust=False)(x), expected)
    assert len(tried) == 1


class Stateful(nn.Module):
    @torch.jit.export
    def __getstate__(self) -> bool:
        return True

    @torch.jit.export
    def __setstate__(self, state: bool) -> None:
        self.training = state

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_loading_leaves_gradients_as_they_are(tmp_path: Path) -> None:
    old = b"self.training = state\n"
    _written(Stateful(), tmp_path / "good.pt")
    with (
        zipfile.ZipFile(tmp_path / "good.pt") as good,
        zipfile.ZipFile(tmp_path / "m.pt", "w") as bad,
    ):
        for name in good.namelist():
            bad.writestr(
                name, good.read(name).replace(old, b"torch.set_grad_enabled(False)\n    " + old)
            )
    with torch.enable_grad():
        torch.jit.load(tmp_path / "m.pt")
        assert not torch.is_grad_enabled()
    load_torchscript(tmp_path / "m.pt", trust=False)
    assert torch.is_grad_enabled()


def test_it_is_asked_about_what_the_list_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _written(nn.Conv2d(3, 2, 1), tmp_path / "m.pt")
    monkeypatch.setattr(limits, "MOST_SOURCE", 10)
    with pytest.raises(UntrustedError, match="too long to be looked through"):
        load_torchscript(path, trust=False)
    monkeypatch.undo()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("m/model.json", "{}")
    with pytest.raises(UntrustedError, match=r"PyTorch 1\.0"):
        load_torchscript(path, trust=False)

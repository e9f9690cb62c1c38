"""Programs of torch.export: asked about, and opened only as networks."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.code.trust import TrustStore, UntrustedError
from napari_neuroscope.engine.frameworks.torch.files.exported import computes
from napari_neuroscope.engine.frameworks.torch.files.load import load_torch


class Branching(nn.Module):
    """Sizes that are free, a branch, and parts without gradients: higher operators of all kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        y = torch.relu(self.norm(self.first(x)))
        with torch.no_grad():
            scale = y.amax() + 1
        y = torch.cond(y.sum() > 0, lambda y: y + 1, lambda y: y - 1, (y,))
        y = nn.functional.interpolate(y, size=(height // 2, width // 2), mode="bilinear")
        return (y / scale).mean((2, 3))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    path, model = tmp_path_factory.mktemp("exported") / "m.pt2", Branching().eval()
    height, width = (torch.export.Dim(name, min=4, max=512) for name in ("height", "width"))
    program = torch.export.export(
        model, (torch.rand(1, 3, 16, 16),), dynamic_shapes=({2: 2 * height, 3: 2 * width},)
    )
    torch.export.save(program, path)
    return path, model


def _load(path: Path, *, trust: bool = False) -> nn.Module:
    return load_torch(path, "torch.export", factory=None, arguments=None, trust=trust)


def _changed(path: Path, target: Path, change: Callable[[Any], Any]) -> Path:
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("models/model.json"):
                content = json.dumps(change(json.loads(content))).encode()
            new.writestr(name, content)
    return target


def test_it_is_asked_and_opened_as_it_was_trusted(
    exported: tuple[Path, nn.Module], tmp_path: Path
) -> None:
    path, model = exported
    with pytest.raises(UntrustedError, match="a PyTorch program, with Python code") as refusal:
        _load(path)
    TrustStore().add(refusal.value.sha256, path.name)
    opened, x = _load(path), torch.rand(1, 3, 20, 24)
    torch.testing.assert_close(opened(x), model(x))
    assert opened.example_shape.tolist() == [1, 3, 16, 16]
    with pytest.raises(UntrustedError):
        _load(_changed(path, tmp_path / "m.pt2", lambda graph: graph))


@pytest.mark.parametrize(
    "target",
    ["torch.ops.aten.from_file.default", "torch.os.system", "#extension:operator", "forward"],
)
def test_operators_of_no_network_are_refused_although_trusted(
    target: str, exported: tuple[Path, nn.Module], tmp_path: Path
) -> None:
    def change(graph: Any) -> Any:
        # The last is one within the branch.
        text = json.dumps(graph)
        assert "torch.ops.aten.add.Tensor" in text
        return json.loads(text.replace("torch.ops.aten.add.Tensor", target))

    path = _changed(exported[0], tmp_path / "m.pt2", change)
    with pytest.raises(NeuroscopeError, match="no operator of networks") as refusal:
        _load(path, trust=True)
    assert target in str(refusal.value)


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ("torch.ops.aten.conv2d.default", True),
        ("torch.ops.quantized_decomposed.quantize_per_tensor.default", True),
        ("torch.ops.higher_order.cond", True),
        ("_operator.add", True),
        ("torch.sym_max", True),
        ("math.trunc", True),
        ("torch.ops.aten.save.default", False),
        ("torch.ops.higher_order.call_torchbind", False),
        ("torch.ops.higher_order.aoti_call_delegate", False),
        ("torch.ops.c10d.barrier.default", False),
        ("torch.ops.load_library", False),
        ("torch.ops.aten.conv2d.default.__class__", False),
        ("torch.load", False),
        ("_operator.attrgetter", False),
        ("math.os", False),
        ("torch.sym_max.__globals__", False),
    ],
)
def test_which_operators_compute(target: str, allowed: bool) -> None:
    assert computes(target) is allowed


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"{", "it is no JSON"), (b"[" * 100_000, "nested too deeply"), (b"[]", "broken"), (b"\xff", "no JSON")],
)  # fmt: skip
def test_a_broken_one_is_one_sentence(
    content: bytes, says: str, exported: tuple[Path, nn.Module], tmp_path: Path
) -> None:
    path = tmp_path / "m.pt2"
    with zipfile.ZipFile(exported[0]) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name.endswith("models/model.json") else old.read(name))
    with pytest.raises(NeuroscopeError, match=says) as refusal:
        _load(path, trust=True)
    assert "“m.pt2”" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_long_description_is_refused(
    exported: tuple[Path, nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MOST_GRAPH", 100)
    with pytest.raises(NeuroscopeError, match="more than such a file needs"):
        _load(exported[0], trust=True)

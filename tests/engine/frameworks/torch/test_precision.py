"""PyTorch's settings of precision: full float32 during a pass, and as they were after it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import napari_neuroscope as ns
from napari_neuroscope.engine.frameworks.torch.precision import full_precision
from networks import as_network


def settings() -> dict[str, Any]:
    """Return what PyTorch says of its precision, under all its names."""
    found: dict[str, Any] = {"deterministic": torch.backends.cudnn.deterministic}
    for name, read in {
        "cudnn": lambda: torch.backends.cudnn.allow_tf32,
        "matmul": lambda: torch.backends.cuda.matmul.allow_tf32,
        "float32": torch.get_float32_matmul_precision,
    }.items():
        try:
            found[name] = read()
        except RuntimeError:
            found[name] = "contradicted"
    if hasattr(torch.backends.cudnn, "conv"):
        found |= {
            "conv": torch.backends.cudnn.conv.fp32_precision,
            "new matmul": torch.backends.cuda.matmul.fp32_precision,
        }
    return found


def in_full() -> bool:
    if not torch.backends.cudnn.deterministic:
        return False
    if hasattr(torch.backends.cudnn, "conv"):
        found = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
        return all(of.fp32_precision == "ieee" for of in found)
    return not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True
    if hasattr(torch.backends.cudnn, "conv"):
        torch.backends.cuda.matmul.fp32_precision = "none"


def nothing() -> None:
    """Leave PyTorch's defaults."""


def all_tf32() -> None:
    torch.backends.cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("high")


def none_tf32() -> None:
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")


def new_names() -> None:
    """As people with PyTorch's new names set it, after which the old ones can't be read."""
    if not hasattr(torch.backends.cudnn, "conv"):
        pytest.skip("this PyTorch has the old names alone")
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    torch.backends.cuda.matmul.fp32_precision = "tf32"


class Watching(nn.Module):
    """Notes whether its forward and backward passes run in full float32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)
        self.seen: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(in_full())
        y = self.conv(x)
        if y.requires_grad:
            y.register_hook(lambda gradient: self.seen.append(in_full()))
        return y.mean((2, 3))


@pytest.mark.parametrize("of_the_user", [nothing, all_tf32, none_tf32, new_names])
@pytest.mark.parametrize("method", ["saliency", "grad_cam", "rise"])
def test_a_pass_is_in_full_float32(of_the_user: Callable[[], None], method: str) -> None:
    of_the_user()
    before = settings()
    model = Watching()
    more = {"masks": 3} if method == "rise" else {}
    more |= {"layer": "conv"} if method == "grad_cam" else {}
    ns.explain(as_network(model), np.ones((4, 4), np.float32), method, target=1, **more)
    assert model.seen
    assert all(model.seen)
    assert settings() == before


def test_two_threads_put_back_what_was_there_before_both() -> None:
    all_tf32()
    before = settings()
    first_in, second_in = threading.Event(), threading.Event()
    full: list[bool] = []

    def second() -> None:
        first_in.wait(10)
        with full_precision():
            second_in.set()
            first.join(10)
            full.append(in_full())  # the other thread is out, this one is not

    def leave_early() -> None:
        with full_precision():
            first_in.set()
            second_in.wait(10)

    first, other = threading.Thread(target=leave_early), threading.Thread(target=second)
    first.start()
    other.start()
    other.join(10)
    assert full == [True]
    assert settings() == before


def test_after_an_error() -> None:
    all_tf32()
    before = settings()
    with pytest.raises(ValueError, match="no"), full_precision():
        raise ValueError("no")
    assert settings() == before


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (2, 1, 12, 12)])
def test_a_traced_module_keeps_no_setting_of_its_own(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.ConvTranspose2d(2, 3, 2)), nn.ReLU())
    path = tmp_path / "net.pt"
    torch.jit.save(torch.jit.trace(model.eval(), torch.zeros(1, 1, 8, 8)), path)
    assert set(tf32_of(torch.jit.load(path))) == {True}
    network = ns.load(path, spec={"task": "segmentation"}, device="cpu")
    assert tf32_of(network.adapter.model) == [False, False]
    x = torch.rand(shape)
    torch.testing.assert_close(network.adapter.model(x), model(x))


def tf32_of(module: torch.jit.ScriptModule) -> list[bool]:
    """Return what the convolutions of a traced module have written down."""
    return [
        list(node.inputs())[-1].toIValue()
        for part in module.modules()
        for node in part.graph.findAllNodes("aten::_convolution")
    ]

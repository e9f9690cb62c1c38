"""An observer is told of every call of a pass, in order, and of nothing inside of a layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns
from napari_neuroscope.engine.frameworks.torch.tracing.recorder import (
    CallRecorder,
    LayerCall,
    PassObserver,
)


class Net(nn.Module):
    """A block, a function beside it, and attention, which calls functions of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.attention = nn.MultiheadAttention(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.gelu(self.block(x)) + 1
        return self.attention(x, x, x)[0]


class Told(PassObserver):
    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str]] = []
        self.other: list[str] = []

    def after_call(self, call: LayerCall) -> None:
        assert call.output is not None
        self.calls.append((call.name, call.kind, call.block))

    def between_layers(self, operation: str, inputs: Any, outputs: Any) -> None:
        self.other.append(operation)


def run(only: Any = None, progress: Any = None) -> Told:
    told, model = Told(), Net().eval()
    with CallRecorder(model, told, progress, 5).recording(only):
        model(torch.zeros(3, 4))
    count = len(told.calls)
    model(torch.zeros(3, 4))
    assert len(told.calls) == count  # nothing stays behind
    return told


def test_all_calls_in_their_order_and_blocks() -> None:
    told = run()
    assert told.calls == [
        ("block.0", "dense", "block"),
        ("block.1", "activation", "block"),
        ("block", "block", ""),
        ("gelu", "activation", ""),
        ("attention", "attention", ""),
    ]
    # A number that is added makes no layer.
    assert "add" in told.other


def test_only_what_is_asked_for() -> None:
    assert [name for name, *_ in run({"block.1"}).calls] == ["block.1"]
    assert run(()).calls == []


def test_a_pass_can_be_followed_and_stopped() -> None:
    steps: list[int] = []
    run(progress=lambda done, total, what: steps.append(done))
    assert steps == [1, 2, 3, 4, 5]

    def stop(*_: Any) -> None:
        raise ns.Cancelled

    with pytest.raises(ns.Cancelled):
        run(progress=stop)

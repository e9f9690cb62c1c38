"""What ran before a layer is answered for, and each module's own forward pass comes back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from napari_neuroscope.engine.frameworks.torch.tracing.recorder import CallRecorder, PassObserver
from napari_neuroscope.engine.frameworks.torch.tracing.resume import PrefixCache, ResumedForward

X = torch.ones(1, 3)


class Doubling(nn.Module):
    """Counts how often it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        return 2 * x


def observed(model: nn.Module, observer: PassObserver, x: Tensor) -> Any:
    observer.recorder = CallRecorder(model, observer, None, 0)
    with observer.recorder.recording():
        return model(x)


def model_and_prefix() -> tuple[nn.Sequential, PrefixCache]:
    model = nn.Sequential(Doubling(), nn.ReLU(), Doubling())
    prefix = PrefixCache("1", (), None)
    observed(model, prefix, X)
    return model, prefix


def test_only_what_comes_after_the_layer_runs() -> None:
    model, prefix = model_and_prefix()
    assert torch.equal(prefix.value, 2 * X)
    values = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    resumed = ResumedForward(prefix, values, 2, copying=False)
    with resumed.answering(model):
        output = observed(model, resumed, X.expand(2, 3))
    assert torch.equal(output, 2 * values)
    assert [model[0].runs, model[2].runs] == [1, 2]


def test_a_forward_pass_of_ones_own_comes_back_after_an_error() -> None:
    model, prefix = model_and_prefix()
    patched: Callable[[Tensor], Tensor] = lambda x: 5 * x  # noqa: E731
    model[0].forward = patched
    resumed = ResumedForward(prefix, X, 1, copying=True)
    with suppress(ZeroDivisionError), resumed.answering(model):
        assert model[0].forward is not patched
        raise ZeroDivisionError
    assert model[0].forward is patched
    assert "forward" not in vars(model[1])


def test_what_is_written_on_afterwards_is_told() -> None:
    _, prefix = model_and_prefix()
    before = prefix.versions()
    prefix.results["0"].add_(1)
    assert prefix.versions() != before

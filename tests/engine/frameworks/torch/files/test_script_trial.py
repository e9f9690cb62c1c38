"""What a trial of a TorchScript program shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files.code import trial
from napari_neuroscope.engine.files.code.trust import TrustStore, UntrustedError
from napari_neuroscope.engine.frameworks.torch.files import script as torch_script
from napari_neuroscope.engine.frameworks.torch.files.script import load_torchscript
from napari_neuroscope.engine.frameworks.torch.files.script_trial import try_torchscript


def _written(module: nn.Module, path: Path) -> Path:
    torch.jit.script(module.eval()).save(str(path))
    return path


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (trial.TrialError("it ran for more than 10 seconds"), "it ran for more than 10 seconds"),
        (trial.TrialError("its process crashed (signal 11)"), "its process crashed"),
        ({"greedy": "it needs more memory"}, "in its trial: it needs more memory"),
        ({"broken": "no such operator"}, "broken TorchScript file .no such operator."),
    ],
)
def test_what_its_trial_shows_is_told(
    answer: Any, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answered(*_: Any, **__: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(torch_script, "try_in_process", answered)
    monkeypatch.setattr(torch_script, "_tried", set())
    path = _written(nn.Conv2d(3, 2, 1), tmp_path / "m.pt")
    with pytest.raises(NeuroscopeError, match=says) as refusal:
        load_torchscript(path, trust=False)
    assert isinstance(refusal.value, UntrustedError) is ("broken" not in says)
    if isinstance(refusal.value, UntrustedError):
        # Who trusts it opens it without another trial.
        TrustStore().add(refusal.value.sha256, path.name)
        monkeypatch.delattr(torch_script, "try_in_process")
        assert load_torchscript(path, trust=False).weight.shape == (2, 3, 1, 1)


class Looping(nn.Module):
    __constants__ = ("rounds",)

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self.rounds = rounds

    def inner(self, x: Tensor) -> Tensor:
        for _ in range(5000):
            x = x + 1
        return x

    def forward(self, x: Tensor) -> Tensor:
        # No trial sees what happens for one image alone.
        if x.sum() == 12345:
            for _ in range(self.rounds):
                x = self.inner(x)
        return x


@pytest.mark.parametrize(("rounds", "says"), [(100, {}), (9000, {"greedy"})])
def test_rounds_of_loops_in_each_other_are_counted(rounds: int, says: Any, tmp_path: Path) -> None:
    path = _written(Looping(rounds), tmp_path / "m.pt")
    threads = torch.get_num_threads()
    assert set(try_torchscript({"path": str(path), "seconds": 10.0})) == set(says)
    torch.set_num_threads(threads)

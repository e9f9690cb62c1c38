"""Ends that can't be seen: a network whose answers lie in 0..1 for all inputs answers probabilities."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import napari_neuroscope as ns
from closeness import assert_close
from napari_neuroscope.cli.main import main
from napari_neuroscope.engine.passes.output.measured_end import MEASURED


class Ended(nn.Module):
    def __init__(self, end: Callable[[Tensor], Tensor], classes: int, *, pooled: bool) -> None:
        super().__init__()
        self.convolution, self.end, self.pooled = nn.Conv2d(3, classes, 3, padding=1), end, pooled
        torch.manual_seed(0)
        nn.init.normal_(self.convolution.weight, std=1.5)
        nn.init.constant_(self.convolution.bias, -0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolution(x)
        return self.end(x.mean((2, 3)) if self.pooled else x)


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((32, 32, 3), dtype=np.float32)


def as_script(model: nn.Module, x: Tensor, folder: Path) -> ns.Network:
    torch.jit.trace(model, x).save(str(folder / "net.pt"))
    return ns.load(folder / "net.pt", trust=True, device="cpu")


def as_module(model: nn.Module, x: Tensor, folder: Path) -> ns.Network:
    return ns.wrap(model, _task(model), device="cpu")


def as_function(model: nn.Module, x: Tensor, folder: Path) -> ns.Network:
    spec = {**_task(model), "input": {"channels": 3}}
    return ns.wrap(lambda x: model(torch.from_numpy(x)).detach().numpy(), spec)


def _task(model: Any) -> dict[str, Any]:
    return {"task": "classification" if model.pooled else "segmentation"}


CASES = [
    (as_script, nn.Sigmoid(), 1, False),
    (as_script, nn.Sigmoid(), 3, True),
    (as_module, nn.Hardsigmoid(), 1, False),
    (as_module, lambda x: 1 / (1 + torch.exp(-x)), 1, False),
    (as_module, lambda x: x.bfloat16().softmax(1).float(), 5, False),
    (as_function, nn.Sigmoid(), 1, False),
    (as_function, nn.Softmax(1), 3, True),
]


@pytest.mark.parametrize(("opened", "end", "classes", "pooled"), CASES)
def test_probabilities_are_those_of_the_network(
    opened: Any, end: Any, classes: int, pooled: bool, image: np.ndarray, tmp_path: Path
) -> None:
    model = Ended(end, classes, pooled=pooled).eval()
    x = torch.from_numpy(np.moveaxis(image, -1, 0)[None].copy())
    network = opened(model, x, tmp_path)

    predicted = network.predict(image)

    found = predicted.probabilities[1:] if classes == 1 else predicted.probabilities
    assert_close(found, model(x)[0].detach().numpy())
    assert (
        network.output_end.was_measured
        == (MEASURED in predicted.notes)
        == (not isinstance(end, nn.Softmax))
    )
    assert network.output_end.is_softmax_by_sum == isinstance(end, nn.Softmax)


def test_check_says_of_a_program_that_its_answers_are_a_softmax(
    image: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for end, says in (
        (nn.Softmax(1), "that sum to 1, taken for a softmax's"),
        (nn.ReLU(), "scores"),
    ):
        as_script(Ended(end, 3, pooled=True).eval(), torch.zeros(1, 3, 32, 32), tmp_path)
        main(["check", str(tmp_path / "net.pt"), "--trust", "--device", "cpu"])
        assert says in capsys.readouterr().out


def test_a_rounded_softmax_is_one(image: np.ndarray) -> None:
    model = Ended(lambda x: x.bfloat16().softmax(1).float(), 5, pooled=False).eval()
    network = ns.wrap(model, _task(model), device="cpu")
    assert network.layers
    assert network.spec.output.activation == "softmax"


def test_logits_are_left_alone(image: np.ndarray) -> None:
    # They lie in 0..1 for an image of zeros and for a usual one.
    model = Ended(lambda x: 0.01 * x + 0.5, 1, pooled=False).eval()
    network = ns.wrap(model, _task(model), device="cpu")
    x = torch.from_numpy(np.moveaxis(image, -1, 0)[None].copy())
    expected = torch.sigmoid(model(x))[0].detach().numpy()
    assert_close(network.predict(image).probabilities[1:], expected)
    assert not network.output_end.was_measured


def test_what_is_stated_is_not_measured(image: np.ndarray) -> None:
    model = Ended(nn.Hardsigmoid(), 1, pooled=False).eval()
    stated = {**_task(model), "output": {"activation": "none"}}
    network = ns.wrap(model, stated, device="cpu")
    x = torch.from_numpy(np.moveaxis(image, -1, 0)[None].copy())
    assert_close(network.predict(image).scores[1:], model(x)[0].detach().numpy())
    assert not network.output_end.was_measured

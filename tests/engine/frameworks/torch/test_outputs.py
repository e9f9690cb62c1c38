"""Networks that answer with a dict, a tuple or a dataclass, or without their batch of one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns
from closeness import assert_close
from networks import EndingIn, Pixelwise, as_network, settled


@dataclass
class Answer:
    out: Tensor
    aux: Tensor
    loss: Tensor | None = None


@dataclass
class Logits:
    loss: None
    logits: Tensor


@dataclass(slots=True)
class Slotted:
    logits: Tensor


class ImportedName(NamedTuple):
    aux: Tensor
    out: Tensor


def other(x: Tensor) -> Tensor:
    return x.flip(1) * 3


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((9, 11, 3)).astype(np.float32)


MEANT: dict[str, tuple[Any, Any]] = {
    "out": (lambda x: {"out": x, "aux": other(x)}, None),
    "out, though it comes last": (lambda x: OrderedDict(aux=other(x), out=x), None),
    "logits": (lambda x: {"aux": other(x), "logits": x}, None),
    "the first of a dict": (lambda x: {"scores": x, "aux": other(x)}, None),
    "a key": (lambda x: {"aux": other(x), "scores": x}, "scores"),
    "the first of a tuple": (lambda x: (x, other(x)), None),
    "a number": (lambda x: [other(x), x], 1),
    "the last": (lambda x: (other(x), x), -1),
    "a dict in a tuple": (lambda x: (other(x), {"out": x}), 1),
    "a dataclass": (lambda x: Answer(x, other(x)), None),
    "a field": (lambda x: Answer(other(x), x), "aux"),
    "a dataclass with an empty field": (lambda x: Logits(None, x), None),
    "a dataclass with slots": (Slotted, None),
    "a named tuple by number": (lambda x: ImportedName(other(x), x), 1),
    "a named tuple by name": (lambda x: ImportedName(other(x), x), "out"),
}


@pytest.mark.parametrize(("end", "index"), MEANT.values(), ids=MEANT)
def test_the_output_that_is_meant(end: Any, index: Any, image: np.ndarray) -> None:
    network = as_network(
        EndingIn(settled(Pixelwise(3)), end), "segmentation", output={"index": index}
    )
    plain = as_network(settled(Pixelwise(3)), "segmentation")
    found = ns.explain(network, image, "saliency", 1)
    assert_close(found.values, ns.explain(plain, image, "saliency", 1).values)
    found = ns.explain(network, image, "grad_cam", 1, "body.conv1", relu=False)
    expected = ns.explain(plain, image, "grad_cam", 1, "conv1", relu=False)
    assert_close(found.values, expected.values)


NO_SCORES: dict[str, tuple[Any, Any, str]] = {
    "another key": (lambda x: {"out": x}, "logit", "“out”"),
    "a number for a dict": (lambda x: {"out": x}, 0, "“out”"),
    "a number too large": (lambda x: (x, x), 2, "2 outputs, 0..1"),
    "a key for a tuple": (lambda x: (x, x), "out", "2 outputs, 0..1"),
    "text": (lambda x: "a cat", None, "str"),
    "nothing": (lambda x: None, None, "NoneType"),
    "an empty tuple": (lambda x: (), None, "tuple"),
    "an empty dict": (lambda x: {}, None, "output"),
    "a dict without tensors": (lambda x: {"loss": 3}, None, "output"),
    "one number": (lambda x: x.sum(), None, "shape"),
    "labels": (lambda x: x.argmax(1), None, "whole numbers"),
}


@pytest.mark.parametrize(("end", "index", "says"), NO_SCORES.values(), ids=NO_SCORES)
def test_outputs_that_hold_no_scores(end: Any, index: Any, says: str, image: np.ndarray) -> None:
    network = as_network(
        EndingIn(settled(Pixelwise(3)), end), "segmentation", output={"index": index}
    )
    with pytest.raises(ns.NeuroscopeError) as refusal:
        ns.explain(network, image, "saliency", 1)
    assert says in str(refusal.value)
    assert "None" not in str(refusal.value).replace("NoneType", "")


IMAGE = np.random.default_rng(0).random((16, 16, 3)).astype(np.float32)


METHODS = {
    "saliency": {}, "grad_cam": {}, "integrated_gradients": {"steps": 3},
    "occlusion": {"window": 8, "stride": 8},
}  # fmt: skip


def assert_same(model: nn.Module, plain: nn.Module, task: str) -> None:
    networks = [ns.wrap(one.eval(), {"task": task}) for one in (model, plain)]
    for method, options in METHODS.items():
        made, expected = (ns.explain(n, IMAGE, method, 1, **options).values for n in networks)
        np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-6, err_msg=method)


class FinalActivation(nn.Module):
    def __init__(self, classes: int, end: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head, self.end = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, classes), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.head(functional.relu(self.conv(x)).mean((2, 3))))


@pytest.mark.parametrize(
    ("classes", "end", "plain"),
    [(3, lambda y: y.squeeze(), None), (1, lambda y: y.squeeze(), None),
     (1, lambda y: y.squeeze(1), None), (3, lambda y: y[0], None),
     (1, lambda y: torch.sigmoid(y).squeeze(), torch.sigmoid),
     (3, lambda y: y.softmax(-1).squeeze(), lambda y: y.softmax(-1))],
)  # fmt: skip
def test_answers_without_their_batch_of_one(
    classes: int, end: Callable[[Tensor], Tensor], plain: Callable[[Tensor], Tensor] | None
) -> None:
    whole = FinalActivation(classes, plain or (lambda y: y))
    assert_same(FinalActivation(classes, end), whole, "classification")


def test_a_segmenter_that_squeezes() -> None:
    class Squeezing(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).squeeze()

    parts = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1)]
    assert_same(Squeezing(*parts), nn.Sequential(*parts), "segmentation")

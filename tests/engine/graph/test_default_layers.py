"""Which layer is explained by default, and why maps are zero, against PyTorch's own gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns

IMAGE = np.random.default_rng(0).random((16, 16, 3)).astype(np.float32)
INPUT = torch.tensor(IMAGE.transpose(2, 0, 1)[None])
SEGMENTATION = {"task": "segmentation"}


def segmenter(*end: nn.Module, classes: int = 2) -> nn.Sequential:
    torch.manual_seed(1)
    body = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, classes, 1)]
    return nn.Sequential(*body, *end).eval()


class TwoHeads(nn.Module):
    """The other head runs last; its answer is given beside, or thrown away."""

    def __init__(self, answer: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.answer = answer
        self.body, self.own = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.other, self.head = nn.Conv2d(8, 16, 3, padding=1), nn.Linear(8, 3)
        self.beside = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Any:
        x = functional.relu(self.body(x))
        scores = self.head(functional.relu(self.own(x)).mean((2, 3)))
        beside = self.beside(functional.relu(self.other(x)).mean((2, 3)))
        return {"tuple": (scores, beside), "dict": {"out": scores, "aux": beside}}.get(
            self.answer, scores
        )


def grad_cam(activation: Tensor, score: Tensor) -> np.ndarray:
    (gradient,) = torch.autograd.grad(score, activation)
    return (activation * gradient.mean((2, 3), keepdim=True)).sum(1)[0].detach().numpy()


@pytest.mark.parametrize(
    ("end", "classes"),
    [([nn.Softmax(1)], 2), ([nn.LogSoftmax(1)], 2), ([nn.Sigmoid()], 1), ([nn.Sigmoid()], 3),
     ([nn.Identity()], 2), ([nn.Upsample(scale_factor=2), nn.Softmax(1)], 2),
     ([nn.Sequential(nn.Dropout2d(), nn.Softmax2d())], 2)],
)  # fmt: skip
def test_a_segmenter_is_explained_before_its_head(end: list[nn.Module], classes: int) -> None:
    model = segmenter(*end, classes=classes)
    network = ns.wrap(model, SEGMENTATION)
    made = ns.explain(network, IMAGE, "grad_cam", ns.Target(1, "everywhere"), relu=False)
    assert made.provenance["layers"] == ["1"]

    activation = model[:2](INPUT)
    scores = model[2](activation)
    if isinstance(end[0], nn.Upsample):
        scores = end[0](scores)
    expected = grad_cam(activation, scores[0, 1 % classes].sum())
    np.testing.assert_allclose(made.values, expected, rtol=1e-4, atol=1e-5)

    every = ns.explain(network, IMAGE, "grad_cam", ns.Target(1, "everywhere"), "all", relu=False)
    assert np.abs(every.values).reshape(len(every.values), -1).max(1).all()
    assert not [note for note in every.provenance["notes"] if "zero" in note]


def test_what_lies_behind_the_scores_says_so() -> None:
    made = ns.explain(ns.wrap(segmenter(nn.Softmax(1)), SEGMENTATION), IMAGE, "grad_cam", 1, "3")
    assert not made.values.any()
    notes = " ".join(made.provenance["notes"])
    assert "“3” lies behind the scores that are explained" in notes
    assert "explain “1”" in notes
    assert "speaks" not in notes


@pytest.mark.parametrize("answer", ["tuple", "dict", "thrown away"])
def test_the_default_leads_to_the_score(answer: str) -> None:
    model = TwoHeads(answer).eval()
    network = ns.wrap(model)
    made = ns.explain(network, IMAGE, "grad_cam", 1, relu=False)
    activation = functional.relu(model.own(functional.relu(model.body(INPUT))))
    expected = grad_cam(activation, model.head(activation.mean((2, 3)))[0, 1])
    np.testing.assert_allclose(made.values, expected, rtol=1e-4, atol=1e-7)

    beside = ns.explain(network, IMAGE, "grad_cam", 1, "other", relu=False)
    assert not beside.values.any()
    said = " ".join(beside.provenance["notes"])
    assert "“other” does not lead to the scores that are explained" in said
    assert "small changes" not in said
    assert "other" not in ns.explain(network, IMAGE, "grad_cam", 1, "all").provenance["layers"]


def test_negative_and_vanishing_maps_are_told_apart() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 2),
    ).eval()  # fmt: skip
    model[4].weight.data = -model[4].weight.data.abs()
    (said,) = ns.explain(ns.wrap(model), IMAGE, "grad_cam", 1, "1").provenance["notes"]
    assert "nothing in the layer speaks for the class" in said

    model[0].bias.data.fill_(1e4)
    model[1] = nn.Sigmoid()
    (said,) = ns.explain(ns.wrap(model), IMAGE, "grad_cam", 1, "0").provenance["notes"]
    assert "its gradient vanishes" in said


@pytest.mark.parametrize("norm", [nn.InstanceNorm2d(8, affine=True), nn.GroupNorm(8, 8), None])
def test_grad_cam_before_a_norm_of_each_channel_is_said_to_be_noise(norm: nn.Module | None) -> None:
    torch.manual_seed(0)
    middle = nn.BatchNorm2d(8) if norm is None else norm
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), middle, nn.LeakyReLU(0.01), nn.Conv2d(8, 2, 1)
    ).eval()
    network = ns.wrap(model, SEGMENTATION)
    made = ns.explain(network, IMAGE, "grad_cam", 1, "0")
    exact = ns.explain(ns.wrap(model.double(), SEGMENTATION), IMAGE, "grad_cam", 1, "0")
    noise = exact.values.max() < 1e-6
    assert noise == (norm is not None)
    assert any("HiResCAM" in note for note in made.provenance["notes"]) == noise

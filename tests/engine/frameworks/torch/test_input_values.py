"""PyTorch networks that normalise an image of 0..255 themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import napari_neuroscope as ns
from closeness import assert_close
from napari_neuroscope.engine.passes.model import BYTES

MEAN = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
STD = torch.tensor([58.395, 57.12, 57.375])[:, None, None]


class Classifier(nn.Module):
    """A convolution behind what is done to the image first."""

    def __init__(self, first: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = first
        self.c, self.l = nn.Conv2d(3, 6, 3), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.l(torch.relu(self.c(self.first(x))).mean((2, 3)))


class Embedding(nn.Module):
    """Looks up whole grey values."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.e, self.l = nn.Embedding(256, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.l(self.e(x[:, 0].long()).mean((1, 2)))


def batch_norm() -> nn.Module:
    norm = nn.BatchNorm2d(3)
    norm.running_mean.fill_(118.0)
    norm.running_var.fill_(3500.0)
    return norm


def in_place(x: Tensor) -> Tensor:
    for channel, mean in enumerate((123.7, 116.3, 103.5)):
        x[:, channel] -= mean
    return x


def reversed_channels(x: Tensor) -> Tensor:
    return torch.cat([x[:, 2:], x[:, 1:2], x[:, :1]], 1).sub_(MEAN)


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)


FOR_BYTES = {
    "divided": lambda x: x / 255,
    "standardised": lambda x: (x - MEAN) / STD,
    "to −1..1": lambda x: x.div(127.5).sub(1),
    "reversed": lambda x: -(1 - x.flip(1).half().float() / 127.5),
    "batch norm": batch_norm(),
    "in place": in_place,
    "channels": reversed_channels,
    "clamped": lambda x: x.clamp(0, 255) / 255,
}
FOR_UNITS = {
    "nothing": lambda x: x,
    "to −1..1": lambda x: 2 * x - 1,
    "standardised": lambda x: (x - 0.45) / 0.225,
    "to bytes and back": lambda x: x * 255 - MEAN,
    "its own range": lambda x: x / x.amax((1, 2, 3), keepdim=True),
    "batch norm": nn.BatchNorm2d(3),
}


@pytest.mark.parametrize("first", FOR_BYTES.values(), ids=FOR_BYTES)
def test_an_image_is_given_in_0_to_255_and_that_is_said(
    first: Callable[[Tensor], Tensor], image: np.ndarray
) -> None:
    model = Classifier(first).eval()
    network = ns.wrap(model, device="cpu")
    with torch.no_grad():
        expected = model(torch.tensor(image).permute(2, 0, 1)[None].float())[0]
    answer = network.predict(image)
    assert_close(answer.scores, expected.numpy(), 1e-5)
    assert BYTES in answer.notes
    assert BYTES in ns.explain(network, image, "saliency", 0).provenance["notes"]


def test_scripted_networks_and_whole_numbers_are_given_0_to_255_too(image: np.ndarray) -> None:
    class Divided(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c = nn.Conv2d(3, 2, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(x / 255.0)

    values = torch.tensor(image).permute(2, 0, 1)[None].float()
    scripted = torch.jit.script(Divided().eval())
    with torch.no_grad():
        segmented = scripted(values)[0].numpy()
        looked_up = Embedding().eval()(values[:, :1])[0].numpy()
    network = ns.wrap(scripted, {"task": "segmentation"}, device="cpu")
    assert_close(network.predict(image).scores, segmented, 1e-5)
    of_gray = ns.wrap(Embedding().eval(), {"input": {"channels": 1}}, device="cpu")
    assert_close(of_gray.predict(image[..., 0]).scores, looked_up, 1e-5)


@pytest.mark.parametrize("first", FOR_UNITS.values(), ids=FOR_UNITS)
def test_other_networks_are_given_0_to_1(
    first: Callable[[Tensor], Tensor], image: np.ndarray
) -> None:
    model = Classifier(first).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    answer = ns.wrap(model, device="cpu").predict(image)
    with torch.no_grad():
        expected = model(torch.tensor(image).permute(2, 0, 1)[None] / 255.0)[0]
    assert_close(answer.scores, expected.numpy(), 1e-5)
    assert BYTES not in answer.notes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_is_stated_is_never_overridden(image: np.ndarray) -> None:
    model = Classifier(lambda x: x / 255).eval()
    network = ns.wrap(model, {"input": {"normalization": "zero_one"}}, device="cpu")
    with torch.no_grad():
        expected = model(torch.tensor(image).permute(2, 0, 1)[None] / 255.0)[0]
    assert_close(network.predict(image).scores, expected.numpy(), 1e-5)

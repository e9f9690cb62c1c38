"""Weights that change are noticed, however they are changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from closeness import assert_close
from networks import Counted, Pixelwise, UNet, as_network, settled


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


@pytest.fixture
def model() -> Counted:
    return Counted(settled(UNet()))


@pytest.fixture
def network(model: Counted) -> ns.Network:
    return as_network(model, "segmentation")


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.body.head.weight.data.mul_(2),
        lambda model: model.body.head.bias.data.add_(1),
        lambda model: model.body.head.bias.data.zero_(),
        lambda model: setattr(model.body.head.weight, "data", model.body.head.weight.data * 2),
        lambda model: model.body.enc1[1].running_mean.add_(1),
        lambda model: model.load_state_dict(Counted(settled(UNet(), seed=1)).state_dict()),
        lambda model: setattr(model.body, "head", nn.Conv2d(4, 3, 1)),
        lambda model: model.body.head.weight.detach().numpy().__imul__(2),
        lambda model: model.body.bottom[3].weight.data[:, 0].zero_(),
    ],
    ids=[
        "data times 2",
        "data plus 1",
        "data to zero",
        "other data",
        "a buffer",
        "load_state_dict",
        "another module",
        "by numpy",
        "one channel",
    ],
)
def test_changed_weights_are_noticed(
    change: Any, model: Counted, network: ns.Network, image: np.ndarray
) -> None:
    with torch.no_grad():
        model.body.head.bias.fill_(0.5)
    first = network.predict(image).scores
    ns.explain(network, image, "saliency", 1)
    digest = network.digest()
    with torch.no_grad():
        change(model)
    with torch.no_grad():
        expected = model(torch.from_numpy(image).permute(2, 0, 1)[None])[0].numpy()
    assert np.abs(expected - first).max() > 1e-3, "the change changes nothing"
    assert_close(ns.explain(network, image, "score_map", 1).values, expected[1])
    assert_close(network.predict(image).scores, expected)
    assert network.digest() != digest


def test_a_step_of_training_is_noticed(
    model: Counted, network: ns.Network, image: np.ndarray
) -> None:
    for optimiser in (
        torch.optim.SGD(model.parameters(), lr=0.1),
        torch.optim.Adam(model.parameters(), lr=0.1),
    ):
        first = ns.explain(network, image, "saliency", 1).values
        x = torch.from_numpy(image).permute(2, 0, 1)[None]
        model(x).square().mean().backward()
        optimiser.step()
        second = ns.explain(network, image, "saliency", 1).values
        assert np.abs(first - second).max() > 1e-3
        fresh = as_network(model, "segmentation")
        np.testing.assert_array_equal(second, ns.explain(fresh, image, "saliency", 1).values)


def test_weights_that_change_places_are_noticed(image: np.ndarray) -> None:
    """Their sum is the same: two classes are exchanged behind autograd's back."""
    model = settled(Pixelwise(3, 2))
    with torch.no_grad():
        # Numbers whose sum has no rounding that would give the exchange away.
        model.conv2.weight.copy_((model.conv2.weight * 64).round() / 64)
        model.conv2.bias.copy_(torch.tensor([0.25, -0.5]))
    network = as_network(model, "segmentation")
    first = ns.explain(network, image, "score_map", 0).values
    for parameter in (model.conv2.weight, model.conv2.bias):
        parameter.data.copy_(parameter.detach().flip(0).clone())
    np.testing.assert_array_equal(ns.explain(network, image, "score_map", 1).values, first)


@pytest.mark.parametrize("number", range(4))
def test_a_filter_that_is_taken_out_is_noticed(number: int, rng: np.random.Generator) -> None:
    """Of a layer wide enough that one filter is a small part of its weights."""
    model = settled(
        nn.Sequential(nn.Conv2d(1, 128, 1), nn.Conv2d(128, 128, 3), nn.Conv2d(128, 2, 1))
    )
    network = as_network(model, "segmentation")
    image = rng.random((8, 8))
    first = ns.explain(network, image, "score_map", 0).values
    model[1].weight.data[number] = 0
    second = ns.explain(network, image, "score_map", 0).values
    assert np.abs(first - second).max() > 1e-3

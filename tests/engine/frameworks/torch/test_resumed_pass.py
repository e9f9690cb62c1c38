"""Passes that go on from the output of a layer, against passes with that output put in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import napari_neuroscope as ns
from snapshot import Snapshot

SEGMENTER = {"task": "segmentation", "classes": ["sky", "car", "road"]}


class Forked(nn.Module):
    """A skip connection, an in-place relu that is used twice, functional operations."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.inner = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.head = nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        down = nn.functional.max_pool2d(x, 2)
        up = nn.functional.interpolate(self.relu(self.inner(down)), scale_factor=2.0)
        return self.head(torch.cat([up, x], 1))


class WritesBack(Forked):
    """Writes, behind its inner part, on what was before it: on all, or on the first image's."""

    def __init__(self, first_alone: bool = False) -> None:
        super().__init__()
        self.first_alone = first_alone

    def forward(self, x: Tensor) -> Tensor:
        given = self.first(x)
        inner = self.inner(nn.functional.relu(given))
        for part in [given[0], *given[1:]] if self.first_alone else [given]:
            part.mul_(0.5)
        x.add_(1)
        return self.head(torch.cat([inner, given], 1)) + x.mean((1, 2, 3), keepdim=True)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).random((16, 16, 3)).astype(np.float32)


def network_of(model: nn.Module, **spec: object) -> ns.Network:
    torch.manual_seed(0)
    model = type(model)()
    return ns.wrap(model.eval(), SEGMENTER | spec, device="cpu")


LAYERS = ["first", "relu", "max_pool2d", "inner.0", "inner.1", "inner", "relu:2", "interpolate",
          "cat", "head"]  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS)
def test_a_pass_from_a_layer_on_equals_one_with_that_output_put_in(
    layer: str, image: np.ndarray
) -> None:
    network = network_of(Forked())
    assert set(LAYERS) <= set(network.layers)
    trace = network.trace(image, keep="everything")
    activation = trace.activation(layer)[None]
    changed = torch.cat([activation, activation * 0.5, activation.flip(1)])
    model = network.adapter.model
    before = Snapshot(model)
    go_on = trace.resumed(layer)
    found = go_on(changed)
    before.assert_unchanged()
    expected = torch.cat([_with_output(model, trace.prepared.input[None], layer, one[None])
                          for one in changed])  # fmt: skip
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(found[0], found[1])
    assert "forward" not in model.first.__dict__


@pytest.mark.parametrize("first_alone", [False, True])
def test_what_is_remembered_is_not_written_on(first_alone: bool, image: np.ndarray) -> None:
    torch.manual_seed(0)
    network = ns.wrap(WritesBack(first_alone).eval(), SEGMENTER, device="cpu")
    trace = network.trace(image, keep="everything")
    given = trace.input.clone()
    activation = trace.activation("inner")[None]
    go_on = trace.resumed("inner")
    own = network.forward(given[None])
    for count in (1, 3, 2):
        found = go_on(activation.expand(count, *activation.shape[1:]))
        torch.testing.assert_close(found, own.expand(count, *own.shape[1:]), rtol=1e-5, atol=1e-5)
    assert torch.equal(trace.input, given)


def test_inputs_share_what_was_before_a_layer(image: np.ndarray) -> None:
    seen = []
    network = network_of(Forked())
    trace = network.trace(image, keep="everything")
    go_on = trace.resumed("inner")
    network.adapter.model.head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    held = torch.Tensor.repeat
    try:
        torch.Tensor.repeat = lambda *_: pytest.fail("an answer was copied")
        go_on(trace.activation("inner")[None].expand(5, -1, -1, -1))
    finally:
        torch.Tensor.repeat = held
    assert len(seen[0]) == 5


def _with_output(model: Forked, x: Tensor, layer: str, output: Tensor) -> Tensor:
    """Run the forward pass by hand, with another output of a layer."""

    def put(name: str, value: Tensor) -> Tensor:
        return output.clone() if name == layer else value

    with torch.no_grad():
        x = put("relu", put("first", model.first(x)).relu())
        down = put("max_pool2d", nn.functional.max_pool2d(x, 2))
        inner = put("inner", put("inner.1", model.inner[1](put("inner.0", model.inner[0](down)))))
        up = nn.functional.interpolate(put("relu:2", inner.relu()), scale_factor=2.0)
        joined = put("cat", torch.cat([put("interpolate", up), x], 1))
        return put("head", model.head(joined))


def test_what_comes_before_a_layer_is_not_run_again(image: np.ndarray) -> None:
    network = network_of(Forked())
    trace = network.trace(image, keep="everything")
    go_on = trace.resumed("cat")
    ran = []
    model = network.adapter.model
    original = nn.functional.conv2d
    try:
        nn.functional.conv2d = lambda *a, **k: (ran.append(1), original(*a, **k))[1]
        go_on(trace.activation("cat")[None])
    finally:
        nn.functional.conv2d = original
    assert len(ran) == len([model.head])

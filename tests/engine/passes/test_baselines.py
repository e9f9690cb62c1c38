from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.passes.baselines import baseline_of

SPEC = {
    "task": "segmentation",
    "classes": ["a", "b"],
    "input": {"normalization": {"mean": [0.5, 0.4, 0.3], "std": [0.5, 0.2, 0.1]}},
}


@pytest.fixture
def trace() -> ns.Trace:
    torch.manual_seed(0)
    network = ns.wrap(nn.Conv2d(3, 2, 3, padding=1), SPEC, device="cpu")
    return network.trace(np.random.default_rng(0).random((20, 30, 3)).astype(np.float32))


def test_zero_is_zero_as_the_network_takes_it(trace: ns.Trace) -> None:
    assert not baseline_of(trace, "zero").any()
    assert baseline_of(trace, "zero").shape == (3, 20, 30)


@pytest.mark.parametrize(("baseline", "value"), [("black", 0.0), ("white", 1.0)])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_black_and_white_are_so_before_they_are_normalised(
    baseline: str, value: float, order: str
) -> None:
    spec = {**SPEC, "input": {**SPEC["input"], "order": order}}
    network = ns.wrap(nn.Conv2d(3, 2, 3, padding=1), spec, device="cpu")
    image = np.full((20, 30, 3), value, np.float32)
    image[0, 0] = 1 - value
    found = baseline_of(network.trace(image), baseline)
    assert torch.allclose(found[:, 1:], network.prepare(image).input[:, 1:], atol=1e-6)
    assert torch.equal(found, found[:, :1, :1].expand_as(found))


def test_mean_is_of_each_channel(trace: ns.Trace) -> None:
    found = baseline_of(trace, "mean")
    for channel, values in zip(found, trace.prepared.input, strict=True):
        assert torch.equal(channel, torch.full((20, 30), float(values.mean())))


def test_blur_is_a_gaussian(trace: ns.Trace) -> None:
    expected = [
        gaussian_filter(channel.numpy(), 0.08 * 20, mode="nearest", truncate=5 / 1.6)
        for channel in trace.prepared.input
    ]
    np.testing.assert_allclose(baseline_of(trace, "blur").numpy(), expected, atol=1e-5)


def test_blur_of_a_tiny_image(trace: ns.Trace) -> None:
    small = trace.network.trace(np.ones((3, 2, 3), np.float32))
    assert torch.allclose(baseline_of(small, "blur"), small.prepared.input)


def test_an_image_is_normalised_as_the_image_is(trace: ns.Trace) -> None:
    found = baseline_of(trace, np.full((20, 30, 3), 0.5, np.float32))
    assert torch.allclose(found[:, 0, 0], torch.tensor([0.0, 0.5, 2.0]), atol=1e-6)


@pytest.mark.parametrize("baseline", [np.zeros((20, 30)), np.zeros((30, 20, 3))])
def test_an_image_of_another_shape_is_refused(trace: ns.Trace, baseline: np.ndarray) -> None:
    with pytest.raises(ns.NeuroscopeError, match=r"The baseline has shape .* \(20, 30, 3\)"):
        baseline_of(trace, baseline)


def test_an_unknown_baseline_is_refused(trace: ns.Trace) -> None:
    with pytest.raises(ns.NeuroscopeError, match="did you mean “blur”"):
        baseline_of(trace, "blurr")

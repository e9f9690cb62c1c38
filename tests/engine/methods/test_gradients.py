"""Saliency and guided backpropagation, with answers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn

import napari_neuroscope as ns
from networks import Scores, as_network, pointwise

# The score of class 0 is Σ w x, so its gradient is w whatever the image.
WEIGHTS = np.array([[[1.0, -2.0], [0.0, 3.0]], [[-4.0, 1.0], [2.0, -1.0]]])


def linear() -> ns.Network:
    model = Scores(nn.Identity(), [WEIGHTS.tolist(), (-2 * WEIGHTS).tolist()])
    return as_network(model, channels=2, image_axes="cyx", order="n")


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        ("max_abs", [[4, 2], [2, 3]]),
        ("l2", [[17**0.5, 5**0.5], [2, 10**0.5]]),
        ("signed_max", [[-4, -2], [2, 3]]),
        ("keep", WEIGHTS),
    ],
)
def test_saliency_joins_channels(channels: Any, expected: Any) -> None:
    found = ns.explain(linear(), np.ones((2, 2, 2)), "saliency", 0, channels=channels)
    np.testing.assert_allclose(found.values, expected, rtol=1e-6)
    assert found.signed == (channels in ("signed_max", "keep"))
    assert found.axes == (("channel", "y", "x") if channels == "keep" else ("y", "x"))


def test_saliency_is_absolute_unless_it_is_asked_otherwise() -> None:
    found = ns.explain(linear(), np.ones((2, 2, 2)), "saliency", 0)
    np.testing.assert_allclose(found.values, [[4, 2], [2, 3]], rtol=1e-6)


def test_saliency_of_several_classes() -> None:
    found = ns.explain(linear(), np.ones((2, 2, 2)), "saliency", [1, 0], channels="keep")
    assert found.axes == ("class", "channel", "y", "x")
    assert found.labels["class"] == ("1", "0")
    np.testing.assert_allclose(found.values, [-2 * WEIGHTS, WEIGHTS], rtol=1e-6)


@pytest.mark.parametrize("score", ["probability", "log_probability"])
def test_saliency_of_a_probability(score: Any) -> None:
    """For two classes of scores a and b: π = σ(a - b), π' = π (1 - π) (a' - b')."""
    image = np.full((2, 2, 2), 0.125)
    # a = Σ w / 8 = 0 and b = -2a = 0, so π = 1/2; a' - b' = 3w.
    target = ns.Target(0, score=score)
    found = ns.explain(linear(), image, "saliency", target, channels="keep")
    factor = 0.25 if score == "probability" else 0.5  # (log π)' = (1 - π) (a' - b')
    np.testing.assert_allclose(found.values, factor * 3 * WEIGHTS, rtol=1e-5)


def test_the_gradient_is_of_the_networks_own_input() -> None:
    """Not of the pixel: a network that was trained on other numbers keeps its own slopes."""
    model = Scores(nn.Identity(), [WEIGHTS[:1].tolist(), WEIGHTS[1:].tolist()])
    network = as_network(model, channels=1, normalization={"mean": 0.5, "std": 0.25})
    found = ns.explain(network, np.ones((2, 2)), "saliency", 0, channels="keep")
    np.testing.assert_allclose(found.values, WEIGHTS[:1], rtol=1e-6)


def guided() -> ns.Network:
    """s0 = [1, -1] · relu(W relu([x, -x])) at each pixel, with W = [[2, -3], [1, 1]]."""
    model = nn.Sequential(
        pointwise([[1.0], [-1.0]]),
        nn.ReLU(),
        pointwise([[2.0, -3.0], [1.0, 1.0]]),
        nn.ReLU(),
        pointwise([[1.0, -1.0], [0.0, 1.0]]),
    )
    return as_network(model, "segmentation")


# x = 2:  h = [2, 0], z = W h = [4, 2], both above zero.
#   plain:  back to z: [1, -1]; to h: Wᵀ [1, -1] = [1, -4]; to x, where h0 is on: 1 · 1 = 1.
#   guided: [1, -1] loses its -1; to h: Wᵀ [1, 0] = [2, -3], which loses its -3; to x: 2 · 1 = 2.
# x = -1: h = [0, 1], z = [-3, 1], the second above zero.
#   plain:  back to z: [0, -1]; to h: [-1, -1]; to x, where h1 is on: -1 · -1 = 1.
#   guided: nothing is left of [1, -1] where z is on: 0.
IMAGE = np.array([[2.0, -1.0], [-1.0, 2.0]])
EVERYWHERE = [ns.Target(index, "everywhere") for index in range(2)]


def test_the_plain_gradient_by_hand() -> None:
    found = ns.explain(guided(), IMAGE, "saliency", EVERYWHERE[0], channels="signed_max")
    np.testing.assert_allclose(found.values, [[1, 1], [1, 1]], atol=1e-6)


def test_guided_backpropagation_by_hand() -> None:
    found = ns.explain(guided(), IMAGE, "guided_backprop", EVERYWHERE[0])
    np.testing.assert_allclose(found.values, [[2, 0], [0, 2]], atol=1e-6)
    assert found.signed
    assert found.axes == ("y", "x")


def test_guided_backpropagation_of_the_other_class() -> None:
    # s1 = z1 where it is on: to z: [0, 1]; to h: [1, 1].
    # x = 2: h0 is on: 1 · 1 = 1. x = -1: h1 is on: 1 · -1 = -1.
    found = ns.explain(guided(), IMAGE, "guided_backprop", EVERYWHERE[1])
    np.testing.assert_allclose(found.values, [[1, -1], [-1, 1]], atol=1e-6)


def test_guided_and_plain_of_one_trace_do_not_mix() -> None:
    network = guided()
    for _ in range(2):
        plain = ns.explain(network, IMAGE, "saliency", EVERYWHERE[0], channels="keep").values
        through = ns.explain(
            network, IMAGE, "guided_backprop", EVERYWHERE[0], channels="keep"
        ).values
        np.testing.assert_allclose(plain[0], np.ones((2, 2)), atol=1e-6)
        np.testing.assert_allclose(through[0], [[2, 0], [0, 2]], atol=1e-6)


def test_channels_of_guided_backpropagation() -> None:
    model = nn.Sequential(pointwise([[1.0, -3.0]]), nn.ReLU(), pointwise([[1.0], [0.0]]))
    network = as_network(model, "segmentation", image_axes="cyx", order="n")
    image = np.stack([np.ones((2, 2)), np.zeros((2, 2))])
    signed = ns.explain(network, image, "guided_backprop", 0)
    np.testing.assert_allclose(signed.values, np.full((2, 2), -3), atol=1e-6)
    largest = ns.explain(network, image, "guided_backprop", 0, channels="max_abs")
    np.testing.assert_allclose(largest.values, np.full((2, 2), 3), atol=1e-6)
    assert not largest.signed
    each = ns.explain(network, image, "guided_backprop", 0, channels="keep")
    np.testing.assert_allclose(each.values[:, 0, 0], [1, -3], atol=1e-6)


def test_the_region_and_its_mean_by_hand() -> None:
    """Each pixel has its own score here, so the gradient is 2 inside of the region, or 2/n."""
    network = as_network(pointwise([[2.0], [0.0]]), "segmentation")
    image = np.ones((2, 3))
    mask = np.array([[True, False, True], [False, False, True]])
    summed = ns.explain(network, image, "saliency", ns.Target(0, mask))
    np.testing.assert_allclose(summed.values, 2 * mask, atol=1e-6)
    averaged = ns.explain(network, image, "saliency", ns.Target(0, mask, reduce="mean"))
    np.testing.assert_allclose(averaged.values, 2 / 3 * mask, atol=1e-6)
    whole = ns.explain(network, image, "saliency", ns.Target(0, reduce="mean"))
    np.testing.assert_allclose(whole.values, np.full((2, 3), 2 / 6), atol=1e-6)
    assert summed.provenance["targets"][0]["value"] == pytest.approx(6)
    assert averaged.provenance["targets"][0]["value"] == pytest.approx(2)

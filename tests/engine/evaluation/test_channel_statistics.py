"""Statistics of channels, with answers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import napari_neuroscope as ns
from napari_neuroscope.engine.evaluation.channel_statistics import (
    ChannelStatistics,
    channel_statistics,
)
from napari_neuroscope.engine.passes.target import Target
from networks import Scores, as_network, pointwise

ACTIVATION = torch.tensor([
    [[0.0, 2.0], [0.0, 6.0]],
    [[0.0, 0.0], [0.0, 0.0]],
    [[-1.0, -2.0], [-3.0, 0.0]],
    [[5.0, 5.0], [5.0, 5.0]],
])  # fmt: skip


def test_figures_of_channels() -> None:
    found = ChannelStatistics.of(ACTIVATION)
    np.testing.assert_array_equal(found.mean, [2, 0, -1.5, 5])
    np.testing.assert_array_equal(found.max, [6, 0, 0, 5])
    np.testing.assert_array_equal(found.min, [0, 0, -3, 5])
    np.testing.assert_array_equal(found.zeros, [0.5, 1, 0.25, 0])
    # Zero everywhere, never above zero, and the same everywhere: all three tell nothing.
    np.testing.assert_array_equal(found.dead, [False, True, True, True])
    assert found.dead_share == 0.75
    assert len(found) == 4
    assert found.relevance is None


def test_relevance_is_gradient_times_activation() -> None:
    gradient = torch.zeros(4, 2, 2)
    gradient[0] = torch.tensor([[10.0, 1.0], [0.0, -0.5]])
    gradient[3] = 2.0
    found = ChannelStatistics.of(ACTIVATION, gradient)
    np.testing.assert_array_equal(found.relevance, [-1, 0, 0, 40])


def test_histogram() -> None:
    found = ChannelStatistics.of(ACTIVATION, bins=3)
    np.testing.assert_allclose(found.edges, [-3, 0, 3, 6])
    np.testing.assert_array_equal(found.counts, [3, 8, 5])


def test_channels_without_positions() -> None:
    found = ChannelStatistics.of(torch.tensor([1.0, 0.0, -2.0]))
    np.testing.assert_array_equal(found.mean, [1, 0, -2])
    # One value is no pattern, so it being the same everywhere means nothing.
    np.testing.assert_array_equal(found.dead, [False, True, True])


def test_what_is_not_finite_is_left_out_of_the_histogram() -> None:
    found = ChannelStatistics.of(torch.tensor([[1.0, 2.0], [torch.nan, torch.inf]]))
    assert found.counts.sum() == 2
    assert not found.dead.any()


@pytest.mark.parametrize("value", [0.0, 1e-45, -3.0, 1e30])
def test_a_single_value_lies_in_the_middle_of_the_histogram(value: float) -> None:
    found = ChannelStatistics.of(torch.full((2, 3), value), bins=3)
    np.testing.assert_array_equal(found.counts, [0, 6, 0])


def test_nothing_at_all() -> None:
    with pytest.raises(ns.NeuroscopeError, match="empty"):
        ChannelStatistics.of(torch.zeros(3, 0, 4))


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4)),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_properties(values: np.ndarray) -> None:
    found = ChannelStatistics.of(torch.from_numpy(values))
    flat = values.reshape(len(values), -1).astype(np.float64)
    slack = 1e-6 * np.abs(flat).max(1)
    assert (found.min - slack <= found.mean).all()
    assert (found.mean <= found.max + slack).all()
    np.testing.assert_allclose(found.mean, flat.mean(1), rtol=1e-9, atol=1e-9 * slack.max())
    assert found.counts.sum() == values.size
    assert found.edges[0] <= flat.min()
    assert found.edges[-1] >= flat.max()
    # What is zero everywhere is dead, and what rises above zero and varies is not.
    assert found.dead[found.zeros == 1].all()
    assert not found.dead[(found.max > 0) & (found.min < found.max)].any()
    # Relevance to a score that is the sum of all values is a channel's sum.
    relevance = ChannelStatistics.of(torch.from_numpy(values), torch.ones(values.shape)).relevance
    np.testing.assert_allclose(relevance, flat.sum(1), rtol=1e-9, atol=1e-9 * slack.max())
    # The order of channels is the order of the figures.
    turned = ChannelStatistics.of(torch.from_numpy(values[::-1].copy()))
    np.testing.assert_array_equal(turned.max, found.max[::-1])
    np.testing.assert_array_equal(turned.dead, found.dead[::-1])


IMAGE = np.array([[1.0, 2.0], [3.0, 4.0]])


def weighted() -> ns.Network:
    """Channels x, 8 − 2x and −x; class 0 is their mean's sum, weighted by −1, 2 and 1."""
    body = torch.nn.Sequential(pointwise([[1.0], [-2.0], [-1.0]], [0.0, 8.0, 0.0]))
    weights = np.array([[-1.0, 2.0, 1.0], [1.0, 0.0, -2.0]])
    return as_network(Scores(body, np.repeat(weights[..., None] / 4, 4, -1).tolist()))


def test_of_a_network() -> None:
    network = weighted()
    found = channel_statistics(network, IMAGE, "body.0", Target(0))
    np.testing.assert_allclose(found.mean, [2.5, 3, -2.5], rtol=1e-6)
    np.testing.assert_allclose(found.relevance, [-2.5, 6, -2.5], rtol=1e-6)
    np.testing.assert_array_equal(found.dead, [False, False, True])
    assert not found.note
    other = channel_statistics(network, IMAGE, "body.0", Target(1))
    np.testing.assert_allclose(other.relevance, [2.5, 0, 5], rtol=1e-6, atol=1e-6)


def test_without_a_class_it_says_why_there_is_no_relevance() -> None:
    found = channel_statistics(weighted(), IMAGE, "body.0")
    assert found.relevance is None
    assert "Choose a class" in found.note


def test_a_class_that_is_not_there_costs_the_relevance_alone() -> None:
    found = channel_statistics(weighted(), IMAGE, "body.0", Target(7))
    assert found.relevance is None
    assert "7" in found.note
    assert len(found) == 3


def test_a_layer_that_is_not_there() -> None:
    with pytest.raises(ns.NeuroscopeError, match="no layer “nothing”"):
        channel_statistics(weighted(), IMAGE, "nothing")


def test_a_framework_without_gradients() -> None:
    pytest.importorskip("onnx", reason="needs the extra “onnx”")
    pytest.importorskip("onnxruntime", reason="needs the extra “onnx”")
    from onnx_networks import by_hand

    image = np.float32([[0, 1], [2, 3]])
    found = channel_statistics(as_network(by_hand()), image, "conv", Target(0))
    # Its channels are 0 1 2 3 and 1 0 −1 −2.
    np.testing.assert_array_equal(found.mean, [1.5, -0.5])
    assert found.relevance is None
    assert "gradient" in found.note

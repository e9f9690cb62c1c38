"""The sanity check tells maps of the network from maps of the image, and leaves its weights."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from torch import nn

import napari_neuroscope as ns
from maps_to_evaluate import CLASSIFIER
from snapshot import Snapshot


def test_guided_backprop_fails_the_sanity_check_and_grad_cam_passes(cells: tuple) -> None:
    network, image = cells
    model = network.adapter.model
    before = Snapshot(model)
    explanations = [ns.explain(network, image, name) for name in ("guided_backprop", "grad_cam")]
    evaluation = ns.evaluate(network, image, explanations, ["sanity_check"])
    before.assert_unchanged()
    guided, cam = (row.sanity for row in evaluation.rows)
    assert guided is not None
    assert cam is not None
    assert guided.passed is False
    assert cam.passed is True
    assert evaluation.best("sanity_check") == [1]
    assert len(guided.stages) == 8
    assert guided.maps.shape == (9, *explanations[0].values.shape)
    assert guided.similarity == pytest.approx(np.abs(guided.rank_correlation).mean())
    # The first is the map itself, and the figures are what the maps say.
    np.testing.assert_allclose(guided.maps[0], explanations[0].values, rtol=1e-4, atol=1e-7)
    for sanity in (guided, cam):
        first, *others = np.abs(sanity.maps)
        expected = [spearmanr(first, other, axis=None).statistic for other in others]
        np.testing.assert_allclose(sanity.rank_correlation, expected, rtol=1e-12)


def test_the_same_seed_gives_the_same_randomised_maps(cells: tuple) -> None:
    network, image = cells
    saliency = ns.explain(network, image, "saliency")
    first, again, other = (
        ns.evaluate(network, image, saliency, ["sanity_check"], stages=1, seed=seed).rows[0].sanity
        for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first.maps, again.maps)
    assert not np.array_equal(first.maps[1], other.maps[1])


def test_weights_come_back_where_the_sanity_check_is_stopped(cells: tuple) -> None:
    network, image = cells
    explanation = ns.explain(network, image, "grad_cam")
    before = Snapshot(network.adapter.model)

    def stop(done: int, total: int, what: str) -> None:
        if what.startswith("sanity") and done == 2:
            raise ns.Cancelled

    with pytest.raises(ns.Cancelled):
        ns.evaluate(network, image, explanation, ["sanity_check"], progress=stop)
    before.assert_unchanged()
    again = ns.explain(network, image, "grad_cam")
    np.testing.assert_array_equal(again.values, explanation.values)


def test_weights_that_share_memory_come_back_too() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3), nn.Flatten())
    model[2].weight = nn.Parameter(model[1].weight.detach())
    assert model[2].weight.data_ptr() == model[1].weight.data_ptr()
    network = ns.wrap(model, CLASSIFIER, device="cpu")
    image = np.random.default_rng(0).random((7, 7)).astype(np.float32)
    explanation = ns.explain(network, image, "saliency", "patch")
    before = Snapshot(model)
    row = ns.evaluate(network, image, explanation, ["sanity_check"], stages=3).rows[0]
    before.assert_unchanged()
    assert not np.array_equal(row.sanity.maps[0], row.sanity.maps[2])


def test_a_map_that_is_constant_can_not_be_compared() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = ns.wrap(model, CLASSIFIER, device="cpu")
    image = np.random.default_rng(0).random((8, 8)).astype(np.float32)
    explanation = ns.explain(network, image, "saliency", "patch")
    sanity = ns.evaluate(network, image, explanation, ["sanity_check"]).rows[0].sanity
    assert np.isnan(sanity.rank_correlation).all()
    assert np.isnan(sanity.ssim).all()
    assert sanity.passed is None


def test_no_more_is_passed_and_kept_than_is_measured(cells: tuple) -> None:
    network, image = cells
    layer = network.layers.of_kind("convolution")[-2]
    explanation = ns.explain(network, image, "grad_cam", layer=layer)
    count = 0

    def counted(*_: object) -> None:
        nonlocal count
        count += 1

    with network.adapter.model.register_forward_hook(counted):
        held = ns.evaluate(network, image, explanation, ["sanity_check"], stages=2)
        assert count == 2
        network.traces.clear()
        fresh = ns.evaluate(network, image, explanation, ["sanity_check"], stages=2)
        assert count == 5
        trace = network.trace(image, [layer], keep="weighted")
        assert count == 5
    assert trace.layers == (layer,)
    np.testing.assert_allclose(held.rows[0].sanity.maps, fresh.rows[0].sanity.maps, rtol=1e-5)


def test_a_sanity_check_is_followed_to_its_end(weighted) -> None:
    network, image, made = weighted
    told: list[float] = []
    ns.evaluate(
        network, image, made, ["sanity_check"],
        progress=lambda done, total, _: told.append(done / total if total else 0),
    )  # fmt: skip
    assert told == sorted(told)
    assert told[-1] == 1

"""Which explanation can be believed: each measure worked out by hand, and on planted evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import napari_neuroscope as ns
from maps_to_evaluate import CLASSIFIER, PatchDetector, like, patched
from napari_neuroscope.engine.evaluation.metric_registry import metrics


def test_planted_evidence_ranks_above_edges_and_noise() -> None:
    image, where = patched()
    network = ns.wrap(PatchDetector(), CLASSIFIER, device="cpu")
    saliency = ns.explain(network, image, "saliency", "patch")
    edges = like(saliency, np.hypot(*np.gradient(image)) * ~where)
    noise = like(saliency, np.random.default_rng(0).random(image.shape))
    evaluation = ns.evaluate(
        network, image, [noise, saliency, edges],
        ["deletion", "insertion", "pointing_game", "energy_in_mask", "infidelity"],
        ground_truth=where, baseline="mean", samples=400,
    )  # fmt: skip
    for metric in evaluation.metrics:
        assert evaluation.best(metric) == [1], metric


def test_what_can_not_be_measured_is_said(weighted: tuple) -> None:
    network, image, true = weighted
    with pytest.raises(ns.NeuroscopeError, match="did you mean “deletion”"):
        ns.evaluate(network, image, true, ["deletoin"])
    with pytest.raises(ns.NeuroscopeError, match="as a list"):
        ns.evaluate(network, image, true, "deletion")  # type: ignore[arg-type]
    with pytest.raises(ns.NeuroscopeError, match="give ground_truth="):
        ns.evaluate(network, image, true, ["pointing_game"])
    with pytest.raises(ns.NeuroscopeError, match=r"shape \(3, 3\), but the image \(2, 2\)"):
        ns.evaluate(network, image, true, ["pointing_game"], ground_truth=np.ones((3, 3)))
    with pytest.raises(ns.NeuroscopeError, match="nothing of “patch”"):
        ns.evaluate(network, image, true, ["pointing_game"], ground_truth=np.zeros((2, 2)))
    with pytest.raises(ns.NeuroscopeError, match="of another image"):
        ns.evaluate(network, image + 1, true)
    with pytest.raises(ns.NeuroscopeError, match="explains no class"):
        ns.evaluate(network, image, ns.explain(network, image, "input"))
    with pytest.raises(ns.NeuroscopeError, match="axis “channel”"):
        ns.evaluate(network, image, ns.explain(network, image, "saliency", 1, channels="keep"))
    with pytest.raises(ns.NeuroscopeError, match="not made in this session"):
        ns.evaluate(network, image, replace(true, request=None))


def test_all_measures_are_told_of() -> None:
    assert set(metrics) == {
        "deletion", "insertion", "pointing_game", "energy_in_mask", "sanity_check",
        "max_sensitivity", "infidelity",
    }  # fmt: skip

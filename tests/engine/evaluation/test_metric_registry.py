"""Metrics are found: ours in their order, and those of other packages by their entry points."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import numpy as np
import pytest
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine import plugin_catalogue
from napari_neuroscope.engine.evaluation.metric_registry import GROUP, metrics

OURS = ["deletion", "insertion", "pointing_game", "energy_in_mask", "sanity_check",
        "max_sensitivity", "infidelity"]  # fmt: skip


def test_ours_come_first_and_in_their_order(sparseness: str) -> None:
    assert list(ns.metrics) == [*OURS, sparseness]


def test_a_metric_of_another_package_is_asked_as_ours_are(sparseness: str) -> None:
    network = ns.wrap(nn.Conv2d(1, 2, 1), {"task": "segmentation"}, device="cpu")
    image = np.zeros((4, 4), np.float32)
    image[1, 2] = 1
    # Input times gradient is one pixel, saliency the same at all.
    maps = [ns.explain(network, image, name, 1) for name in ("input_x_gradient", "saliency")]
    evaluation = ns.evaluate(network, image, maps, ["deletion", sparseness], steps=2)
    assert [row.values[sparseness] for row in evaluation.rows] == pytest.approx([15 / 16, 0])
    assert evaluation.best(sparseness) == [0]
    assert evaluation.table()[0] == ["method", "class", "layer", "deletion", sparseness]
    metric = ns.metrics[sparseness]
    assert metric.title == "Sparseness"
    assert metric.summary == "how few pixels hold most of the map"


def test_a_name_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(ns.NeuroscopeError, match="did you mean “deletion”"):
        ns.metrics["deletoin"]


@pytest.mark.parametrize("place", ["no_such_package:metric", "json:no_such_metric"])
def test_one_that_is_broken_does_not_stop_the_others(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = EntryPoint("broken", place, GROUP)
    monkeypatch.setattr(plugin_catalogue, "entry_points", lambda group: [broken])
    metrics.refresh()
    with pytest.warns(ns.NeuroscopeWarning, match="The metric “broken” .* can't be used"):
        assert list(metrics) == OURS
    monkeypatch.undo()
    metrics.refresh()

"""Deletion and insertion, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from maps_to_evaluate import SEGMENTER, like
from napari_neuroscope.engine.evaluation.metrics.deletion_and_insertion import order_of, steps_of


def test_curves_by_hand(weighted: tuple) -> None:
    network, image, true = weighted
    evaluation = ns.evaluate(
        network, image, true, ["deletion", "insertion"], steps=4, baseline="zero"
    )
    (row,) = evaluation.rows
    assert row.curves["deletion"].score.tolist() == [10, 6, 3, 1, 0]
    assert row.curves["insertion"].score.tolist() == [0, 4, 7, 9, 10]
    assert row.curves["deletion"].share.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert row.values["deletion"] == pytest.approx((0.5 * 10 + 6 + 3 + 1) / 4 / 10)
    assert row.values["insertion"] == pytest.approx((4 + 7 + 9 + 5) / 4 / 10)


def test_the_reverse_map_has_the_reverse_curves(weighted: tuple) -> None:
    network, image, true = weighted
    wrong = like(true, -true.values)
    evaluation = ns.evaluate(network, image, [true, wrong], steps=4, baseline="zero")
    assert evaluation.rows[1].curves["deletion"].score.tolist() == [10, 9, 7, 4, 0]
    assert evaluation.best("deletion") == [0]
    assert evaluation.best("insertion") == [0]


def test_order_is_stable_and_unknown_positions_come_last() -> None:
    values = torch.tensor([[1.0, math.nan], [3.0, 1.0]])
    assert order_of(values).tolist() == [2, 0, 3, 1]
    assert steps_of(10, 4).tolist() == [0, 2, 5, 8, 10]


def test_a_score_that_never_changes_has_no_area(weighted: tuple) -> None:
    network, image, true = weighted
    evaluation = ns.evaluate(network, image, true, steps=2, baseline=image)
    assert math.isnan(evaluation.rows[0].values["deletion"])
    assert evaluation.best("deletion") == []
    assert evaluation.table()[1][3] is None


def test_the_score_of_a_segmentation_is_that_of_its_region() -> None:
    model = nn.Conv2d(1, 2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1))
    network = ns.wrap(model, SEGMENTER, device="cpu")
    image = np.arange(1, 5, dtype=np.float32).reshape(2, 2) / 4
    region = np.array([[0, 1], [0, 1]])
    explanation = ns.explain(network, image, "saliency", ns.Target("some", region=region))
    evaluation = ns.evaluate(network, image, explanation, ["deletion"], steps=4, baseline="zero")
    # Equal values go in their order: the two of the region first.
    assert evaluation.rows[0].curves["deletion"].score.tolist() == [1.5, 1.0, 0, 0, 0]

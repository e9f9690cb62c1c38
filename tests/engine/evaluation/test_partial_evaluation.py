"""Judging measure by measure: figures as evaluate() gives them, and reasons where there are none."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.evaluation.partial_evaluation import (
    PartialEvaluation,
    results_or_reason,
    unmeasured,
)


def test_figures_join_into_one_evaluation(weighted, tmp_path) -> None:
    network, image, made = weighted
    options = {"steps": 4, "baseline": "zero"}
    metrics = ("deletion", "pointing_game", "insertion")
    partial = PartialEvaluation(metrics)
    numbers = partial.add(unmeasured(network, image, made))
    assert np.isnan(list(partial.evaluation().rows[0].values.values())).all()
    for metric in metrics:
        partial.take(
            numbers, metric, results_or_reason(network, image, made, metric, options=options)
        )
    expected = ns.evaluate(network, image, made, ["deletion", "insertion"], **options)
    (row,) = partial.evaluation().rows
    assert np.isnan(row.values["pointing_game"])
    assert {**row.values, "pointing_game": 0} == {**expected.rows[0].values, "pointing_game": 0}
    assert partial.reasons.keys() == {(0, "pointing_game")}
    assert "choose the ground truth" in partial.reasons[0, "pointing_game"]
    partial.curves_to_csv(tmp_path / "curves.csv")
    with (tmp_path / "curves.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["score"]) for row in rows] == [10, 6, 3, 1, 0, 0, 4, 7, 9, 10]
    assert [row["curve"] for row in rows] == ["deletion"] * 5 + ["insertion"] * 5
    assert float(rows[1]["relative score"]) == 0.6
    with pytest.raises(ns.NeuroscopeError, match="there already"):
        partial.curves_to_csv(tmp_path / "curves.csv")


def test_a_figure_that_is_none_has_its_reason(weighted) -> None:
    network, image, made = weighted
    partial = PartialEvaluation(("deletion", "energy_in_mask"))
    numbers = partial.add(unmeasured(network, image, made))
    same = results_or_reason(network, image, made, "deletion", options={"baseline": image})
    partial.take(numbers, "deletion", same)
    assert "have the same score" in partial.reasons[0, "deletion"]
    nothing = np.zeros((2, 2), bool)
    found = results_or_reason(network, image, made, "energy_in_mask", ground_truth=nothing)
    assert found == (
        "N/a: The ground truth has nothing of “patch” on this image, so there is nothing to find."
    )

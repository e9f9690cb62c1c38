"""Judging measure by measure: figures as evaluate() gives them, and reasons where there are none."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import napari_neuroscope as ns
from napari_neuroscope.engine.errors import within
from napari_neuroscope.engine.evaluation.comparability import why_not_comparable
from napari_neuroscope.engine.evaluation.metric_registry import metrics as installed
from napari_neuroscope.engine.evaluation.partial_evaluation import (
    PartialEvaluation,
    results_or_reason,
    unmeasured,
)

SPEC = {
    "task": "classification",
    "classes": ["none", "patch"],
    "input": {"normalization": {"mean": [0.0], "std": [1.0]}, "value_range": [0, 1]},
}


class Weighted(nn.Module):
    """A score that is a weighted sum of the pixels of a 2 × 2 image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([[[[0.0, 0], [0, 0]]], [[[4.0, 3], [2, 1]]]]))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).flatten(1)


@pytest.fixture
def asked() -> tuple[ns.Network, np.ndarray, ns.Explanation]:
    network = ns.wrap(Weighted(), SPEC, device="cpu")
    image = np.ones((2, 2), np.float32)
    return network, image, ns.explain(network, image, "saliency", "patch")


def test_figures_join_into_one_evaluation(asked, tmp_path) -> None:
    network, image, made = asked
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


def test_a_figure_that_is_none_has_its_reason(asked) -> None:
    network, image, made = asked
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


def test_what_is_of_another_question_is_told(asked) -> None:
    network, image, made = asked
    again = ns.explain(network, image, "input_x_gradient", "patch")
    assert why_not_comparable([made, again]) is None
    other = ns.explain(network, image, "input_x_gradient", "none")
    assert "another class, region or score than “Saliency”" in why_not_comparable([made, other])
    elsewhere = ns.explain(network, image / 2, "saliency", "patch")
    assert "is of another image" in why_not_comparable([made, elsewhere])
    changed = Weighted()
    with torch.no_grad():
        changed.conv.weight.mul_(2)
    different = ns.explain(ns.wrap(changed, SPEC, device="cpu"), image, "saliency", "patch")
    assert "is of another network" in why_not_comparable([made, different])


def test_the_work_is_told_in_passes_and_followed_in_parts() -> None:
    assert installed["deletion"].count_passes({}, 3) == 51
    assert installed["sanity_check"].count_passes({"stages": 4}, 3) == 15
    assert installed["pointing_game"].count_passes({}, 3) == 0
    told: list[tuple[int, int, str]] = []
    follow = within(lambda *step: told.append(step), 1, 4, "whole")
    follow(0, 5, "part")
    follow(5, 5, "part")
    assert told == [(5, 20, "whole"), (10, 20, "whole")]


def test_a_sanity_check_is_followed_to_its_end(asked) -> None:
    network, image, made = asked
    told: list[float] = []
    ns.evaluate(
        network, image, made, ["sanity_check"],
        progress=lambda done, total, _: told.append(done / total if total else 0),
    )  # fmt: skip
    assert told == sorted(told)
    assert told[-1] == 1

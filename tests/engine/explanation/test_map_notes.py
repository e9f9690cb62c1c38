"""Networks whose answer hangs on nothing: maps are zero, are said to be, and nothing is divided."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import napari_neuroscope as ns
from napari_neuroscope.engine.evaluation.metric_registry import metrics
from networks import as_network

IMAGE = np.random.default_rng(0).random((16, 16, 3), dtype=np.float32)
SMALL = {
    "masks": 8, "cells": 3, "window": 8, "stride": 8, "steps": 4, "samples": 2,
    "min_new_area": 0,
}  # fmt: skip


class Constant(nn.Module):
    """Convolutions of which nothing, times zero, comes through: the same scores for each image."""

    def __init__(self, task: str, offset: float = 0.0) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, offset)
        self.pooled = task == "classification"

    def forward(self, x: Tensor) -> Tensor:
        answer = self.head(self.conv(x).relu())
        return answer.mean((2, 3)) if self.pooled else answer


def constant(task: str, offset: float = 0.0) -> ns.Network:
    torch.manual_seed(0)
    network = as_network(Constant(task, offset).eval(), task)
    assert list(network.layers) == ["conv", "relu", "head", *["mean"][: task == "classification"]]
    return network


def explained(network: ns.Network, name: str, **options: object) -> ns.Explanation:
    method = ns.methods[name]
    small = {key: value for key, value in SMALL.items() if key in method.options}
    target = 1 if ns.Needs.TARGET in method.needs else None
    layer = "relu" if ns.Needs.LAYER in method.needs else None
    return ns.explain(network, IMAGE, name, target, layer, **small, **options)


@pytest.mark.parametrize("offset", [0.0, 2.0])
@pytest.mark.parametrize("task", ["classification", "segmentation"])
@pytest.mark.parametrize("name", list(ns.methods))
def test_each_method_is_finite_and_says_that_its_map_is_zero(
    name: str, task: str, offset: float
) -> None:
    network = constant(task, offset)
    if why := network.why_not(ns.methods[name]):
        pytest.skip(why)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        found = explained(network, name)
    assert np.isfinite(found.values).all()
    said = [note for note in found.provenance["notes"] if "zero everywhere" in note]
    placed = not found.is_table
    assert len(said) == int(placed and not found.values.any())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("grad_cam", "since its gradient vanishes"),
        ("ablation_cam", "relu=False shows"),
        ("layer_cam", "since its gradient vanishes"),
        ("saliency", "small changes of the image don't change the score"),
        ("integrated_gradients", "small changes"),
        ("occlusion", "hiding parts of the image doesn't change the score"),
    ],
)
def test_the_likely_reason_is_said(name: str, words: str) -> None:
    found = explained(constant("classification"), name)
    assert not found.values.any()
    (said,) = [note for note in found.provenance["notes"] if "zero everywhere" in note]
    assert words in said


def test_the_maps_that_are_zero_are_named() -> None:
    model = Constant("classification")
    with torch.no_grad():
        model.head.weight[1] = 1.0
    network = as_network(model, classes=["a", "b", "c"])
    found = ns.explain(network, IMAGE, "grad_cam", ["a", "b"], ["conv", "relu"], relu=False)
    (said,) = [note for note in found.provenance["notes"] if "zero everywhere" in note]
    assert said.startswith("the map of “a”, “conv”; “a”, “relu” is zero everywhere: small changes")
    found = ns.explain(network, IMAGE, "grad_cam", "b", "relu")
    assert not [note for note in found.provenance["notes"] if "zero everywhere" in note]


@pytest.mark.parametrize("task", ["classification", "segmentation"])
@pytest.mark.parametrize("metric", list(metrics))
@pytest.mark.parametrize("name", ["grad_cam", "saliency", "occlusion"])
def test_each_measure_of_a_zero_map_divides_by_nothing(name: str, metric: str, task: str) -> None:
    network = constant(task)
    map_ = explained(network, name)
    truth = np.zeros((16, 16), int)
    truth[4:8, 4:8] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        figures = ns.evaluate(network, IMAGE, map_, [metric], ground_truth=truth, steps=4,
                              samples=4, stages=2).rows[0].values  # fmt: skip
    assert np.isnan(figures[metric]), "there is nothing to measure"


def test_the_consensus_of_zero_maps() -> None:
    network = constant("segmentation")
    maps = [explained(network, name) for name in ("saliency", "occlusion")]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        found = ns.consensus(maps)
    assert np.isfinite(found.mean.values).all()
    assert found.mean.values.max() == found.mean.values.min()
    assert not found.disagreement.values.any()

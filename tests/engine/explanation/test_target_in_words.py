"""What an answer says of its score in words: how probable the class is over the region."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import napari_neuroscope as ns
from napari_neuroscope.engine.explanation.record import TargetRecord
from networks import as_network, settled
from segmenters import Decoder

IMAGE = np.random.default_rng(3).random((96, 96)).astype(np.float32)


@pytest.mark.parametrize(
    ("region", "words"),
    [
        ("everywhere", "cell: 94 % on average over all 1,719 pixels"),
        ("predicted", "cell: 94 % on average over 1,719 pixels where it is predicted"),
        ("ground_truth", "cell: 94 % on average over 1,719 pixels where it truly is"),
        ("mask b9edfbe9ef41, 1719 pixels", "cell: 94 % on average over 1,719 pixels"),
        (
            "label 16 of “Nuclei”, mask b9edfbe9ef41, 1719 pixels",
            "cell: 94 % on average over 1,719 pixels (label 16 of “Nuclei”)",
        ),
    ],
)
def test_a_region_is_told_by_its_mean_and_never_by_a_hash(region: str, words: str) -> None:
    target = TargetRecord("cell", 1, region, "logit", "sum", -224400.0, 0.9401, 1719)
    assert target.in_words() == words
    assert target.sum_in_words() == "cell, logit, summed over the region: -224,400"
    assert target.mean_score == pytest.approx(-224400 / 1719)


def test_a_classifier_and_a_pixel_have_one_probability() -> None:
    assert TargetRecord(
        "Egyptian cat", 3, "everywhere", "logit", "sum", 9.1, 0.7881
    ).in_words() == ("Egyptian cat: 78.8 %")
    pixel = TargetRecord("cell", 1, "point (3, 4)", "logit", "sum", 5.0, 0.9, 1)
    assert pixel.in_words() == "cell: 90 % (point (3, 4))"


def test_records_of_before_are_told_by_what_they_hold() -> None:
    before: dict[str, Any] = {"class": "cell", "index": 1, "region": "predicted", "score": "logit",
                              "reduce": "sum", "value": 12.5}  # fmt: skip
    target = TargetRecord.from_json(before)
    assert target.in_words() == "logit of cell (predicted): 12.5"
    assert target.to_json() == before


def test_it_is_the_mean_of_the_softmax_over_the_region_also_by_tiles() -> None:
    model = settled(Decoder())
    network = as_network(model, "segmentation", value_range=(0, 1))
    with torch.no_grad():
        scores = model(torch.from_numpy(IMAGE)[None, None])[0]
    for index in range(3):
        inside = scores.argmax(0) == index
        inside = inside if inside.any() else torch.ones_like(inside)
        expected = (float(scores.softmax(0)[index][inside].mean()), int(inside.sum()))
        whole = ns.explain(network, IMAGE, "saliency", index)
        tiled = ns.explain_tiled(network, IMAGE, "saliency", index, tile=40)
        for explanation in (whole, tiled):
            (target,) = explanation.record.targets
            assert (target.probability, target.positions) == pytest.approx(expected, rel=1e-4)
            assert target.mean_score == pytest.approx(float(scores[index][inside].mean()), rel=1e-4)

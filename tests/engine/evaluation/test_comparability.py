"""Only maps of one question are compared."""

from __future__ import annotations

import torch

import napari_neuroscope as ns
from maps_to_evaluate import CLASSIFIER, Weighted
from napari_neuroscope.engine.evaluation.comparability import why_not_comparable


def test_what_is_of_another_question_is_told(weighted) -> None:
    network, image, made = weighted
    again = ns.explain(network, image, "input_x_gradient", "patch")
    assert why_not_comparable([made, again]) is None
    other = ns.explain(network, image, "input_x_gradient", "none")
    assert "another class, region or score than “Saliency”" in why_not_comparable([made, other])
    elsewhere = ns.explain(network, image / 2, "saliency", "patch")
    assert "is of another image" in why_not_comparable([made, elsewhere])
    changed = Weighted()
    with torch.no_grad():
        changed.conv.weight.mul_(2)
    different = ns.explain(ns.wrap(changed, CLASSIFIER, device="cpu"), image, "saliency", "patch")
    assert "is of another network" in why_not_comparable([made, different])

"""The layer that is explained by default: of segmentations the last before the scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import napari_neuroscope as ns
from keras_networks import as_network as keras_network
from keras_networks import unet
from networks import as_network, settled
from onnx_networks import exported
from segmenters import BEFORE_HEAD, Decoder

IMAGE = np.zeros((32, 32), np.float32)
IMAGE[10:20, 8:24] = 1


def _network(make: Any) -> ns.Network:
    return as_network(settled(make()), task="segmentation", size=(32, 32))


@pytest.mark.parametrize("kind", BEFORE_HEAD)
def test_it_lies_before_the_scores_of_any_architecture(kind: str) -> None:
    make, before, scores = BEFORE_HEAD[kind]
    network = _network(make)
    explained = ns.explain(network, IMAGE, "hires_cam", 1)
    assert explained.record.layers == (before,)
    assert not any("score itself" in note for note in explained.record.notes)
    for name in scores:
        (note,) = [n for n in ns.explain(network, IMAGE, "hires_cam", 1, name).record.notes
                   if "score itself" in n]  # fmt: skip
        assert name in note
        assert before in note


def test_a_map_of_what_is_the_score_is_the_score() -> None:
    """What the note says: Grad-CAM there is the positive part of the class's own score map."""
    model = settled(Decoder())
    network = as_network(model, task="segmentation", size=(32, 32))
    explained = ns.explain(network, IMAGE, "grad_cam", ns.Target(1, "everywhere"), "head")
    with torch.no_grad():
        score = model(torch.from_numpy(IMAGE)[None, None])[0, 1].relu().numpy()
    scale = np.abs(explained.values).max() / max(score.max(), 1e-12)
    np.testing.assert_allclose(explained.values, score * scale, rtol=1e-4, atol=1e-6)


def test_it_lies_before_the_scores_in_other_frameworks() -> None:
    keras = keras_network(unet(end="softmax"), task="segmentation")
    keras.discover(np.zeros((32, 32), np.float32))
    assert keras.layers.last_with_positions() == "dec1_relu2"
    assert keras.layers.why_score("head") is not None
    for kind in ("1 × 1 head", "dict of scores made larger", "sum of two depths"):
        make, before, _ = BEFORE_HEAD[kind]
        model = exported(settled(make()), (1, 1, 32, 32))
        onnx = ns.wrap(model, {"task": "segmentation", "output": {"index": 0}})
        onnx.discover(IMAGE)
        default = onnx.layers.last_with_positions() or ""
        assert before.replace(".", "/", 1).split("/")[0] in default
        assert onnx.layers[default].operation == "Relu"
        assert onnx.layers.why_score(default) is None
        assert onnx.layers.why_score("scores") is not None


def test_the_last_layer_of_a_classifier_is_no_score() -> None:
    network = as_network(settled(torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        torch.nn.Linear(4, 2),
    )), size=(32, 32))  # fmt: skip
    assert network.layers.last_with_positions() == "0"
    assert network.layers.why_score("0") is None

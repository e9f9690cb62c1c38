"""How maps look: their colours and contrast, and the input as a picture."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from napari.layers import Layer
from napari.utils import Colormap
from torch import nn

import napari_neuroscope as ns
from halving_network import halving
from napari_neuroscope.engine.explanation.colormaps import limits
from napari_neuroscope.engine.explanation.record_format import KEY


def test_maps_from_zero_and_about_zero_look_different(rng: np.random.Generator) -> None:
    image = rng.random((16, 16)).astype(np.float32)
    network = halving()
    for options, low in (({"relu": True}, 0), ({"relu": False}, None)):
        explanation = ns.explain(network, image, "grad_cam", "cell", "down", **options)
        ((data, attributes, _),) = explanation.to_layer_data()
        most = np.abs(explanation.values).max()
        expected = (low if low == 0 else -most, most)
        assert attributes["contrast_limits"] == pytest.approx(expected)
        middle = Colormap(**attributes["colormap"]).map(np.array([0.0 if low == 0 else 0.5]))
        assert middle[0, 3] == 0, "where a map says nothing, the image is seen"
        assert data is explanation.values or np.shares_memory(data, explanation.values)


def test_a_map_of_zeros_has_limits_that_napari_takes() -> None:
    image = np.zeros((16, 16), np.float32)
    network = halving()
    explanation = ns.explain(network, image, "saliency", "cell")
    explanation.values[:] = 0
    ((data, attributes, kind),) = explanation.to_layer_data()
    assert Layer.create(data, attributes, kind).contrast_limits == [0, 1]


def test_the_record_is_plain_json_and_says_how_it_was_made(rng: np.random.Generator) -> None:
    image = rng.random((16, 16)).astype(np.float32)
    explanation = ns.explain(halving(), image, "fusion_score_map")
    fused, labels = explanation.to_layer_data()
    assert (fused[2], labels[2]) == ("image", "labels")
    for _, attributes, _ in (fused, labels):
        record = json.loads(json.dumps(attributes["metadata"][KEY]))
        assert record["method"] == "fusion_score_map"
        assert len(record["network"]["digest"]) == 64


@pytest.mark.parametrize("shape", [(16, 16, 3), (16, 16)])
def test_the_input_is_shown_as_an_image(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    channels = 3 if len(shape) == 3 else 1
    model = nn.Conv2d(channels, 2, 1)
    network = ns.wrap(model, {"task": "segmentation"}, device="cpu")
    image = rng.integers(0, 256, shape, dtype=np.uint8)
    ((data, attributes, kind),) = ns.explain(network, image, "input").to_layer_data()
    made = Layer.create(data, attributes, kind)
    assert made.rgb is (channels == 3)
    np.testing.assert_allclose(np.asarray(made.data).squeeze(), image / 255, atol=1e-6)


def test_the_contrast_of_a_stack_is_that_of_all_its_planes() -> None:
    network = ns.wrap(torch.nn.Conv2d(1, 3, 1), {"task": "segmentation"}, device="cpu")
    film = np.random.default_rng(0).random((5, 8, 9)) * np.array([1, 9, 1, 1, 1])[:, None, None]
    spec = network.spec.model_copy(
        update={"input": network.spec.input.model_copy(update={"value_range": (0, 1)})}
    )
    found = ns.explain_stack(network.with_spec(spec), film, "score_map", 1)
    (_, attributes, _), *_ = found.to_layer_data()
    assert attributes["contrast_limits"][1] == limits(found.values, signed=True)[1]
    large = np.zeros((3, 1500, 1500), np.float32)
    large[1, ::4, ::4] = 7
    assert limits(large, signed=True) == (-7, 7)

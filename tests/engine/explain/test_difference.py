"""The difference of two explanations: by hand, on two grids, by names, and refused."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.explain.difference import difference

SPEC = {"task": "segmentation", "classes": ["sky", "car"], "input": {"channels": 1}}
IMAGE = np.random.default_rng(3).random((8, 12)).astype(np.float32)


class Two(nn.Module):
    """Halves the image, then scores it at full size."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.fine = nn.Conv2d(1, 3, 3, padding=1)
        self.coarse = nn.Conv2d(3, 2, 3, stride=2, padding=1)
        self.up = nn.Upsample(scale_factor=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(self.coarse(self.fine(x)))


class Linear(nn.Module):
    """Scores are the image times a weight, of each class."""

    def __init__(self, *weights: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, len(weights), 1, bias=False)
        self.conv.weight.data = torch.tensor(weights).reshape(-1, 1, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


def doubling(cells: int) -> np.ndarray:
    """Return the matrix that brings cells to twice as many."""
    weights = np.zeros((2 * cells, cells))
    for cell in range(2 * cells):
        near, step = cell // 2, 1 if cell % 2 else -1
        weights[cell, near] += 0.75
        weights[cell, min(max(near + step, 0), cells - 1)] += 0.25
    return weights


def wrapped(model: nn.Module, spec: dict = SPEC, name: str = "net") -> ns.Network:
    return ns.wrap(model, spec, name=name, device="cpu")


@pytest.mark.parametrize("method", ["grad_cam", "saliency", "score_map", "activation"])
@pytest.mark.parametrize("scale", ["raw", "largest"])
def test_equal_weights_differ_by_exactly_nothing(method: str, scale: str) -> None:
    model = Two()
    layer = "fine" if method in ("grad_cam", "activation") else None
    maps = [
        ns.explain(wrapped(net), IMAGE, method, "car", layer)
        for net in (model, copy.deepcopy(model))
    ]
    found = difference(*maps, scale=scale)
    assert found.values.shape == maps[0].values.shape
    assert not found.values.any()
    assert found.signed


def test_a_known_change_of_the_weights_is_the_difference() -> None:
    # A score map of class c is weight[c] · image: the second has 2 · image more of a car.
    first = ns.explain(wrapped(Linear(1.0, 3.0)), IMAGE, "score_map", "car")
    second = ns.explain(wrapped(Linear(1.0, 5.0)), IMAGE, "score_map", "car")
    found = difference(first, second)
    np.testing.assert_array_equal(found.values, second.values - first.values)
    np.testing.assert_allclose(found.values, 2 / 3 * first.values, rtol=1e-5)
    np.testing.assert_array_equal(difference(second, first).values, -found.values)
    # As shares of the largest both are the image's: nothing is left.
    np.testing.assert_allclose(difference(first, second, scale="largest").values, 0, atol=2e-7)


def test_each_map_of_a_stack_has_its_own_largest() -> None:
    first = ns.explain(wrapped(Linear(1.0, -4.0)), IMAGE, "score_map", ["sky", "car"])
    second = ns.explain(wrapped(Linear(-2.0, 4.0)), IMAGE, "score_map", ["sky", "car"])
    found = difference(first, second, scale="largest")
    share = first.values[0] / np.abs(first.values[0]).max()
    np.testing.assert_allclose(found.values, [-2 * share, 2 * share], rtol=1e-5)
    zero = ns.explain(wrapped(Linear(0.0, 0.0)), IMAGE, "score_map", ["sky", "car"])
    assert not difference(zero, zero, scale="largest").values.any()


def test_the_coarser_is_brought_to_the_finer_grid_by_half_pixel_centres() -> None:
    network = wrapped(Two())
    fine = ns.explain(network, IMAGE, "grad_cam", "car", "fine", relu=False)
    coarse = ns.explain(network, IMAGE, "grad_cam", "car", "coarse", relu=False)
    assert fine.values.shape == (8, 12)
    assert coarse.values.shape == (4, 6)
    found = difference(coarse, fine)
    assert found.grid == fine.grid
    # Rows between: 3/4 of the nearer cell and 1/4 of the next, borders continued.
    by_hand = doubling(4) @ coarse.values.astype(float) @ doubling(6).T
    np.testing.assert_allclose(found.values, fine.values - by_hand, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(difference(fine, coarse).values, -found.values, atol=1e-6)
    assert found.provenance["layers"] == ["fine − coarse"]


def test_networks_of_other_sizes_meet_on_the_image() -> None:
    # One sees the image at twice its size, the other pads it: the grids cover different parts.
    large = {**SPEC, "input": {"channels": 1, "size": [16, 24], "resize": "stretch"}}
    padded = {**SPEC, "input": {"channels": 1, "size": {"min": 16, "step": 16}, "resize": "pad"}}
    first = ns.explain(wrapped(Linear(1.0, 1.0), padded), IMAGE, "score_map", "car")
    second = ns.explain(wrapped(Linear(1.0, 1.0), large), IMAGE, "score_map", "car")
    found = difference(first, second)
    assert found.grid == second.grid
    assert found.grid.scale == (0.5, 0.5)
    # Both are the image, resampled linearly; within the image they agree but at its borders.
    assert np.isfinite(found.values).all()
    np.testing.assert_allclose(found.values[2:-2, 2:-2], 0, atol=1e-5)
    assert found.on_image().shape == IMAGE.shape


def test_classes_and_layers_go_together_by_name() -> None:
    model = Two()
    turned = copy.deepcopy(model)
    with torch.no_grad():
        turned.coarse.weight.copy_(turned.coarse.weight.flip(0))
        turned.coarse.bias.copy_(turned.coarse.bias.flip(0))
    spec = {**SPEC, "classes": ["car", "sky"]}
    layers = ["fine", "coarse"]
    first = ns.explain(wrapped(model), IMAGE, "grad_cam", ["sky", "car"], layers)
    second = ns.explain(wrapped(turned, spec), IMAGE, "grad_cam", ["car", "sky"], layers)
    assert first.labels["class"] != second.labels["class"]
    found = difference(first, second)
    assert found.labels["class"] == ("sky", "car")
    assert found.axes == ("class", "layer", "y", "x")
    np.testing.assert_allclose(found.values, 0, atol=1e-6)


def test_the_record_holds_both_and_is_plain() -> None:
    first = ns.explain(wrapped(Two(0), name="one"), IMAGE, "grad_cam", "car", "fine")
    second = ns.explain(wrapped(Two(1), name="two"), IMAGE, "grad_cam", "car", "fine", relu=False)
    found = difference(first, second, scale="largest")
    made = json.loads(json.dumps(found.provenance))
    assert made["first"] == json.loads(json.dumps(first.provenance))
    assert made["second"]["network"]["name"] == "two"
    assert made["options"] == {"scale": "largest"}
    assert made["notes"] == ["the options of the two differ"]
    data, attributes, kind = found.to_layer_data()[0]
    assert kind == "image"
    assert data.shape == (8, 12)
    assert attributes["name"] == "car · Difference: Grad-CAM · fine"
    low, high = attributes["contrast_limits"]
    assert low == -high


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"image": IMAGE + 1}, "different images"),
        ({"method": "grad_cam_plus_plus"}, "by one method"),
        ({"target": "sky"}, "of the class “car”, the second of “sky”"),
        ({"target": ["car", "sky"]}, "as many classes"),
        ({"layer": ["fine", "coarse"]}, "as many classes and layers"),
    ],
)
def test_what_is_no_pair_is_refused(change: dict, says: str) -> None:
    network = wrapped(Two())
    asked = {"image": IMAGE, "method": "grad_cam", "target": "car", "layer": "fine"}
    first = ns.explain(network, *asked.values())
    with pytest.raises(ns.NeuroscopeError, match=says):
        difference(first, ns.explain(network, *{**asked, **change}.values()))


def test_what_only_one_has_is_named() -> None:
    network = wrapped(Two())
    first = ns.explain(network, IMAGE, "grad_cam", "car", ["fine", "coarse"])
    second = ns.explain(network, IMAGE, "grad_cam", "car", ["fine", "up"])
    with pytest.raises(ns.NeuroscopeError, match="The layer “coarse” is in one of the two"):
        difference(first, second)
    with pytest.raises(ns.NeuroscopeError, match="no scale “half”"):
        difference(first, first, scale="half")


def test_different_numbers_of_channels_are_refused() -> None:
    network = wrapped(Two())
    first = ns.explain(network, IMAGE, "activation", layer="fine")
    second = ns.explain(network, IMAGE, "activation", layer="coarse")
    with pytest.raises(ns.NeuroscopeError, match="The channel “2” is in one of the two"):
        difference(first, second)

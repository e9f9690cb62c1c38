"""XRAI: by hand, beside the greedy choice among integrated gradients, and by what must hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from closeness import assert_close
from napari_neuroscope.engine.images.segments import Segmentation, paint
from napari_neuroscope.engine.methods.regions.painting import segments_of
from networks import Pixelwise, Scores, UNet, Vgg, as_network, settled
from snapshot import Snapshot

SMALL: dict[str, Any] = {"scales": (5, 20), "min_size": 4, "dilation": 0, "min_new_area": 4}
SPLIT = Segmentation(scales=(5, 20), min_size=4, dilation=0)


def halves() -> np.ndarray:
    """An image (y, x) of two gray levels, dark on the left."""
    image = np.full((16, 16), 0.25, np.float32)
    image[:, 8:] = 0.75
    return image


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    coarse = rng.random((4, 4, 3)).repeat(4, 0).repeat(4, 1)
    return (coarse + 0.05 * rng.random((16, 16, 3))).astype(np.float32)


def test_of_a_linear_network_by_hand() -> None:
    """T = Σ w x of x = (image − 0.5) / 0.25: shares of w (image − 0) / 0.25 and (image − 1) / 0.25.

    The mean of the two is w (image − 0.5) / 0.25: −w on the left and w on the right.
    """
    weights = np.zeros((2, 1, 16, 16), np.float32)
    weights[0, 0, :, :8], weights[0, 0, :, 8:12], weights[0, 0, :, 12:] = 3, 1, 2
    weights[1] = -weights[0]
    network = as_network(
        Scores(nn.Identity(), weights.tolist()), size=(16, 16), channels=1,
        normalization={"mean": 0.5, "std": 0.25},
    )  # fmt: skip
    found = ns.explain(network, halves(), "xrai", [0, 1], steps=2, sigma=0, **SMALL)
    expected = np.where(np.arange(16) < 8, -3.0, 1.5) * np.ones((16, 1))
    np.testing.assert_allclose(found.values, [expected, -expected], rtol=1e-4)
    right = np.where(np.arange(16) < 8, 2, 1) * np.ones((16, 1), int)
    np.testing.assert_array_equal(found.companions["order"], [right, 3 - right])
    assert found.signed
    assert found.unit == "contribution"


@pytest.mark.parametrize("kind", ["classifier", "segmenter"])
def test_it_paints_the_integrated_gradients_of_two_baselines(kind: str, image: np.ndarray) -> None:
    if kind == "classifier":
        model, targets = settled(Vgg()), [1, 3]
        network = as_network(model, size=(16, 16))
    else:
        model, mask = settled(UNet()), np.indices((16, 16)).sum(0) < 13
        network = as_network(model, "segmentation")
        targets = [ns.Target(0, mask), ns.Target(2, mask, reduce="mean")]
    segments = segments_of(network.trace(image), SPLIT)
    before = Snapshot(model)
    found = ns.explain(network, image, "xrai", targets, steps=6, **SMALL)
    before.assert_unchanged()
    for values, order, target in zip(found.values, found.companions["order"], targets, strict=True):
        black, white = (
            ns.explain(network, image, "integrated_gradients", target, steps=6, baseline=b).values
            for b in ("black", "white")
        )
        expected = paint(torch.from_numpy((black + white) / 2), segments, 4)
        assert len(np.unique(order)) > 3
        assert_close(values, expected.values, 1e-4)
        np.testing.assert_array_equal(order, expected.order)
    for batch in (1, 4):
        again = ns.explain(network, image, "xrai", targets, steps=6, batch=batch, **SMALL)
        assert_close(again.values, found.values, 1e-5)


def test_the_map_so_far_is_over_regions(image: np.ndarray) -> None:
    network = as_network(settled(Vgg()), size=(16, 16))
    trace, chosen = network.trace(image), ns.methods["xrai"]
    options = chosen.check_options({"steps": 6, "batch": 3, **SMALL})
    steps = list(chosen.function(trace, [trace.resolve(2)], None, **options))
    assert [(step.done, step.total) for step in steps] == [(3, 12), (6, 12), (9, 12), (12, 12)]
    first, *_, last = (step.maps()[0] for step in steps)
    assert set(first.companions) == {"order"}
    whole = ns.explain(network, image, "xrai", 2, steps=6, **SMALL).values
    assert_close(last.values, whole, 1e-6)
    assert np.abs(first.values.numpy() - whole).max() > 0.01 * np.abs(whole).max()


def test_a_detector_of_a_patch_finds_it() -> None:
    """Class 0 answers to the brightness within a patch above a threshold, and to nothing else."""

    class Detector(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            means = nn.functional.avg_pool2d(x, 4)[:, 0]
            return torch.stack([torch.relu(means[:, 1, 2] - 0.2), means[:, 0, 0]], 1)

    image = np.full((16, 16), 0.2, np.float32)
    image[:, :6] = 0.4
    image[4:8, 8:12] = 0.9
    network = as_network(Detector(), size=(16, 16))
    found = ns.explain(network, image, "xrai", 0, sigma=0, **SMALL)
    patch = np.zeros((16, 16), bool)
    patch[4:8, 8:12] = True
    np.testing.assert_array_equal(found.companions["order"] == 1, patch)
    assert found.values[patch].min() > 0
    np.testing.assert_allclose(found.values[~patch], 0, atol=1e-6)


def test_it_lies_on_what_shows_the_image() -> None:
    """A padded border has attributions, and no part of the map."""
    network = as_network(
        settled(UNet(1)), "segmentation", size={"min": 16, "step": 8}, resize="pad"
    )
    image = np.random.default_rng(1).random((18, 20), dtype=np.float32)
    found = ns.explain(network, image, "xrai", 1, steps=2, **SMALL)
    assert found.values.shape == (18, 20)
    assert found.on_image().shape == (18, 20)


def test_a_map_of_nothing_is_zero() -> None:
    nothing = np.zeros((2, 1, 16, 16)).tolist()
    network = as_network(Scores(nn.Identity(), nothing), size=(16, 16), channels=1)
    found = ns.explain(network, halves(), "xrai", 0, steps=2, **SMALL)
    assert (found.values == 0).all()


def test_it_is_no_base_and_splits_no_volume() -> None:
    choices = ns.methods["segmented_score_map"].options["base"].choices
    assert choices is not None
    assert "xrai" not in choices
    assert {"integrated_gradients", "smooth_grad", "input_x_gradient"} <= set(choices)
    volume = as_network(settled(Pixelwise(1, axes=3)), "segmentation", axes="bczyx")
    with pytest.raises(ns.NeuroscopeError, match="XRAI splits images of two axes"):
        ns.explain(volume, np.zeros((8, 8, 8)), "xrai", 1)

"""Regions are cut to what shows the image: padding counts nowhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.images.grid import Grid
from networks import Pixelwise, as_network, settled

PAD = {"size": {"min": 32, "step": 32}, "resize": "pad"}


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((33, 41, 3)).astype(np.float32)


def padded(model: nn.Module, image: np.ndarray) -> torch.Tensor:
    """Return the scores of an image that was continued to the size that is asked for."""
    given = np.pad(image, [(0, 31), (0, 23), (0, 0)], mode="edge")
    with torch.no_grad():
        return model(torch.from_numpy(given.transpose(2, 0, 1))[None])[0]


def made(kind: str, model: nn.Module) -> Any:
    if kind == "function":
        return lambda x: model(torch.from_numpy(x)).detach().numpy()
    if kind == "onnx":
        from onnx_networks import exported

        return exported(model, (1, 3, 64, 64))
    return model


@pytest.mark.parametrize("kind", ["torch", "function", "onnx"])
@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_scores_are_of_the_image_alone(kind: str, reduce: Any, image: np.ndarray) -> None:
    model = settled(Pixelwise(3, 3))
    network = as_network(made(kind, model), "segmentation", **PAD)
    right = padded(model, image)
    shown = right[:, :33, :41]
    predicted = right.argmax(0)[:33, :41]
    which = int(predicted.flatten().mode().values)
    for region, values in (
        ("everywhere", shown[which]),
        ("predicted", shown[which][predicted == which]),
    ):
        e = ns.explain(network, image, "score_map", ns.Target(which, region, reduce=reduce))
        total = values.double().sum() if reduce == "sum" else values.double().mean()
        assert e.provenance["targets"][0]["value"] == pytest.approx(float(total), rel=1e-4)


def test_gradients_are_of_the_image_alone(image: np.ndarray) -> None:
    model = settled(Pixelwise(3, 3))
    network = as_network(model, "segmentation", **PAD)
    given = np.pad(image, [(0, 31), (0, 23), (0, 0)], mode="edge")
    x = torch.from_numpy(given.transpose(2, 0, 1))[None].requires_grad_()
    activation = model.conv1(x)
    score = model.conv2(activation.relu())[0, 1, :33, :41].sum()
    (gradient,) = torch.autograd.grad(score, activation)
    right = (gradient.mean((2, 3), keepdim=True) * activation).sum(1)[0].detach()
    everywhere = ns.Target(1, "everywhere")
    e = ns.explain(network, image, "grad_cam", everywhere, "conv1", relu=False)
    np.testing.assert_allclose(e.values, right, atol=1e-5 * float(right.abs().max()))
    # The same as of a mask of all pixels.
    mask = ns.Target(1, np.ones(image.shape[:2], bool))
    np.testing.assert_array_equal(ns.explain(network, image, "grad_cam", mask, "conv1", relu=False).values, e.values)  # fmt: skip


@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_tiles_leave_out_the_padding_too(reduce: Any, rng: np.random.Generator) -> None:
    image = rng.random((70, 130, 3)).astype(np.float32)
    network = as_network(settled(Pixelwise(3, 3)), "segmentation", **PAD)
    for region in ("everywhere", "predicted"):
        target = ns.Target(1, region, reduce=reduce)
        whole = ns.explain(network, image, "grad_cam", target, "conv1")
        tiled = ns.explain_tiled(network, image, "grad_cam", target, "conv1", tile=64)
        np.testing.assert_allclose(
            tiled.values, whole.values, atol=1e-4 * np.abs(whole.values).max()
        )
        values = [e.provenance["targets"][0]["value"] for e in (whole, tiled)]
        assert values[1] == pytest.approx(values[0], rel=1e-4)


def test_a_letterboxed_image(rng: np.random.Generator) -> None:
    model = settled(Pixelwise(3, 3))
    network = as_network(model, "segmentation", size=(32, 32), resize="fit")
    image = rng.random((16, 32, 3)).astype(np.float32)
    given = np.pad(image, [(0, 16), (0, 0), (0, 0)], mode="edge")
    with torch.no_grad():
        right = model(torch.from_numpy(given.transpose(2, 0, 1))[None])[0, 2, :16]
    e = ns.explain(network, image, "saliency", 2)
    assert e.provenance["targets"][0]["value"] == pytest.approx(float(right.sum()), rel=1e-4)


def test_an_image_smaller_than_a_position_is_still_seen(rng: np.random.Generator) -> None:
    model = settled(
        nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AvgPool2d(16), nn.Conv2d(4, 2, 1))
    )
    network = as_network(model, "segmentation", **PAD)
    image = rng.random((5, 40, 3)).astype(np.float32)
    given = np.pad(image, [(0, 27), (0, 24), (0, 0)], mode="edge")
    with torch.no_grad():
        right = model(torch.from_numpy(given.transpose(2, 0, 1))[None])[0, 1, :1, :3]
    e = ns.explain(network, image, "saliency", 1)
    assert e.provenance["targets"][0]["value"] == pytest.approx(float(right.sum()), rel=1e-4)


def test_cells_that_show_a_grid() -> None:
    cells = Grid((4,), (16.0,), (7.5,))
    assert [a.tolist() for a in cells.showing(Grid.of_image((41,)))] == [[True, True, True, False]]
    assert [a.tolist() for a in cells.showing(Grid.of_image((5,)))] == [[True, False, False, False]]

"""Segmenters that take one size alone, and larger images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.cli.main import main
from networks import UNet, as_network, settled
from onnx_networks import exported


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((96, 120, 3)).astype(np.float32)


def plain(model: nn.Module, image: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(image.transpose(2, 0, 1))[None])[0].numpy()


def test_a_convolutional_one_is_run_tile_by_tile(image: np.ndarray) -> None:
    model = settled(UNet())
    network = as_network(exported(model, (1, 3, 64, 64), fixed=True), "segmentation")
    right, found = plain(model, image), network.predict(image)
    np.testing.assert_allclose(found.scores, right, atol=2e-4 * np.abs(right).max())
    assert not found.notes
    e = ns.explain(network, image, "score_map", 1)
    np.testing.assert_allclose(e.values, right[1], atol=2e-4 * np.abs(right).max())
    assert e.provenance["tiling"]["tile"] == [64, 64]
    # What can't be made of tiles is of the smaller image, and says so.
    other = ns.explain(network, image, "rise", 1, masks=8)
    assert any(
        "96 × 120 pixels was made 1.88 times smaller" in n for n in other.provenance["notes"]
    )
    assert (
        network.predict(image[:64, :64]).grid
        == ns.explain(network, image[:64, :64], "score_map", 1).grid
    )


def test_one_whose_units_see_farther_than_a_tile_says_so(image: np.ndarray) -> None:
    model = settled(nn.Sequential(*(nn.Conv2d(3, 3, 9, padding=4) for _ in range(5))))
    network = as_network(exported(model, (1, 3, 32, 32), fixed=True), "segmentation")
    found = network.predict(image)
    assert any(
        "tiles overlap by 8 pixels, as the spec's halo says; 20 make" in n for n in found.notes
    )
    # Away from where tiles meet it is that of the whole.
    right = plain(model, image)
    assert np.corrcoef(found.scores.ravel(), right.ravel())[0, 1] > 0.9


def test_another_is_said_to_see_a_smaller_image(
    image: np.ndarray, tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    model = settled(
        nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2 * 64), nn.Unflatten(1, (2, 8, 8)))
    )
    whole = exported(model, (1, 3, 8, 8), fixed=True)
    network = as_network(whole, "segmentation")
    assert "15 times smaller for the network, which takes 8 × 8" in network.predict(image).notes[0]
    e = ns.explain(network, image, "score_map", 1)
    assert "15 times smaller" in e.provenance["notes"][0]
    import onnx

    path = f"{tmp_path}/dense.onnx"
    onnx.save(whole, path)
    main(["check", path])
    assert "8 × 8 (stretch; larger images are shrunk)" in capsys.readouterr().out


def test_a_stated_way_is_taken(image: np.ndarray) -> None:
    model = exported(settled(UNet()), (1, 3, 64, 64), fixed=True)
    stated = as_network(model, "segmentation", resize="stretch").predict(image)
    assert stated.grid is not None
    assert stated.grid.shape == (64, 64)
    assert "times smaller" in stated.notes[0]
    # A size that is stated of a network that takes any is how it was trained.
    flexible = as_network(settled(UNet()), "segmentation", size=(64, 64)).predict(image)
    assert flexible.grid == stated.grid

"""Where the positions of a layer are: read off what the network does to its numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.graph.token_layout import (
    is_plain,
    token_layout_of,
    whole,
)
from networks import as_network, settled
from token_networks import Swin, ViT

IMAGE = np.random.default_rng(0).random((16, 24, 3), dtype=np.float32)


def test_tokens_with_one_beside_them_by_hand() -> None:
    # A class token, then the four patches of a 2 × 2 grid; two channels.
    y = torch.tensor([np.nan, 0.25, 0.25, 0.75, 0.75]).double()[None, :, None].expand(1, 5, 2)
    x = torch.tensor([np.nan, 0.25, 0.75, 0.25, 0.75]).double()[None, :, None].expand(1, 5, 2)
    fold = token_layout_of((y, x))
    assert fold is not None
    assert (fold.grid, fold.channels, fold.batch, fold.beside) == ((2, 2), (2,), 0, (0,))
    tokens = torch.arange(10.0).reshape(1, 5, 2)
    assert fold(tokens).tolist() == [[[[2, 4], [6, 8]], [[3, 5], [7, 9]]]]
    back = fold.back(-fold(tokens).expand(3, -1, -1, -1), tokens)
    assert back.tolist() == [[[0, 1], [-2, -3], [-4, -5], [-6, -7], [-8, -9]]] * 3


def test_windows_by_hand() -> None:
    # One row of four, rolled by one and cut into two windows: 1 2 | 3 0.
    row = torch.tensor([[0.375, 0.625], [0.875, 0.125]]).double()[..., None].expand(2, 2, 3)
    fold = token_layout_of((row,))
    assert fold is not None
    assert (fold.grid, fold.channels, fold.batch, fold.beside) == ((4,), (2,), None, ())
    windows = torch.arange(12.0).reshape(2, 2, 3)
    assert fold(windows)[0, 0].tolist() == [9, 0, 3, 6]
    # Of two inputs: the windows of the first, then those of the second.
    twice = torch.cat([windows, windows + 100])
    assert fold(twice)[:, 0].tolist() == [[9, 0, 3, 6], [109, 100, 103, 106]]
    assert torch.equal(fold.back(fold(twice), windows), twice)


def test_a_batch_in_second_place() -> None:
    y = torch.tensor([0.25, 0.75]).double()[:, None, None].expand(2, 1, 3)
    fold = token_layout_of((y,))
    assert fold is not None
    assert fold.batch == 1
    values = torch.arange(12.0).reshape(2, 2, 3)
    assert fold(values).tolist() == values.permute(1, 2, 0).tolist()
    assert torch.equal(fold.back(fold(values), values[:, :1]), values)


@pytest.mark.parametrize(
    "places",
    [
        [0.25, 0.25, 0.75, 0.75],  # each twice
        [np.nan, np.nan, np.nan, 0.5],  # only one
        [0.5, 0.5, 0.5, 0.5],
    ],
)
def test_places_on_no_grid(places: list[float]) -> None:
    assert token_layout_of((torch.tensor(places).double()[None, :, None].expand(1, 4, 3),)) is None


def test_a_grid_with_a_hole() -> None:
    y = torch.tensor([0.25, 0.25, 0.75]).double()[None, :, None].expand(1, 3, 2)
    x = torch.tensor([0.25, 0.75, 0.25]).double()[None, :, None].expand(1, 3, 2)
    assert token_layout_of((y, x)) is None


def test_what_is_plain() -> None:
    assert is_plain(whole((1, 3, 4, 4), (2, 3)))
    assert is_plain(whole((3, 4, 4), (1, 2)))
    assert not is_plain(whole((1, 4, 4, 4), (1, 2)))
    assert not is_plain(whole((1, 4, 4, 4), (3, 2)))
    assert not is_plain(tuple(one.flip(2) for one in whole((1, 3, 4, 4), (2, 3))))


def explained(network: ns.Network, layer: str, image: np.ndarray = IMAGE) -> np.ndarray:
    return ns.explain(network, image, "activation", layer=layer).values


@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_tokens_are_the_patches(prefix: int) -> None:
    network = as_network(settled(ViT(prefix=prefix, head="mean")), size=(16, 24))
    patches = explained(network, "patches")
    assert patches.shape == (12, 4, 6)
    for layer in ["flatten", "transpose", *(["cat"] if prefix else [])]:
        assert np.array_equal(explained(network, layer), patches), layer


def test_as_many_tokens_as_channels() -> None:
    network = as_network(settled(ViT(width=24, prefix=0, head="mean")), size=(16, 24))
    patches = explained(network, "patches")
    for layer in ["flatten", "transpose"]:
        assert network.layers[layer].output_shape == (24, 24)
        assert np.array_equal(explained(network, layer), patches), layer


@pytest.mark.parametrize(
    "model",
    [
        ViT(),
        ViT(prefix=5),
        ViT(kind="module"),
        ViT(kind="written"),
        ViT(prefix=2, head="distilled"),
    ],
    ids=["class", "registers", "module", "written", "distilled"],
)
def test_the_default_is_the_last_layer_whose_patches_reach_the_answer(model: ViT) -> None:
    network = as_network(settled(model), size=(16, 24))
    assert network.layers.last_with_positions() == "blocks.1.norm1"
    assert network.layers["norm"].silent
    assert network.layers["blocks.1"].silent
    assert not network.layers["blocks.0"].silent


def test_the_default_where_patches_are_read() -> None:
    mean = as_network(settled(ViT(head="mean")), size=(16, 24))
    assert mean.layers.last_with_positions() == "norm"
    assert not any(layer.silent for layer in mean.layers.values())
    assert as_network(settled(Swin()), size=(24, 40)).layers.last_with_positions() == "norm"


def test_an_untrained_head_of_zeros_tells_nothing() -> None:
    model = settled(ViT())
    nn.init.zeros_(model.head.weight)
    network = as_network(model, size=(16, 24))
    assert not any(layer.silent for layer in network.layers.values())
    assert network.layers.last_with_positions() == "norm"


def test_an_image_of_another_size() -> None:
    network = as_network(settled(Swin()))
    small = np.random.default_rng(1).random((24, 40, 3), dtype=np.float32)
    large = np.random.default_rng(2).random((48, 32, 3), dtype=np.float32)
    first = explained(network, "norm", small)
    assert first.shape == (12, 3, 5)
    found = explained(network, "norm", large)
    assert found.shape == (12, 6, 4)
    fresh = explained(as_network(settled(Swin())), "norm", large)
    np.testing.assert_array_equal(found, fresh)
    np.testing.assert_array_equal(explained(network, "norm", small), first)


def test_the_receptive_field_of_tokens_is_not_made_up() -> None:
    from napari_neuroscope.engine.graph.receptive_field import receptive_field

    network = as_network(settled(Swin()), size=(24, 40))
    for layer in ["norm0", "norm", "stages.1.attn"]:
        with pytest.raises(ns.NeuroscopeError, match="is not known"):
            receptive_field(network.layers, layer)

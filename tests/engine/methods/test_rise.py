"""RISE: maps of random masks, by hand and against a plain script."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from closeness import assert_close
from networks import EndingIn, Vgg, as_network, settled


class Patch(nn.Module):
    """Scores that see one place alone: the sum of it, and its negative."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = x[:, :, 4:8, 8:12].sum((1, 2, 3))
        return torch.stack([seen, -seen], 1)


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((16, 16, 3)).astype(np.float32)


def test_rise_finds_the_patch() -> None:
    network = as_network(Patch(), size=(16, 16))
    found = ns.explain(network, np.ones((16, 16, 3)), "rise", 0, masks=500, cells=4).values
    y, x = np.unravel_index(found.argmax(), found.shape)
    assert 4 <= y < 8
    assert 8 <= x < 12


def test_rise_as_a_plain_script(image: np.ndarray) -> None:
    model = settled(Vgg())
    x = torch.from_numpy(image).permute(2, 0, 1)[None]
    generator, expected = torch.Generator().manual_seed(3), 0
    for number in range(70):
        if number % 64 == 0:  # they are drawn 64 at once
            drawn = torch.rand(64, 5, 5, generator=generator) < 0.4
            shifts = [torch.randint(4, (64,), generator=generator).tolist() for _ in range(2)]
        cells = drawn[number % 64].float()
        fine = nn.Upsample((24, 24), mode="bilinear")(cells[None, None])[0, 0]
        y, z = (of_axis[number % 64] for of_axis in shifts)
        mask = fine[y : y + 16, z : z + 16]
        with torch.no_grad():
            expected = expected + model(x * mask)[0, 1] * mask / (0.4 * 70)
    network = as_network(model, size=(16, 16))
    found = ns.explain(network, image, "rise", 1, masks=70, cells=5, probability=0.4, seed=3)
    assert_close(found.values, expected.numpy(), 1e-4)


def test_a_centred_map_is_of_the_scores_less_their_mean(image: np.ndarray) -> None:
    """A constant that is added to the score changes the map, and not the one that is centred."""
    model = settled(Vgg())
    more = {"masks": 70, "cells": 4, "seed": 1}

    def made(*, centred: bool) -> np.ndarray:
        network = as_network(model, size=(16, 16))
        return ns.explain(network, image, "rise", 1, centred=centred, **more).values

    plain, centred = made(centred=False), made(centred=True)
    # By the paper's map of scores that are all one: the share of masks through which each is seen.
    ones = ns.explain(as_network(EndingIn(model, torch.ones_like), size=(16, 16)), image, "rise", 1,
                      **more).values  # fmt: skip
    with torch.no_grad():
        model.classifier[-1].bias += 3
    assert_close(made(centred=False) - plain, 3 * ones, 1e-4)
    assert_close(made(centred=True), centred, 1e-3)
    slope = ((plain - centred) / ones).ravel()
    np.testing.assert_allclose(slope, slope.mean(), rtol=1e-4)
    assert centred.min() < 0 < centred.max()

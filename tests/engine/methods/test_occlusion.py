"""Occlusion: maps of hidden windows, by hand and against Captum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from closeness import assert_close
from networks import Vgg, as_network, settled
from snapshot import Snapshot

SMALL = {
    "occlusion": {"window": 5, "stride": 3},
    "rise": {"masks": 70, "cells": 4},
}


class Patch(nn.Module):
    """Scores that see one place alone: the sum of it, and its negative."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = x[:, :, 4:8, 8:12].sum((1, 2, 3))
        return torch.stack([seen, -seen], 1)


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((16, 16, 3)).astype(np.float32)


def test_occlusion_by_hand() -> None:
    network = as_network(Patch(), size=(16, 16))
    found = ns.explain(network, np.ones((16, 16, 3)), "occlusion", [0, 1], window=4, stride=4)
    expected = np.zeros((16, 16))
    expected[4:8, 8:12] = 4 * 4 * 3
    np.testing.assert_allclose(found.values, [expected, -expected], rtol=1e-6)
    assert found.signed


@pytest.mark.parametrize(("window", "stride"), [(5, 3), (4, 4), (16, 16), (7, 2)])
def test_occlusion_as_captum(image: np.ndarray, window: int, stride: int) -> None:
    attr = pytest.importorskip("captum.attr")
    model = settled(Vgg())
    x = torch.from_numpy(image).permute(2, 0, 1)[None]
    expected = attr.Occlusion(model).attribute(
        x, (3, window, window), (3, stride, stride), baselines=0, target=2
    )[0, 0]
    before = Snapshot(model)
    network = as_network(model, size=(16, 16))
    found = ns.explain(network, image, "occlusion", 2, window=window, stride=stride)
    assert_close(found.values, expected.numpy(), 1e-4)
    before.assert_unchanged()


@pytest.mark.parametrize("method", SMALL)
def test_any_batch_gives_the_same(image: np.ndarray, method: str) -> None:
    network = as_network(settled(Vgg()), size=(16, 16))
    one, many = (
        ns.explain(network, image, method, [0, 2], batch=batch, **SMALL[method]).values
        for batch in (1, 16)
    )
    assert np.isfinite(many).all()
    assert_close(one, many, 1e-5)


def test_a_stride_beyond_the_window_is_refused(image: np.ndarray) -> None:
    network = as_network(settled(Vgg()), size=(16, 16))
    with pytest.raises(ns.NeuroscopeError, match="at most 4"):
        ns.explain(network, image, "occlusion", 0, window=4, stride=5)

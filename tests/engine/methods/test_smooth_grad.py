"""SmoothGrad: the noise, its seed, and the gradient without it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch import nn

import napari_neuroscope as ns
from closeness import assert_close
from networks import EndingIn, Scores, Vgg, as_network, settled

# Two channels of two pixels.
WEIGHTS = np.array([[[1.0, -2.0]], [[-4.0, 3.0]]])
IMAGE = np.array([[[2.0, 1.0]], [[0.5, 1.0]]])


def of_two_channels(end: Any, **of_input: Any) -> ns.Network:
    """A classifier whose first score is `end` of w · x, and whose second is its negative."""
    body = Scores(nn.Identity(), [WEIGHTS.tolist(), (-WEIGHTS).tolist()])
    return as_network(EndingIn(body, end), channels=2, image_axes="cyx", order="n", **of_input)


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((16, 16, 3)).astype(np.float32)


def classifier() -> ns.Network:
    return as_network(settled(Vgg()), size=(16, 16))


def test_smooth_grad_of_a_square() -> None:
    """The gradient 2 w (w · (x + n)) is 2 w (w · x) on average, and else off by w · n̄ alone."""
    network = of_two_channels(lambda scores: scores**2)
    asked = {"target": 0, "channels": "keep", "samples": 3, "noise": 0.2, "seed": 5}
    found = ns.explain(network, IMAGE, "smooth_grad", **asked).values
    drawn = [np.random.default_rng((5, n)).standard_normal((2, 1, 2), np.float32) for n in range(3)]
    seen = IMAGE + 0.2 * (IMAGE.max() - IMAGE.min()) * np.mean(drawn, 0)
    np.testing.assert_allclose(found, 2 * WEIGHTS * (WEIGHTS * seen).sum(), rtol=1e-5)


def test_the_seed_sets_the_noise(image: np.ndarray) -> None:
    network, asked = classifier(), {"target": 1, "samples": 4}
    first, again, other = (
        ns.explain(network, image, "smooth_grad", seed=seed, **asked).values for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(other - first).max() > 0.01 * np.abs(first).max()


def test_without_noise_smooth_grad_is_the_gradient(image: np.ndarray) -> None:
    network, keep = classifier(), {"channels": "keep"}
    smooth = ns.explain(network, image, "smooth_grad", 1, noise=0, samples=3, **keep).values
    assert_close(smooth, ns.explain(network, image, "saliency", 1, **keep).values, 1e-5)

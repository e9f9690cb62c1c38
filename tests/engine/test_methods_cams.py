"""Grad-CAM, guided Grad-CAM and Grad-CAM++, with answers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

import napari_neuroscope as ns
from networks import GapLinear, Scores, as_network, pointwise, settled


def two_channels(activations: list, gradients: list, image: np.ndarray) -> ns.Network:
    """A layer “body” of A_k = a_k x + b_k, and a class 0 whose gradient there is as given."""
    body = nn.Sequential(pointwise([[a] for a, _ in activations], [b for _, b in activations]))
    return as_network(Scores(body, [gradients, np.zeros_like(gradients).tolist()]))


# A0 = x, A1 = 3 - x = 2 1 / 0 -1.
# The gradients' means: w0 = (1 + 0 + 0 + 3) / 4 = 1, w1 = (2 - 6 - 4 + 0) / 4 = -2.
# A0 - 2 A1 = 1-4 2-2 / 3-0 4+2 = -3 0 / 3 6.
IMAGE = np.array([[1.0, 2.0], [3.0, 4.0]])
GRADIENTS = [[[1.0, 0.0], [0.0, 3.0]], [[2.0, -6.0], [-4.0, 0.0]]]


@pytest.mark.parametrize("keep", ["asked", "everything"])
def test_grad_cam_by_hand(keep: str) -> None:
    network = two_channels([(1.0, 0.0), (-1.0, 3.0)], GRADIENTS, IMAGE)
    positive = ns.explain(network, IMAGE, "grad_cam", 0, "body.0", keep=keep)
    np.testing.assert_allclose(positive.values, [[0, 0], [3, 6]], atol=1e-5)
    assert not positive.signed
    signed = ns.explain(network, IMAGE, "grad_cam", 0, "body.0", keep=keep, relu=False)
    np.testing.assert_allclose(signed.values, [[-3, 0], [3, 6]], atol=1e-5)
    assert signed.signed
    none = ns.explain(network, IMAGE, "grad_cam", 1, "body.0", keep=keep, relu=False)
    assert (none.values == 0).all()


def test_grad_cam_plus_plus_by_hand() -> None:
    # x = 1 2 / 0 1. A0 = x: ΣA0 = 4. A1 = 1/2 - x/2 = 0 -1/2 / 1/2 0: ΣA1 = 0.
    # α = g² / (2 g² + g³ ΣA); relu(g) leaves g > 0:
    #   A0, g = 1 -1 / 2 0:  g = 1: 1 / (2 + 4) = 1/6; g = 2: 4 / (8 + 32) = 1/10;
    #       w0 = 1/6 · 1 + 1/10 · 2 = 11/30.
    #   A1, g = -2 1 / 3 0:  α = 1/2 everywhere; w1 = 1/2 · 1 + 1/2 · 3 = 2.
    # 11/30 A0 + 2 A1 = 11/30 22/30-1 / 1 11/30, of which the second is below zero.
    image = np.array([[1.0, 2.0], [0.0, 1.0]])
    network = two_channels(
        [(1.0, 0.0), (-0.5, 0.5)], [[[1.0, -1.0], [2.0, 0.0]], [[-2.0, 1.0], [3.0, 0.0]]], image
    )
    found = ns.explain(network, image, "grad_cam_plus_plus", 0, "body.0")
    np.testing.assert_allclose(found.values, [[11 / 30, 0], [1, 11 / 30]], rtol=1e-5)
    assert not found.signed


def test_grad_cam_plus_plus_where_alpha_has_no_value() -> None:
    # ΣA0 = -4 and g = 1/2: 2 g² + g³ ΣA = 1/2 - 1/2 = 0, so α = 0 by definition.
    # ΣA1 = 4 and g = 1: α = 1/6, w1 = 1/6.
    image = np.ones((2, 2))
    network = two_channels(
        [(-1.0, 0.0), (1.0, 0.0)], [[[0.5, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]]], image
    )
    found = ns.explain(network, image, "grad_cam_plus_plus", 0, "body.0")
    np.testing.assert_allclose(found.values, np.full((2, 2), 1 / 6), rtol=1e-5)


@pytest.mark.parametrize("factor", [1e-18, 1e-6, 1e6, 1e15])
def test_grad_cam_plus_plus_of_gradients_of_any_size(factor: float) -> None:
    """Compared with the paper's formula in double precision; a float32 g³ would vanish or blow up."""
    gradients = np.array([[[1.0, -1.0], [2.0, 0.5]]]) * factor
    image = np.array([[1.0, 2.0], [0.0, 1.0]]) / factor
    network = two_channels([(1.0, 0.0)], gradients.tolist(), image)
    found = ns.explain(network, image, "grad_cam_plus_plus", 0, "body.0").values
    g, a = gradients[0], image
    alpha = g**2 / (2 * g**2 + g**3 * a.sum())
    expected = np.maximum((alpha * np.maximum(g, 0)).sum() * a, 0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_guided_grad_cam_by_hand() -> None:
    # Pooled, x = 0 0 2 2 in each row is 0 2, which the convolution and relu leave.
    # Each position has gradient 2: w = 2, Grad-CAM = 0 4, linear between half-pixel centres in
    # four columns: 0, 1/4 · 4 = 1, 3/4 · 4 = 3, 4.
    # Guided: 2 where the relu is on, on the right; a mean of four pixels gives each a quarter, 1/2.
    # The product: 0 0 3/2 2.
    image = np.tile([0.0, 0.0, 2.0, 2.0], (4, 1))
    body = nn.Sequential(nn.AvgPool2d(2), pointwise([[1.0]]), nn.ReLU())
    network = as_network(Scores(body, [[[2.0] * 4], [[0.0] * 4]]))
    cam = ns.explain(network, image, "grad_cam", 0, "body.2")
    np.testing.assert_allclose(cam.values, [[0, 4], [0, 4]], atol=1e-6)
    found = ns.explain(network, image, "guided_grad_cam", 0, "body.2")
    np.testing.assert_allclose(found.values, np.tile([0, 0, 1.5, 2], (4, 1)), atol=1e-6)
    assert found.axes == ("y", "x")
    assert found.signed


def test_guided_grad_cam_of_channels() -> None:
    body = nn.Sequential(pointwise([[1.0, -3.0]]), nn.ReLU())
    network = as_network(Scores(body, [[[1.0] * 4], [[0.0] * 4]]), image_axes="cyx", order="n")
    # A = relu(1 - 0) = 1 with gradient 1 each: Grad-CAM = 1, and the guided gradient is 1 and -3.
    image = np.stack([np.ones((2, 2)), np.zeros((2, 2))])
    each = ns.explain(network, image, "guided_grad_cam", 0, "body.1", channels="keep")
    np.testing.assert_allclose(each.values[:, 0, 0], [1, -3], atol=1e-6)
    joined = ns.explain(network, image, "guided_grad_cam", 0, "body.1", channels="max_abs")
    np.testing.assert_allclose(joined.values, np.full((2, 2), 3), atol=1e-6)
    assert not joined.signed


def test_the_last_layer_with_positions_is_the_default() -> None:
    network = as_network(settled(GapLinear()))
    image = np.linspace(0, 1, 64).reshape(8, 8)
    chosen = ns.explain(network, image, "grad_cam", 0, "relu", relu=False)
    by_default = ns.explain(network, image, "grad_cam", 0, relu=False)
    np.testing.assert_array_equal(by_default.values, chosen.values)
    assert by_default.provenance["layers"] == ["relu"]
    assert by_default.axes == ("y", "x")


def test_a_layer_that_the_class_does_not_look_at_gives_zeros() -> None:
    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.aside = pointwise([[1.0], [2.0]]), pointwise([[1.0], [3.0]])

        def forward(self, x):  # type: ignore[no-untyped-def]
            self.aside(x)
            return self.used(x)

    network = as_network(Aside(), "segmentation")
    for layer in ("aside", ["aside", "used"]):
        for keep in ("asked", "everything"):
            found = ns.explain(
                network, np.ones((3, 4)), "grad_cam", 1, layer, relu=False, keep=keep
            )
            aside = found.values if layer == "aside" else found.values[0]
            assert (aside == 0).all()
            assert found.values.shape[-2:] == (3, 4)

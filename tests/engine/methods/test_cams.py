"""Class activation maps by hand, against Captum, and on detectors of a patch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import LayerGradientXActivation
from torch import nn

import napari_neuroscope as ns
from closeness import assert_close
from networks import GapLinear, Scores, UNet, Vgg, as_network, pointwise, settled
from snapshot import Snapshot


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


def network_of(gradients: list, activations: tuple = ((1.0, 0.0), (-1.0, 3.0))) -> ns.Network:
    """A layer “body” of A_k = a_k x + b_k, and a class 0 whose gradient there is as given."""
    body = nn.Sequential(pointwise([[a] for a, _ in activations], [b for _, b in activations]))
    return as_network(Scores(body, [gradients, np.zeros_like(gradients).tolist()]))


def map_of(method: str, image: np.ndarray = IMAGE, **options: object) -> np.ndarray:
    return ns.explain(network_of(GRADIENTS), image, method, 0, "body.0", **options).values


def test_hires_cam_by_hand() -> None:
    # g0 A0 = 1 0 / 0 12; g1 A1 = 4 -6 / 0 0.
    np.testing.assert_allclose(map_of("hires_cam"), [[5, 0], [0, 12]], atol=1e-5)
    np.testing.assert_allclose(map_of("hires_cam", relu=False), [[5, -6], [0, 12]], atol=1e-5)


def test_layer_cam_by_hand() -> None:
    # relu(g1) A1 = 4 0 / 0 0.
    np.testing.assert_allclose(map_of("layer_cam"), [[5, 0], [0, 12]], atol=1e-5)
    # A1 is negative where g1 is positive: -1 · 2 and nothing else, cut at zero.
    network = network_of([[[0.0] * 2] * 2, [[1.0, 0.0], [0.0, 2.0]]])
    values = ns.explain(network, IMAGE, "layer_cam", 0, "body.0").values
    np.testing.assert_allclose(values, [[2, 0], [0, 0]], atol=1e-5)


def test_x_grad_cam_by_hand() -> None:
    # w0 = (1 + 12) / 10 = 1.3; w1 = (4 - 6) / 2 = -1.
    expected = 1.3 * IMAGE - (3 - IMAGE)
    np.testing.assert_allclose(map_of("x_grad_cam", relu=False), expected, rtol=1e-5)
    np.testing.assert_allclose(map_of("x_grad_cam"), np.maximum(expected, 0), rtol=1e-5, atol=1e-6)
    # A channel that sums to zero has no weight.
    network = network_of([[[1.0, 0.0], [0.0, 0.0]]], ((1.0, 0.0),))
    zero = ns.explain(network, np.array([[1.0, -1.0], [2.0, -2.0]]), "x_grad_cam", 0, "body.0")
    assert (zero.values == 0).all()


def test_eigen_cam_by_hand() -> None:
    # A0 = x and A1 = 2 x: v = (1, 2) / √5, and the map √5 x. The sign makes its sum positive.
    for sign in (1.0, -1.0):
        network = network_of(GRADIENTS, ((sign, 0.0), (2 * sign, 0.0)))
        values = ns.explain(network, IMAGE, "eigen_cam", layer="body.0").values
        np.testing.assert_allclose(values, np.sqrt(5) * IMAGE, rtol=1e-5)
    nothing = ns.explain(network, np.zeros((2, 2)), "eigen_cam", layer="body.0").values
    assert (nothing == 0).all()


@pytest.mark.parametrize("layer", ["features.1", "features.4", "features.7"])
def test_eigen_cam_is_the_first_singular_vector(layer: str, rng: np.random.Generator) -> None:
    """Of layers with more positions than channels, and with fewer."""
    network = as_network(settled(Vgg()), size=(16, 16))
    image = rng.standard_normal((16, 16, 3)).astype(np.float32)
    activation = network.trace(image, [layer]).activation(layer)
    left, scale, _ = np.linalg.svd(activation.flatten(1).T.double().numpy(), full_matrices=False)
    expected = (left[:, 0] * scale[0]).reshape(activation.shape[1:])
    answer = ns.explain(network, image, "eigen_cam", [0, 1], layer)
    for values in answer.values:
        assert_close(values, expected * np.sign(expected.sum()))


@pytest.mark.parametrize("layer", ["enc1", "bottom", "dec1"])
def test_hires_and_x_grad_cam_of_a_region(layer: str, rng: np.random.Generator) -> None:
    """Against captum's gradient times activation, with and without everything kept."""
    model = settled(UNet())
    mask = np.indices((16, 16)).sum(0) < 13
    image = rng.standard_normal((16, 16, 3)).astype(np.float32)

    def score(x: torch.Tensor) -> torch.Tensor:
        return (model(x)[:, 1] * torch.from_numpy(mask)).sum((1, 2))

    peer = LayerGradientXActivation(score, model.get_submodule(layer))
    x = torch.from_numpy(image).permute(2, 0, 1)[None]
    product = peer.attribute(x)[0].detach().numpy()
    network, target = as_network(model, "segmentation"), ns.Target(1, mask)
    activation = network.trace(image, [layer]).activation(layer).numpy()
    before = Snapshot(model)
    for keep in ("asked", "everything"):
        hires = ns.explain(network, image, "hires_cam", target, layer, relu=False, keep=keep)
        assert_close(hires.values, product.sum(0))
        sums = activation.sum((1, 2))
        weights = np.where(sums == 0, 0, product.sum((1, 2)) / np.where(sums == 0, 1, sums))
        x_grad = ns.explain(network, image, "x_grad_cam", target, layer, relu=False, keep=keep)
        assert_close(x_grad.values, np.tensordot(weights, activation, 1), 1e-4)
    before.assert_unchanged()


@pytest.mark.parametrize("method", ["hires_cam", "x_grad_cam"])
def test_the_score_is_shared_out_before_a_linear_head(
    method: str, rng: np.random.Generator
) -> None:
    network = network_of(rng.standard_normal((2, 2, 2)).tolist())
    answer = ns.explain(network, IMAGE, method, 0, "body.0", relu=False)
    score = answer.provenance["targets"][0]["value"]
    np.testing.assert_allclose(answer.values.sum(), score, rtol=1e-4)


@pytest.mark.parametrize("method", ["hires_cam", "layer_cam", "x_grad_cam", "eigen_cam"])
def test_a_detector_of_a_patch_finds_it(method: str) -> None:
    """Channel 0 answers to a bright patch alone; class 0 looks at nothing else."""
    model = nn.Sequential(
        nn.AvgPool2d(4), pointwise([[1.0], [-1.0]], [-0.5, 0.1]), nn.ReLU(), nn.Flatten(),
        nn.Linear(32, 2, bias=False),
    )  # fmt: skip
    with torch.no_grad():
        model[4].weight.zero_()[0, :16] = 1
        model[4].weight[1, 16:] = 1
    image = np.zeros((16, 16), np.float32)
    image[4:8, 8:12] = 1
    values = ns.explain(as_network(model, size=(16, 16)), image, method, 0, "2").values
    assert np.unravel_index(values.argmax(), values.shape) == (1, 2)
    rest = values.copy()
    rest[1, 2] = 0
    assert np.abs(rest).max() < 0.05 * values[1, 2]

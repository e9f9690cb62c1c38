"""Where layers lie: exactly over their image; on napari's own layers, without a window."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from napari.layers import Image, Layer

import napari_neuroscope as ns
from halving_network import halving

TRANSFORMS = {
    "plain": {},
    "scaled": {"scale": (0.5, 0.25)},
    "translated": {"translate": (12.5, -7.0)},
    "rotated": {"scale": (0.5, 2.0), "rotate": 30},
    "sheared": {"scale": (2.0, 0.5), "shear": [0.4]},
    "affine": {"affine": [[0.9, 0.2, 5.0], [-0.1, 1.3, -2.0], [0, 0, 1]]},
    "all": {
        "scale": (0.65, 0.33),
        "translate": (3.0, 40.0),
        "rotate": -20,
        "shear": [0.15],
        "affine": [[0.9, 0.2, 5.0], [-0.1, 1.3, -2.0], [0, 0, 1]],
    },
}


def corners_in_world(layer: Layer) -> np.ndarray:
    """Return the outer corners of a layer's first and last pixels, along its last two axes."""
    ndim = layer.ndim
    found = []
    for y in (-0.5, layer.data.shape[ndim - 2] - 0.5):
        for x in (-0.5, layer.data.shape[ndim - 1] - 0.5):
            point = np.zeros(ndim)
            point[-2:] = y, x
            found.append(np.asarray(layer.data_to_world(point))[-2:])
    return np.array(found)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("leading", ["single", "stack"])
def test_corners_of_map_and_image_agree(name: str, leading: str, rng: np.random.Generator) -> None:
    image = rng.random((48, 80)).astype(np.float32)
    source = Image(image, units=("um", "um"), axis_labels=("y", "x"), **TRANSFORMS[name])
    layers = "down" if leading == "single" else ["down", "relu"]
    explanation = ns.explain(halving(), image, "grad_cam", "cell", layers, relu=False)
    assert explanation.values.shape[-2:] == (24, 40)
    ((data, attributes, kind),) = explanation.to_layer_data(source)
    made = Layer.create(data, attributes, kind)
    np.testing.assert_allclose(corners_in_world(made), corners_in_world(source), atol=1e-9, rtol=0)


@pytest.mark.parametrize("resize", ["fit", "pad", "stretch", "crop"])
def test_a_map_lies_on_its_image_through_the_resizing(
    resize: str, rng: np.random.Generator
) -> None:
    image = np.zeros((40, 64), np.float32)
    image[9:13, 41:45] = 1
    size = (64, 96) if resize == "pad" else (32, 32)
    network = halving(size=size, resize=resize)
    source = Image(image, scale=(0.5, 2.0), rotate=25, translate=(3, 4))
    explanation = ns.explain(network, image, "input")
    ((data, attributes, kind),) = explanation.to_layer_data(source)
    made = Layer.create(data, attributes, kind)
    seen = made.data[0]
    weights = seen / seen.sum()
    centre = [float((weights * axis).sum()) for axis in np.indices(seen.shape)]
    expected = source.data_to_world((10.5, 42.5))
    assert np.asarray(made.data_to_world((0, *centre)))[-2:] == pytest.approx(expected, abs=0.35)


def test_units_and_names_of_axes_carry_over(rng: np.random.Generator) -> None:
    image = rng.random((16, 16)).astype(np.float32)
    source = Image(image, scale=(0.3, 0.3), units=("um", "um"), axis_labels=("row", "column"))
    explanation = ns.explain(halving(), image, "grad_cam", ["cell", "background"], ["down", "up"])
    ((_, attributes, _),) = explanation.to_layer_data(source)
    assert attributes["axis_labels"] == ("class", "layer", "row", "column")
    assert attributes["units"][:2] == ("pixel", "pixel")
    assert [str(unit) for unit in attributes["units"][2:]] == ["micrometer", "micrometer"]
    assert attributes["scale"][:2].tolist() == [1, 1]
    assert attributes["rgb"] is False


def test_a_map_of_one_plane_lies_on_that_plane(rng: np.random.Generator) -> None:
    stack = rng.random((5, 16, 16)).astype(np.float32)
    source = Image(stack, scale=(2.0, 0.5, 0.5), translate=(10, 0, 0))
    explanation = ns.explain(halving(), stack[3], "grad_cam", "cell", ["down", "up"])
    ((data, attributes, kind),) = explanation.to_layer_data(source, plane=(3,))
    made = Layer.create(data, attributes, kind)
    assert made.data.shape == (2, 1, 16, 16)
    corner = np.asarray(made.data_to_world((0, 0, -0.5, -0.5)))
    assert corner[1:] == pytest.approx(source.data_to_world((3, -0.5, -0.5)), abs=1e-9)


def test_a_stack_s_map_lies_where_its_planes_do() -> None:
    """Its axes come before those of a plane that the network takes whole, such as channels."""
    network = ns.wrap(torch.nn.Conv2d(2, 3, 1), {"task": "segmentation"}, device="cpu")
    film = np.random.default_rng(0).random((5, 2, 8, 9))
    found = ns.explain_stack(network, film, "fusion_score_map", axes="tcyx", planes="t=1:5:2")
    source = {"scale": (3, 1, 0.5, 0.5), "translate": (10, 0, 1, 2), "units": ("s", "pixel", "um", "um"),
              "axis_labels": ("time", "channel", "y", "x")}  # fmt: skip
    layers = found.to_layer_data(source, (1,))
    assert [kind for *_, kind in layers] == ["image", "labels"]
    for data, attributes, _ in layers:
        assert data.shape == (2, 1, 8, 9)
        np.testing.assert_allclose(attributes["scale"], (6, 1, 0.5, 0.5))
        np.testing.assert_allclose(attributes["translate"], (13, 1, 1, 2))
        assert attributes["axis_labels"] == ("time", "channel", "y", "x")
        assert attributes["units"] == ("s", "pixel", "um", "um")
    bare = found.to_layer_data(None, (1,))[0][1]
    assert bare["axis_labels"] == ("t", "axis 1", "y", "x")

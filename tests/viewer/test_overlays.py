"""Where layers lie and how they look; on napari's own layers, without a window."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from napari.layers import Image, Labels, Layer
from napari.utils import Colormap
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.explanation.colormaps import class_colours, limits
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.viewer.layers.prediction_layers import prediction_data


class Halving(nn.Module):
    """A segmenter whose inner layer is half as fine, and whose output is the input's size."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 4, 2, stride=2)
        self.up = nn.ConvTranspose2d(4, 2, 2, stride=2)
        with torch.no_grad():
            # So that something speaks for each class, and something against.
            self.down.weight[:2] = self.down.weight[:2].abs()
            self.up.weight[:2] = self.up.weight[:2].abs()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(self.down(x).relu())


def halving(**of_input: object) -> ns.Network:
    spec = {
        "task": "segmentation",
        "classes": ["background", {"name": "cell", "colour": [0, 255, 0]}],
        "input": {"value_range": (0, 1), **of_input},
    }
    return ns.wrap(Halving(), spec, device="cpu")


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


def test_maps_from_zero_and_about_zero_look_different(rng: np.random.Generator) -> None:
    image = rng.random((16, 16)).astype(np.float32)
    network = halving()
    for options, low in (({"relu": True}, 0), ({"relu": False}, None)):
        explanation = ns.explain(network, image, "grad_cam", "cell", "down", **options)
        ((data, attributes, _),) = explanation.to_layer_data()
        most = np.abs(explanation.values).max()
        expected = (low if low == 0 else -most, most)
        assert attributes["contrast_limits"] == pytest.approx(expected)
        middle = Colormap(**attributes["colormap"]).map(np.array([0.0 if low == 0 else 0.5]))
        assert middle[0, 3] == 0, "where a map says nothing, the image is seen"
        assert data is explanation.values or np.shares_memory(data, explanation.values)


def test_a_map_of_zeros_has_limits_that_napari_takes() -> None:
    image = np.zeros((16, 16), np.float32)
    network = halving()
    explanation = ns.explain(network, image, "saliency", "cell")
    explanation.values[:] = 0
    ((data, attributes, kind),) = explanation.to_layer_data()
    assert Layer.create(data, attributes, kind).contrast_limits == [0, 1]


def test_predictions_are_labels_with_names_and_colours(rng: np.random.Generator) -> None:
    image = rng.random((16, 24)).astype(np.float32)
    network = halving()
    prediction = network.predict(image)
    ((data, attributes, kind),) = prediction_data(network, prediction)
    made = Layer.create(data, attributes, kind)
    assert isinstance(made, Labels)
    np.testing.assert_array_equal(made.data, prediction.labels)
    assert list(made.features["class"]) == ["background", "cell"]
    assert made.get_color(1) == pytest.approx((0, 1, 0, 1))


def test_only_a_background_is_clear() -> None:
    colours = class_colours([("sky", (0, 0, 255)), ("Background", (9, 9, 9))])
    assert colours[0] == pytest.approx([0, 0, 1, 1])
    assert colours[1][3] == 0
    assert colours[None][3] == 0, "so is what is no class"


def test_the_record_is_plain_json_and_says_how_it_was_made(rng: np.random.Generator) -> None:
    image = rng.random((16, 16)).astype(np.float32)
    explanation = ns.explain(halving(), image, "fusion_score_map")
    fused, labels = explanation.to_layer_data()
    assert (fused[2], labels[2]) == ("image", "labels")
    for _, attributes, _ in (fused, labels):
        record = json.loads(json.dumps(attributes["metadata"][KEY]))
        assert record["method"] == "fusion_score_map"
        assert len(record["network"]["digest"]) == 64


def test_a_table_has_no_layer(rng: np.random.Generator) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    network = ns.wrap(model, {"input": {"channels": 1, "size": (8, 8)}}, device="cpu")
    explanation = ns.explain(network, rng.random((8, 8)), "score_map")
    assert explanation.axes == ("class",)
    assert explanation.to_layer_data() == []


@pytest.mark.parametrize("shape", [(16, 16, 3), (16, 16)])
def test_the_input_is_shown_as_an_image(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    channels = 3 if len(shape) == 3 else 1
    model = nn.Conv2d(channels, 2, 1)
    network = ns.wrap(model, {"task": "segmentation"}, device="cpu")
    image = rng.integers(0, 256, shape, dtype=np.uint8)
    ((data, attributes, kind),) = ns.explain(network, image, "input").to_layer_data()
    made = Layer.create(data, attributes, kind)
    assert made.rgb is (channels == 3)
    np.testing.assert_allclose(np.asarray(made.data).squeeze(), image / 255, atol=1e-6)


# --- stacks ---------------------------------------------------------------------------------------


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


def test_the_contrast_of_a_stack_is_that_of_all_its_planes() -> None:
    network = ns.wrap(torch.nn.Conv2d(1, 3, 1), {"task": "segmentation"}, device="cpu")
    film = np.random.default_rng(0).random((5, 8, 9)) * np.array([1, 9, 1, 1, 1])[:, None, None]
    spec = network.spec.model_copy(
        update={"input": network.spec.input.model_copy(update={"value_range": (0, 1)})}
    )
    found = ns.explain_stack(network.with_spec(spec), film, "score_map", 1)
    (_, attributes, _), *_ = found.to_layer_data()
    assert attributes["contrast_limits"][1] == pytest.approx(np.abs(found.values).max())
    large = np.zeros((3, 1500, 1500), np.float32)
    large[1, ::4, ::4] = 7
    assert limits(large, signed=True) == (-7, 7)

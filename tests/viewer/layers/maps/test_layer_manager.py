"""Showing to a slot again changes its layer in place, whatever its number of axes."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

import napari_neuroscope as ns
from napari_neuroscope.engine.explanation.colormaps import limits
from napari_neuroscope.engine.explanation.overlays.label_maps import labels_data
from napari_neuroscope.engine.explanation.overlays.placement import Placement
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.samples import architectures
from napari_neuroscope.viewer.layers.maps.layer_manager import LayerManager

SLOT = ("network", "image", "grad_cam")
PLACE = ("scale", "translate", "rotate", "shear", "units", "axis_labels")


@pytest.fixture(scope="module")
def network() -> ns.Network:
    return ns.wrap(architectures.UNet(classes=3).eval(), {"task": "segmentation"}, device="cpu")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.fixture
def viewer(image: np.ndarray) -> ViewerModel:
    viewer = ViewerModel()
    viewer.add_image(image, rgb=True, name="photo", scale=(0.5, 0.25), rotate=30)
    return viewer


def names_of(network: ns.Network, count: int) -> list[str]:
    """Return layers of several sizes."""
    graph = network.layers
    names = [n for n in graph if graph[n].kind == "convolution"]
    return [names[i] for i in np.linspace(0, len(names) - 1, count).astype(int)]


def show(
    viewer: ViewerModel, layer_manager: LayerManager, network: ns.Network, image, target, layer
):
    made = ns.explain(network, image, "grad_cam", target, layer=layer)
    data = made.to_layer_data(viewer.layers["photo"])
    return layer_manager.show(data, SLOT)[0], data[0]


def assert_shows(viewer: ViewerModel, layer, data) -> None:
    """Check that a layer is as one that napari makes of the same data."""
    values, attributes, _ = data
    fresh = ViewerModel()
    fresh.add_layer(
        type(viewer.layers["photo"]).create(*viewer.layers["photo"].as_layer_data_tuple())
    )
    expected = fresh.add_image(values, **attributes)
    np.testing.assert_array_equal(layer.data, values)
    for name in PLACE:
        np.testing.assert_array_equal(getattr(layer, name), getattr(expected, name), name)
    np.testing.assert_allclose(layer.affine.affine_matrix, expected.affine.affine_matrix)
    np.testing.assert_allclose(layer.extent.world, expected.extent.world)
    assert viewer.dims.ndim == fresh.dims.ndim
    np.testing.assert_allclose(viewer.dims.range, fresh.dims.range)
    assert viewer.dims.axis_labels == fresh.dims.axis_labels
    assert layer.metadata[KEY] == attributes["metadata"][KEY]


def test_another_number_of_axes_keeps_the_layer(viewer, network, image) -> None:
    layer_manager = LayerManager(viewer)
    few, many = names_of(network, 2), names_of(network, 4)
    asked = [(1, few[0]), (1, many), ([0, 1, 2], many), ([0, 1], few[1]), (2, few[1]), (1, few[0])]
    first, seen = None, ""
    for target, layers in asked:
        layer, data = show(viewer, layer_manager, network, image, target, layers)
        first = first or layer
        assert layer is first
        assert_shows(viewer, layer, data)
        axes = data[1]["metadata"][KEY]["axes"]
        if "layer" in axes:
            step = viewer.dims.current_step[axes.index("layer")]
            last = len(layers) - 1
            assert step == (layers.index(seen) if seen in layers else last), "it stays by its name"
            seen = layers[step]
        else:
            seen = layers
        # What is on the canvas is the step that the sliders show, not the last view's.
        shown = layer.data[tuple(viewer.dims.current_step[: layer.ndim - 2])]
        np.testing.assert_array_equal(layer._slice.image.raw, shown)
        assert layer.contrast_limits == pytest.approx(limits(shown, signed=False))
    assert len(viewer.layers) == 2


def test_how_it_looks_is_the_users(viewer, network, image) -> None:
    layer_manager = LayerManager(viewer)
    few, many = names_of(network, 2), names_of(network, 4)
    layer, _ = show(viewer, layer_manager, network, image, 1, few[0])
    layer.opacity, layer.blending, layer.visible = 0.3, "additive", False
    layer.colormap, layer.contrast_limits = "green", (0.1, 0.2)
    layer, _ = show(viewer, layer_manager, network, image, 1, many)
    assert (layer.opacity, str(layer.blending)) == (0.3, "additive")
    assert layer.visible, "what was asked for is seen"
    assert layer.colormap.name == "green"
    assert layer.contrast_limits == [0.1, 0.2]


def test_who_follows_a_layers_place_is_told(viewer, network, image) -> None:
    layer_manager = LayerManager(viewer)
    fine, coarse = names_of(network, 3)[0], names_of(network, 3)[1]
    layer, _ = show(viewer, layer_manager, network, image, 1, fine)
    told: list[str] = []
    for name in ("scale", "translate", "data", "rotate"):
        getattr(layer.events, name).connect(lambda event: told.append(event.type))
    scale = tuple(layer.scale)
    layer, _ = show(viewer, layer_manager, network, image, 1, coarse)
    assert tuple(layer.scale) != scale
    assert sorted(told) == ["data", "scale", "translate"], "of each once, and of no other"


def test_label_maps_of_volumes_are_added_in_3d(rng: np.random.Generator) -> None:
    """Napari can't yet tell what lies under a cursor that has not moved in 3D."""
    viewer = ViewerModel()
    viewer.mouse_over_canvas = True
    image = viewer.add_image(rng.random((4, 8, 8)), name="volume", scale=(2, 1, 1))
    viewer.dims.ndisplay = 3
    classes = [("background", (0, 0, 0)), ("cell", (255, 0, 0))]
    labels = rng.integers(0, 2, (4, 8, 8))
    placement = Placement.of(image, "zyx")
    data = labels_data(labels, Grid.of_image(labels.shape), placement, "Prediction", classes, {})
    (layer,) = LayerManager(viewer).show([data], SLOT)
    assert viewer.layers.selection.active is layer
    np.testing.assert_array_equal(layer.scale, image.scale)
    viewer.update_status_from_cursor()
    assert "Prediction" in str(viewer.status)

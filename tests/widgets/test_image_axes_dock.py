"""The dock reads an image's axes as `ns.explain` does, and its maps lie over the image as drawn."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from napari.layers import Image, Layer
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.evaluation.evolution import Evolution
from napari_neuroscope.engine.explain import crop as parts
from napari_neuroscope.engine.explanation.overlays.class_labels import classes_of_labels
from napari_neuroscope.engine.explanation.overlays.place import Place
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.images import pyramid
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.tiles import tiling as tiles
from napari_neuroscope.viewer.image.camera import window_in_view
from napari_neuroscope.viewer.image.image_pixels import Pixels
from napari_neuroscope.viewer.image.shown_image import axes_of_layer
from napari_neuroscope.viewer.io.readers import read
from napari_neuroscope.viewer.io.writers import write_tiff
from napari_neuroscope.viewer.layers.maps import multiscale_map as growing

SIZES = {"t": 3, "z": 8, "y": 16, "x": 20}


def network_of(channels: int, space: str = "yx", **spec: Any) -> ns.Network:
    torch.manual_seed(0)
    convolution = nn.Conv2d if space == "yx" else nn.Conv3d
    model = nn.Sequential(
        convolution(channels, 4, 3, padding=1), nn.ReLU(), convolution(4, 2, 3, padding=1)
    )
    stated = {"task": "segmentation", "classes": ["a", "b"],
              "input": {"channels": channels, "axes": f"bc{space}"}}  # fmt: skip
    return ns.wrap(model, {**stated, **spec}, name="axes", device="cpu")


def image_of(axes: str, channels: int) -> np.ndarray:
    shape = tuple(channels if axis == "c" else SIZES[axis] for axis in axes)
    return np.random.default_rng(0).random(shape, np.float32)


def corners(layer: Any, axes: tuple[int, ...]) -> np.ndarray:
    """The outer corners of a layer's pixels in the world, along some of its axes."""
    found = []
    for ends in product((0, 1), repeat=len(axes)):
        at = np.zeros(layer.ndim)
        at[list(axes)] = [
            layer.data.shape[n] - 0.5 if end else -0.5 for n, end in zip(axes, ends, strict=True)
        ]
        found.append(np.asarray(layer.data_to_world(at))[list(axes)])
    return np.array(found)


def maps(viewer: Any) -> list[Any]:
    return [layer for layer in viewer.layers if "method" in layer.metadata.get(KEY, {})]


@pytest.mark.parametrize(
    ("axes", "channels", "stated", "labels"),
    [
        ("yxc", 2, None, None), ("yxc", 2, "yxc", None), ("xyc", 3, "xyc", None),
        ("zyxc", 2, "zyxc", None), ("cyx", 5, None, None), ("xy", 1, "xy", None),
        ("ytcx", 2, None, ("y", "t", "c", "x")), ("xyt", 1, None, ("x", "y", "time")),
        ("tyxc", 2, "yxc", None),
    ],
)  # fmt: skip
def test_the_map_is_that_of_explain_and_lies_over_the_image(
    viewer, opened, explained, qtbot, tmp_path: Path, axes, channels, stated, labels
) -> None:
    space = "zyx" if "z" in axes else "yx"
    network = network_of(channels, space, **({"image_axes": stated} if stated else {}))
    image, letters = image_of(axes, channels), axes
    steps = tuple(0.5 + n for n in range(len(axes)))
    layer = viewer.add_image(image, name="image", rgb=False, scale=steps, axis_labels=labels)
    viewer.dims.set_current_step(axes.index("t") if "t" in axes else 0, 1)
    inspector = opened(sample=None, network=None)
    inspector.add_network(network)
    qtbot.waitUntil(inspector.ready, timeout=10_000)
    inspector.choose_method("saliency")
    inspector.choose_classes([1])
    explained(inspector)
    (shown,) = maps(viewer)
    if "t" in axes:
        plane, letters = image.take(1, axes.index("t")), axes.replace("t", "")
    else:
        plane = image
    # By hand in the order that the network has, channels first.
    first = [axis for axis in f"c{space}" if axis in letters]
    given = plane.transpose([letters.index(axis) for axis in first])
    straight = network_of(channels, space, image_axes="".join(first))
    expected = ns.explain(straight, given, "saliency", 1).values
    if "t" not in axes:
        np.testing.assert_array_equal(ns.explain(network, image, "saliency", 1).values, expected)
    # The map's axes are the layer's: those of space where they are there, one step of the others.
    along = [axis for axis in axes if axis in space]
    turned = expected.transpose([space.index(axis) for axis in along])
    sizes = [SIZES[axis] if axis in space else 1 for axis in axes]
    np.testing.assert_array_equal(shown.data, turned.reshape(sizes))
    positions = tuple(axes.index(axis) for axis in along)
    np.testing.assert_allclose(corners(shown, positions), corners(layer, positions), atol=1e-9)
    drawn = tuple(n for n in viewer.dims.displayed if axes[n] != "t")
    np.testing.assert_allclose(corners(shown, drawn), corners(layer, drawn), atol=1e-9)
    # What is saved of it comes back to the same place.
    shown.name = "map"
    (path,) = write_tiff(str(tmp_path / "map"), [shown.as_layer_data_tuple()])
    (back,) = (Layer.create(*one) for one in read(path))
    np.testing.assert_array_equal(back.data, shown.data)
    np.testing.assert_allclose(corners(back, positions), corners(shown, positions), atol=1e-9)


def test_several_slices_wherever_their_axis_is(viewer, opened, explained, qtbot) -> None:
    network, image = network_of(2), image_of("ytcx", 2)
    layer = viewer.add_image(image, axis_labels=("y", "t", "c", "x"), name="film")
    inspector = opened(sample=None, network=None)
    inspector.add_network(network)
    qtbot.waitUntil(inspector.ready, timeout=10_000)
    inspector.choose_method("saliency")
    inspector.choose_classes([1])
    inspector.form.planes.choose_range("t", 1, 2)
    explained(inspector)
    (shown,) = maps(viewer)
    assert shown.data.shape == (16, 2, 1, 20)
    alone = ns.explain(network, image[:, 2].transpose(1, 0, 2), "saliency", 1).values
    np.testing.assert_array_equal(shown.data[:, 1, 0], alone)
    np.testing.assert_allclose(corners(shown, (0, 3)), corners(layer, (0, 3)))
    assert shown.data_to_world((0, 1, 0, 0))[1] == layer.data_to_world((0, 2, 0, 0))[1]


def test_the_prediction_and_a_click_lie_where_they_are_seen(viewer, opened, qtbot) -> None:
    network, image = network_of(3, image_axes="xyc"), image_of("xyc", 3)
    layer = viewer.add_image(image, name="turned", rgb=False, scale=(2, 3, 1))
    inspector = opened(sample=None, network=None)
    inspector.add_network(network)
    qtbot.waitUntil(inspector.ready, timeout=10_000)
    inspector.show_prediction()
    qtbot.waitUntil(lambda: "Prediction" in viewer.layers[-1].name, timeout=10_000)
    labels = viewer.layers[-1]
    classes = classes_of_labels(labels.data[..., 0], labels.features, network.class_names)
    np.testing.assert_array_equal(classes, network.predict(image).labels.T)
    np.testing.assert_allclose(corners(labels, (0, 1)), corners(layer, (0, 1)))
    inspector.ask_tool.ask_at(layer.data_to_world((7, 5, 0)))
    qtbot.waitUntil(lambda: "Questions" in viewer.layers, timeout=10_000)
    assert viewer.layers["Questions"].data[0, :2].tolist() == [7, 5]
    at = ns.Target(int(network.predict(image).labels[5, 7]), (5, 7))
    (made,) = [one for one in maps(viewer) if "layers" in one.metadata[KEY]]
    method, (name,) = made.metadata[KEY]["method"], made.metadata[KEY]["layers"]
    expected = ns.explain(network, image, method, at, name)
    np.testing.assert_allclose(made.data[..., 0], expected.values.T, atol=1e-6)


def test_what_is_drawn_on_a_turned_image_is_a_region_of_it(viewer, opened, qtbot) -> None:
    network, image = network_of(3, image_axes="xyc"), image_of("xyc", 3)
    viewer.add_image(image, name="turned", rgb=False)
    inspector = opened(sample=None, network=None)
    inspector.add_network(network)
    qtbot.waitUntil(inspector.ready, timeout=10_000)
    step = viewer.dims.current_step[2]
    square = [[2, 3, step], [2, 6, step], [9, 6, step], [9, 3, step]]
    shapes = viewer.add_shapes([np.array(square, float)], shape_type="polygon", name="ROI")
    inspector.choose_classes([1])
    from napari_neuroscope.viewer.image.layer_regions import LayerRegion

    inspector.session.region = LayerRegion(shapes)
    (target,) = inspector.session.targets(network, viewer)
    expected = np.zeros((16, 20), bool)
    expected[3:7, 2:10] = True
    np.testing.assert_array_equal(target.region.mask.values, expected)


def test_what_is_in_view_of_a_turned_image(viewer) -> None:
    layer = viewer.add_image(image_of("xyc", 3), name="turned", rgb=False)
    network = network_of(3, image_axes="xyc")
    viewer.dims.order = (2, 1, 0)
    viewer.reset_view()
    pixels = Pixels.of(layer, axes_of_layer(layer, network).space, viewer)
    assert pixels.shape == (16, 20)
    assert window_in_view(pixels, viewer) == ((0, 16), (0, 20))
    camera = viewer.camera
    camera.center, camera.zoom = (0, 8, 4.5), camera.zoom * 8
    (top, bottom), (left, right) = window_in_view(pixels, viewer)
    assert top <= 8 < bottom < 16
    assert left <= 4 < right < 20


def test_axes_of_another_layer_are_said(viewer, opened, qtbot) -> None:
    viewer.add_image(image_of("yx", 1), name="flat")
    inspector = opened(sample=None, network=None)
    inspector.add_network(network_of(2, image_axes="yxc"))
    qtbot.waitUntil(lambda: "does not fit" in inspector.form.reason.text(), timeout=10_000)


def test_a_growing_map_has_the_layer_s_axes(rng: np.random.Generator) -> None:
    """Of a large image it is sliced as it is laid out, and no more of it is read."""
    place = Place((3, 0), others=((1, 2, 1), (2, 0, 1)))
    values = rng.random((2, 300, 400), np.float32)
    pyramid = growing.make_room(values.shape, 2)
    pyramid.levels[0][:] = values
    level = growing.Level(pyramid, 0, 1, place)
    laid = place.laid(values, 1)
    assert level.shape == laid.shape == (2, 400, 1, 1, 300)
    for cut in (np.s_[1], np.s_[0, 3:9, 0, :, 5], np.s_[..., 0, 0, 2:4], np.s_[:, 7, 0, 0, :]):
        np.testing.assert_array_equal(level[cut], laid[cut])
    np.testing.assert_array_equal(np.asarray(level), laid)


def test_files_of_the_images_dock_keep_their_axes(viewer, qtbot, tmp_path: Path) -> None:
    image = image_of("czyx", 2)
    tifffile.imwrite(tmp_path / "a.ome.tif", image, metadata={"axes": "CZYX"})
    network = network_of(2)
    _, inspector = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
    inspector.choose_method("grad_cam")
    _, dock = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Images")
    try:
        inspector.add_network(network)
        qtbot.waitUntil(lambda: inspector.session.network is network, timeout=10_000)
        dock.images.add_files(str(tmp_path / "a.ome.tif"))
        qtbot.waitUntil(lambda: len(dock.images.pairs) == 8, timeout=10_000)
        inspector.session.show_image("a.ome.tif [3]")
        qtbot.waitUntil(lambda: "Prediction" in viewer.layers, timeout=10_000)
        assert tuple(inspector.session.image.axis_labels) == ("c", "y", "x")
        expected = network.predict(image[:, 3]).labels
        labels = viewer.layers["Prediction"]
        classes = classes_of_labels(labels.data[0], labels.features, network.class_names)
        np.testing.assert_array_equal(classes, expected)
    finally:
        dock.close_work()
        inspector.close_work()


def test_a_map_from_outside_takes_an_index_on_the_first_axes(rng: np.random.Generator) -> None:
    explanation = ns.explain(network_of(1), rng.random((16, 20)), "saliency", 1)
    source = Image(np.zeros((5, 16, 20)), scale=(2, 1, 1))
    ((data, attributes, _),) = explanation.to_layer_data(source, (3,))
    assert data.shape == (1, 16, 20)
    assert attributes["translate"].tolist() == [6, 0, 0]
    assert explanation.grid == Grid.of_image((16, 20))


def test_the_plot_and_the_tiles_follow_a_turned_image(viewer, opened, explained, qtbot) -> None:
    """Maps of several layers are measured in a region, and laid out, along the image's own axes."""
    network, image = network_of(3, image_axes="xyc"), image_of("xyc", 3)
    viewer.add_image(image, name="turned", rgb=False)
    painted = np.zeros((20, 16, 3), int)
    painted[2:9, 4:12] = 1
    viewer.add_labels(painted, name="ROI")
    inspector = opened(sample=None, network=None)
    inspector.add_network(network)
    qtbot.waitUntil(inspector.ready, timeout=10_000)
    layers = ["0", "1"]
    inspector.choose_layers(layers)
    inspector.choose_classes([1])
    explained(inspector)
    _, dock = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Evolution")
    try:
        dock.region_box.setCurrentText("ROI: all labels")
        qtbot.waitUntil(lambda: dock.evolution is not None, timeout=10_000)
        made = ns.explain(network, image, "grad_cam", 1, layers)
        expected = Evolution.of(made.values, layers, painted[..., 0].T > 0)
        np.testing.assert_allclose(dock.evolution.share, expected.share, rtol=1e-5)
        dock.show_side_by_side()
        shape = viewer.layers["Side by side: image"].data.shape
        assert shape[0] < shape[1], "two tiles in a row, each 20 by 16"
    finally:
        dock.close_work()


def test_a_large_turned_image_grows_tile_by_tile(
    viewer, opened, qtbot, monkeypatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(parts, "ONE_PASS", 100 * 100)
    monkeypatch.setitem(tiles.DEFAULT_TILE, 2, 70)
    monkeypatch.setattr(pyramid, "_ALONE", {2: 128})
    monkeypatch.setattr(pyramid, "_COARSEST", 64)
    image = rng.random((150, 130, 2), np.float32)
    network = network_of(2, image_axes="xyc", input={"channels": 2, "value_range": [0, 1]})
    layer = viewer.add_image(image, name="slide", rgb=False)
    inspector = opened(sample=None, network=None)
    inspector.add_network(network)
    qtbot.waitUntil(inspector.ready, timeout=10_000)
    inspector.choose_method("score_map")
    inspector.choose_classes([1])
    assert "tile by tile" in inspector.form.extent.note.text()
    inspector.explain()
    qtbot.waitUntil(lambda: not inspector.jobs.busy, timeout=30_000)
    (shown,) = maps(viewer)
    assert shown.multiscale
    expected = network.predict(image).scores[1]
    np.testing.assert_allclose(np.asarray(shown.data[0])[..., 0], expected.T, atol=1e-5)
    at = np.array([[-0.5, -0.5, 0], [149.5, 129.5, 0]])
    for one in at:
        np.testing.assert_allclose(shown.data_to_world(one)[:2], layer.data_to_world(one)[:2])

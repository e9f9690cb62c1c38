"""The layer that is looked at in the dock “Architecture”: its properties and its receptive field."""

from __future__ import annotations

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.graph.receptive_field import box, receptive_field
from napari_neuroscope.viewer.layers.receptive_field_box import TITLE
from napari_neuroscope.viewer.layers.thumbnails import layer_maps
from napari_neuroscope.widgets.architecture.dock import Architecture


@pytest.fixture
def dock(opened, open_dock, qtbot) -> Architecture:
    inspector, made = opened(), open_dock("Architecture")
    made.inspector = inspector
    qtbot.waitUntil(lambda: not made.jobs.busy, timeout=30_000)
    return made


def look_at(dock: Architecture, name: str, qtbot) -> None:
    dock.pick(name, False)
    panel = dock.properties
    qtbot.waitUntil(
        lambda: panel.activation is not None and panel.activation.layer == name, timeout=30_000
    )


def test_a_layer_is_described(dock: Architecture, qtbot) -> None:
    look_at(dock, "enc2.conv1", qtbot)
    words, graph = dock.properties.text.text(), dock.session.network.layers
    assert "enc2.conv1" in words
    assert graph["enc2.conv1"].description in words.replace("&#x27;", "'")
    assert f"{graph['enc2.conv1'].parameters:,}" in words
    size = receptive_field(graph, "enc2.conv1").size
    assert f"{size[0]} × {size[1]} pixels of the input, 2 × 2 from the next" in words
    found = dock.properties.activation.statistics
    assert f"of {len(found)} channels dead" in words
    histogram = dock.properties.histogram
    assert not histogram.isHidden()
    assert not histogram.figure.axes, "nobody sees it"
    dock.window().show()
    qtbot.waitUntil(histogram.isVisible, timeout=10_000)
    assert histogram.figure.axes
    dock.window().hide()


def test_what_is_chosen_in_the_inspector_is_described(dock: Architecture, qtbot) -> None:
    dock.inspector.choose_layers(["dec1"])
    panel = dock.properties
    qtbot.waitUntil(
        lambda: panel.activation is not None and panel.activation.layer == "dec1", timeout=30_000
    )
    assert "dec1" in panel.text.text()


@pytest.mark.parametrize("turned", [False, True])
def test_a_click_draws_what_the_unit_sees(dock: Architecture, viewer, qtbot, turned: bool) -> None:
    session = dock.session
    image = session.image
    if turned:
        image.rotate, image.scale, image.translate = 30, (2, 3), (5, -7)
    look_at(dock, "pool2", qtbot)
    panel = dock.properties
    panel.field.setChecked(True)
    pixel = (100, 203)
    panel.show_field(tuple(image.data_to_world(pixel)))
    layer = viewer.layers[TITLE]
    graph, grid = session.network.layers, panel.activation.grid
    unit = tuple(
        int(i) for i in np.floor(np.array(pixel) / image.data.shape[0] * panel.activation.units[0])
    )
    assert f"Unit ({unit[0]}, {unit[1]}) of pool2 sees" in panel.note.text()
    assert grid.shape == graph.input_shape
    ((top, bottom), (left, right)) = box(graph, "pool2", unit)
    expected = np.array([(top, left), (top, right), (bottom, right), (bottom, left)]) - 0.5
    expected = expected * np.array(grid.scale) + np.array(grid.offset)
    drawn = [image.world_to_data(layer.data_to_world(corner)) for corner in layer.data[0]]
    np.testing.assert_allclose(drawn, expected, atol=1e-6)
    assert session.image is image

    # Another click, and another layer, move the same box.
    panel.show_field(tuple(image.data_to_world((0, 0))))
    assert len([one for one in viewer.layers if one.name.startswith(TITLE)]) == 1
    before = layer.data[0].copy()
    look_at(dock, "enc1.conv1", qtbot)
    assert not np.allclose(layer.data[0], before)
    assert "sees 2 × 2 pixels of the image" in panel.note.text()

    panel.show_field(tuple(image.data_to_world((-50, 3))))
    assert "outside of the image" in panel.note.text()
    panel.field.setChecked(False)
    assert TITLE not in viewer.layers


def test_the_box_is_no_region_of_a_target(dock: Architecture, viewer, qtbot) -> None:
    look_at(dock, "pool2", qtbot)
    dock.properties.field.setChecked(True)
    dock.properties.show_field(tuple(dock.session.image.data_to_world((50, 50))))
    part = dock.inspector.form.target.region_box
    boxes = [part.itemText(row) for row in range(part.count())]
    assert not any(TITLE in text for text in boxes)


def test_a_single_layer_and_a_block_have_their_maps(dock: Architecture) -> None:
    session = dock.session
    image = np.asarray(session.image.data)
    one = ns.explain(session.network, image, "grad_cam", 1, layer="enc2")
    maps = layer_maps(one)
    assert list(maps) == ["enc2"]
    assert maps["enc2"].shape[-1] == 4
    dock.unfold("all")
    session.explanation = one
    assert "enc2" in dock.scene.pictures


def test_closing_ends_the_clicks(dock: Architecture, viewer, qtbot) -> None:
    look_at(dock, "pool2", qtbot)
    dock.properties.field.setChecked(True)
    count = len(viewer.mouse_drag_callbacks)
    dock.close_work()
    assert len(viewer.mouse_drag_callbacks) == count - 1

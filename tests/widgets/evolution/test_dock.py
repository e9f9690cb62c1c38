"""The plot of a map's evolution: measured where it is shown, marked at the slider, clicked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

import napari_neuroscope as ns
from napari_neuroscope.engine.evaluation.evolution import Evolution
from napari_neuroscope.engine.explanation.colormaps import limits
from napari_neuroscope.engine.images.grid import Grid, resample, resample_nearest
from napari_neuroscope.viewer.layers.maps.stack_follower import text_overlay
from napari_neuroscope.widgets.evolution.dock import EvolutionPlot
from plots import click

LAYERS = ("enc1", "enc3", "dec2", "dec1")
TRUTH = "Nuclei, ground truth"


@pytest.fixture
def plot(open_dock) -> Callable[[], EvolutionPlot]:
    return lambda: open_dock("Evolution")


def settled(dock: EvolutionPlot, qtbot) -> None:
    qtbot.wait(200)
    qtbot.waitUntil(lambda: not dock.jobs.busy, timeout=30_000)


def explain_stack(inspector, explained, layers=LAYERS) -> None:
    inspector.choose_layers(layers)
    inspector.choose_classes([1])
    explained(inspector)


def test_it_measures_the_stack_that_is_shown(opened, explained, plot, viewer, qtbot) -> None:
    inspector, dock = opened(), plot()
    assert "Explain several layers" in dock.message.text()
    explain_stack(inspector, explained)
    dock.region_box.setCurrentText(f"{TRUTH}: all labels")
    settled(dock, qtbot)
    network, image = ns.load("demo:nuclei"), viewer.layers["Nuclei"].data
    made = ns.explain(network, image, "grad_cam", 1, list(LAYERS))
    inside = resample_nearest(viewer.layers[TRUTH].data > 0, made.image, made.grid)
    expected = Evolution.of(made.values, LAYERS, inside)
    assert dock.evolution.layers == LAYERS
    np.testing.assert_allclose(dock.evolution.share, expected.share, rtol=1e-5)
    np.testing.assert_allclose(dock.evolution.correlation, expected.correlation, atol=1e-5)
    line = dock.plot.axes[0].lines[0]
    np.testing.assert_allclose(line.get_ydata(), expected.share, rtol=1e-5)
    labels = [label.get_text() for label in dock.plot.axes[1].get_xticklabels()]
    assert labels == list(LAYERS)


def test_the_marker_is_the_slider_both_ways(opened, explained, plot, viewer, qtbot) -> None:
    inspector, dock = opened(), plot()
    explain_stack(inspector, explained)
    settled(dock, qtbot)
    viewer.dims.set_current_step(0, 1)
    assert list(dock.plot.markers[0].get_xdata()) == [1, 1]
    measured = dock.evolution
    click(dock.plot.axes[1], 2.2, 0)
    assert viewer.dims.current_step[0] == 2
    assert list(dock.plot.markers[1].get_xdata()) == [2, 2]
    # Moving the slider measures nothing anew.
    assert dock.evolution is measured


def test_it_follows_new_maps_regions_and_what_is_hidden(
    opened, explained, plot, viewer, qtbot
) -> None:
    inspector, dock = opened(), plot()
    explain_stack(inspector, explained)
    settled(dock, qtbot)
    first = dock.evolution
    inspector.choose_layers(LAYERS[1:])
    explained(inspector)
    settled(dock, qtbot)
    assert dock.evolution.layers == LAYERS[1:]
    corner = np.zeros((360, 360), np.int32)
    corner[:20, :20] = 1
    viewer.add_labels(corner, name="Corner")
    dock.region_box.setCurrentText("Corner: all labels")
    settled(dock, qtbot)
    assert dock.evolution.by_chance < first.by_chance
    viewer.layers.remove("Corner")
    settled(dock, qtbot)
    assert dock.region_box.findText("Corner: all labels") == -1
    stack = next(layer for layer in viewer.layers if "layer" in layer.axis_labels)
    stack.visible = False
    settled(dock, qtbot)
    assert dock.evolution is None
    assert "Explain several layers" in dock.message.text()


def test_without_a_region_it_says_what_to_do(opened, explained, plot, viewer, qtbot) -> None:
    inspector, dock = opened(), plot()
    viewer.layers.remove(TRUTH)
    explain_stack(inspector, explained)
    settled(dock, qtbot)
    assert "Add a Labels or Shapes layer" in dock.message.text()
    labels = viewer.add_labels(np.zeros((360, 360), np.int32), name="Empty")
    settled(dock, qtbot)
    assert "nothing of all labels" in dock.message.text()
    assert dock.evolution is None
    dock.close_work()
    viewer.layers.remove(labels)


def test_the_overlay_says_the_shape_of_the_layer(opened, explained, viewer) -> None:
    inspector = opened()
    explain_stack(inspector, explained)
    stack = next(layer for layer in viewer.layers if "Grad-CAM" in layer.name)
    axis = viewer.dims.ndim - stack.ndim
    for step, name in enumerate(LAYERS):
        viewer.dims.set_current_step(axis, step)
        shape = " × ".join(map(str, inspector.session.network.layers[name].output_shape))
        assert text_overlay(viewer).text == f"nucleus · Grad-CAM · {name} · {shape}"


def test_one_contrast_for_all_layers_or_one_each(opened, explained, plot, viewer) -> None:
    inspector, dock = opened(), plot()
    explain_stack(inspector, explained)
    stack = next(layer for layer in viewer.layers if "Grad-CAM" in layer.name)
    axis = viewer.dims.ndim - stack.ndim
    robust = [limits(values, signed=False)[1] for values in stack.data]
    own = [float(np.abs(values).max()) for values in stack.data]
    assert robust < own

    def highest() -> list[float]:
        found = []
        for step in range(len(LAYERS)):
            viewer.dims.set_current_step(axis, step)
            found.append(stack.contrast_limits[1])
        return found

    assert highest() == pytest.approx(robust)
    dock.maximum_box.setChecked(True)
    assert highest() == pytest.approx(own)
    dock.common_box.setChecked(True)
    assert stack.contrast_limits[1] == pytest.approx(max(own))
    assert highest() == pytest.approx([max(own)] * len(own))
    dock.common_box.setChecked(False)
    assert highest() == pytest.approx(own)
    # What the user has set stays.
    stack.contrast_limits = (0, own[0] / 3)
    dock.common_box.setChecked(True)
    assert highest() == pytest.approx([own[0] / 3] * len(own))


@pytest.mark.parametrize("common", [False, True])
def test_layers_side_by_side(opened, explained, plot, viewer, common: bool) -> None:
    inspector, dock = opened(), plot()
    explain_stack(inspector, explained)
    dock.common_box.setChecked(common)
    dock.maximum_box.setChecked(True)
    before = list(viewer.layers)
    held = [(layer.data, layer.contrast_limits) for layer in before if hasattr(layer, "rgb")]
    dock.beside_button.click()
    tiles = [layer for layer in viewer.layers if layer not in before]
    assert [layer.name for layer in tiles] == [
        "Side by side: image", "Side by side: Grad-CAM", "Side by side: layers",
    ]  # fmt: skip
    image, maps, names = tiles
    assert list(names.text.values) == list(LAYERS)
    assert image.data.shape == maps.data.shape
    stack = next(layer for layer in before if "Grad-CAM" in layer.name)
    right = stack.extent.world[1, -1]
    assert maps.extent.world[0, 1] > right
    peaks = []
    # Each name stands a little inside of its tile.
    for corner in np.rint(names.data - 192 * np.array([0.11, 0.03])).astype(int):
        tile = maps.data[corner[0] : corner[0] + 192, corner[1] : corner[1] + 192]
        peaks.append(np.nanmax(tile))
    coarse = Grid.of_image(stack.data.shape[1:])
    fine = resample(torch.from_numpy(np.array(stack.data)), coarse, coarse.divided((192, 192)))
    if common:
        np.testing.assert_allclose(peaks, fine.amax((1, 2)), rtol=1e-5)
        assert maps.contrast_limits[1] == pytest.approx(max(peaks), rel=1e-5)
    else:
        np.testing.assert_allclose(peaks, 1, rtol=1e-5)
    # The image under each tile is the image.
    nuclei = viewer.layers["Nuclei"].data
    small = resample(torch.from_numpy(nuclei.astype(np.float32)), Grid.of_image(nuclei.shape),
                     Grid.of_image(nuclei.shape).divided((192, 192))).numpy()  # fmt: skip
    np.testing.assert_allclose(image.data[:192, :192], small, atol=2)
    # Nothing of the user's has changed, and a second time changes these layers in place.
    for layer, (data, contrast) in zip(
        [one for one in before if hasattr(one, "rgb")], held, strict=True
    ):
        assert layer.data is data
        assert layer.contrast_limits == contrast
    dock.common_box.setChecked(not common)
    dock.beside_button.click()
    again = [layer for layer in viewer.layers if layer not in before]
    assert len(again) == 3
    assert again[0] is image
    assert maps in again
    assert dock.stack == stack


def test_signed_maps_side_by_side_have_their_own_colours(opened, explained, plot, viewer) -> None:
    inspector, dock = opened(), plot()
    explain_stack(inspector, explained)
    dock.beside_button.click()
    inspector.form.method.options["relu"].value = False
    explained(inspector)
    dock.beside_button.click()
    (maps,) = [layer for layer in viewer.layers if layer.name == "Side by side: Grad-CAM"]
    low, high = maps.contrast_limits
    assert low == pytest.approx(-high)
    assert maps.colormap.name == "neuroscope signed"


def test_the_region_of_the_shown_class_follows_the_slider(
    opened, explained, plot, viewer, qtbot
) -> None:
    inspector, dock = opened(), plot()
    truth = np.array(viewer.layers[TRUTH].data > 0, int)
    truth[:40] = 2
    names = {"index": [0, 1, 2], "class": ["background", "nucleus", "border"]}
    viewer.add_labels(truth, name="classes", features=names)
    inspector.choose_layers(LAYERS)
    inspector.choose_classes([1, 2])
    explained(inspector)
    dock.region_box.setCurrentText("classes: the shown class")
    settled(dock, qtbot)
    stack = dock.stack
    axes = stack.metadata["neuroscope"]["axes"]
    at = viewer.dims.ndim - stack.ndim + axes.index("class")
    for step, index in enumerate((1, 2)):
        viewer.dims.set_current_step(at, step)
        settled(dock, qtbot)
        assert dock.evolution.by_chance == pytest.approx((truth == index).mean(), abs=1e-3)


def test_a_stack_beside_is_plotted_only_where_it_is_chosen(opened, explained, plot, viewer) -> None:
    inspector, dock = opened(), plot()
    explain_stack(inspector, explained)
    stack = dock.stack
    data, attributes, _ = stack.as_layer_data_tuple()
    about = {**attributes["metadata"]["neuroscope"], "beside": True}
    other = viewer.add_image(np.array(data), name="Second: Grad-CAM", scale=stack.scale,
                             metadata={"neuroscope": about})  # fmt: skip
    viewer.layers.selection.active = stack
    viewer.dims.events.current_step()
    assert dock.stack == stack
    viewer.layers.selection.active = other
    viewer.dims.events.current_step()
    assert dock.stack == other

"""The plot of a map's evolution: measured where it is shown, marked at the slider, clicked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.evolution import Evolution
from napari_neuroscope.engine.grid import resample_nearest
from napari_neuroscope.widgets.evolution import EvolutionPlot

LAYERS = ("enc1", "enc3", "dec2", "dec1")
TRUTH = "Nuclei, ground truth"


@pytest.fixture
def plot(viewer) -> Iterator[Callable[[], EvolutionPlot]]:
    made: list[EvolutionPlot] = []

    def open_dock() -> EvolutionPlot:
        _, dock = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Evolution")
        made.append(getattr(dock, "__wrapped__", dock))
        return made[-1]

    yield open_dock
    for dock in made:
        dock.close_work()


def settled(dock: EvolutionPlot, qtbot) -> None:
    qtbot.wait(200)
    qtbot.waitUntil(lambda: not dock.jobs.busy, timeout=30_000)


def explain_stack(inspector, explained, layers=LAYERS) -> None:
    inspector.choose_layers(layers)
    inspector.choose_classes([1])
    explained(inspector)


def test_it_measures_the_stack_that_is_shown(opened, explained, plot, viewer, qtbot) -> None:
    inspector, dock = opened(), plot()
    assert "Explain several layers" in dock._note.text()
    explain_stack(inspector, explained)
    dock._region.setCurrentText(f"{TRUTH}: all labels")
    settled(dock, qtbot)
    network, image = ns.load("demo:nuclei"), viewer.layers["Nuclei"].data
    made = ns.explain(network, image, "grad_cam", 1, list(LAYERS))
    inside = resample_nearest(viewer.layers[TRUTH].data > 0, made.image, made.grid)
    expected = Evolution.of(made.values, LAYERS, inside)
    assert dock.evolution.layers == LAYERS
    np.testing.assert_allclose(dock.evolution.share, expected.share, rtol=1e-5)
    np.testing.assert_allclose(dock.evolution.correlation, expected.correlation, atol=1e-5)
    line = dock._axes[0].lines[0]
    np.testing.assert_allclose(line.get_ydata(), expected.share, rtol=1e-5)
    labels = [label.get_text() for label in dock._axes[1].get_xticklabels()]
    assert labels == list(LAYERS)


def test_the_marker_is_the_slider_both_ways(opened, explained, plot, viewer, qtbot) -> None:
    inspector, dock = opened(), plot()
    explain_stack(inspector, explained)
    settled(dock, qtbot)
    viewer.dims.set_current_step(0, 1)
    assert list(dock._markers[0].get_xdata()) == [1, 1]
    measured = dock.evolution
    dock._clicked(SimpleNamespace(inaxes=dock._axes[1], xdata=2.2, ydata=0))
    assert viewer.dims.current_step[0] == 2
    assert list(dock._markers[1].get_xdata()) == [2, 2]
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
    dock._region.setCurrentText("Corner: all labels")
    settled(dock, qtbot)
    assert dock.evolution.by_chance < first.by_chance
    viewer.layers.remove("Corner")
    settled(dock, qtbot)
    assert dock._region.findText("Corner: all labels") == -1
    stack = next(layer for layer in viewer.layers if "layer" in layer.axis_labels)
    stack.visible = False
    settled(dock, qtbot)
    assert dock.evolution is None
    assert "Explain several layers" in dock._note.text()


def test_without_a_region_it_says_what_to_do(opened, explained, plot, viewer, qtbot) -> None:
    inspector, dock = opened(), plot()
    viewer.layers.remove(TRUTH)
    explain_stack(inspector, explained)
    settled(dock, qtbot)
    assert "Add a Labels or Shapes layer" in dock._note.text()
    labels = viewer.add_labels(np.zeros((360, 360), np.int32), name="Empty")
    settled(dock, qtbot)
    assert "nothing of all labels" in dock._note.text()
    assert dock.evolution is None
    dock.close_work()
    viewer.layers.remove(labels)

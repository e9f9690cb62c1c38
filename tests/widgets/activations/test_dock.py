"""The activation browser: measured, sorted, added as layers and as a mosaic; what it follows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.evaluation.channel_statistics import channel_statistics
from napari_neuroscope.engine.passes.target import Target
from napari_neuroscope.widgets.activations.channel_table import HEADINGS
from napari_neuroscope.widgets.activations.dock import ActivationBrowser
from plots import click

LAYER = "enc2"


@pytest.fixture
def browser(open_dock) -> Callable[[], ActivationBrowser]:
    return lambda: open_dock("Activations")


@pytest.fixture
def settled(qtbot) -> Callable[[ActivationBrowser], None]:
    def settle(dock: ActivationBrowser) -> None:
        qtbot.wait(200)
        qtbot.waitUntil(lambda: not dock.busy, timeout=30_000)
        # A mosaic follows what was measured.
        qtbot.wait(50)
        qtbot.waitUntil(lambda: not dock.busy, timeout=30_000)

    return settle


@pytest.fixture
def shown(opened, browser, settled) -> tuple:
    inspector, dock = opened(), browser()
    inspector.choose_layers([LAYER])
    inspector.choose_classes([1])
    settled(dock)
    return inspector, dock


def added(viewer):
    (layer,) = [one for one in viewer.layers if "channel" in one.axis_labels]
    return layer


def test_it_shows_the_figures_of_the_layer(shown, viewer) -> None:
    inspector, dock = shown
    network, image = ns.load("demo:nuclei"), viewer.layers["Nuclei"].data
    expected = channel_statistics(network, image, LAYER, Target(1))
    np.testing.assert_allclose(dock.statistics.mean, expected.mean, rtol=1e-5)
    np.testing.assert_allclose(dock.statistics.relevance, expected.relevance, rtol=1e-3, atol=1e-4)
    layer = network.layers[LAYER]
    title = dock.title.text()
    assert title.startswith(f"{LAYER}\n")
    assert f"{layer.parameters:,} parameters" in title
    assert " × ".join(map(str, inspector.session.network.layers[LAYER].output_shape)) in title
    dead = int(expected.dead.sum())
    assert f"{dead} of {len(expected)} channels are dead" in dock.measured_note.text()
    (axes,) = dock.figure.axes
    np.testing.assert_array_equal(axes.patches[0].get_data().values, expected.counts)


def test_it_sorts_as_numbers(shown) -> None:
    _, dock = shown
    for heading, values in (
        ("Mean", dock.statistics.mean),
        ("Max", dock.statistics.max),
        ("Relevance", dock.statistics.relevance),
    ):
        dock.table.sort_by(heading, descending=True)
        order = dock.table.channels()
        assert np.all(np.diff(values[order]) <= 0)
        assert dock.table.texts("Channel") == [str(n) for n in order]
    dock.table.sort_by("Channel")
    assert dock.table.channels() == list(range(len(dock.statistics)))


def test_channels_lie_over_the_image(shown, viewer, settled) -> None:
    _, dock = shown
    assert not dock.add_button.isEnabled()
    source = viewer.layers["Nuclei"]
    source.scale, source.translate = (0.5, 2.0), (10.0, -3.0)
    dock.table.select([5, 2])
    assert dock.add_button.isEnabled()
    dock.add_button.click()
    settled(dock)
    layer = added(viewer)
    network = ns.load("demo:nuclei")
    expected = ns.explain(network, source.data, "activation", layer=LAYER).values
    np.testing.assert_allclose(layer.data, expected[[2, 5]], rtol=1e-4, atol=1e-5)
    assert layer.metadata["neuroscope"]["labels"]["channel"] == ["2", "5"]
    # Both cover the same part of the world.
    np.testing.assert_allclose(
        layer.extent.world[:, 1:],
        source.extent.world + _half_pixels(source, layer),
        atol=1e-6,
    )
    # Others take their place in the same layer, whose look is the user's.
    layer.opacity = 0.4
    dock.table.opened.emit(3)
    settled(dock)
    assert added(viewer) is layer
    assert layer.opacity == 0.4
    np.testing.assert_allclose(layer.data, expected[[3]], rtol=1e-4, atol=1e-5)


def _half_pixels(source, layer) -> np.ndarray:
    """napari's extent of an image ends at the centres of its outer pixels, which differ in size."""
    half = (np.asarray(layer.scale)[1:] - np.asarray(source.scale)) / 2
    return np.array([half, -half])


def test_the_mosaic_has_the_first_channels_of_the_table(shown, viewer, settled) -> None:
    _, dock = shown
    dock.table.sort_by("Max", descending=True)
    dock.count_box.setValue(4)
    dock.tiles_button.click()
    settled(dock)
    first = dock.table.channels()[:4]
    assert dock.tiles.mosaic.names == tuple(map(str, first))
    texts = [text.get_text() for text in dock.tiles.figure.axes[0].texts]
    assert texts == list(dock.tiles.mosaic.names)
    # Sorting and counting otherwise makes another.
    dock.table.sort_by("Channel")
    dock.count_box.setValue(3)
    settled(dock)
    assert dock.tiles.mosaic.names == ("0", "1", "2")
    # A click on a tile selects its channel, a double click adds it.
    y, x = dock.tiles.mosaic.corners[1]
    (axes,) = dock.tiles.figure.axes
    click(axes, x + 1, y + 1, kind="press")
    assert dock.table.selection() == [1]
    click(axes, x + 1, y + 1, kind="press", double=True)
    settled(dock)
    assert added(viewer).metadata["neuroscope"]["labels"]["channel"] == ["1"]
    dock.tiles_button.click()
    assert dock.tiles.mosaic is None


def test_it_follows_layers_classes_images_and_networks(shown, viewer, settled) -> None:
    inspector, dock = shown
    first = dock.statistics
    dock.table.select([1])
    inspector.choose_classes([2])
    settled(dock)
    np.testing.assert_allclose(dock.statistics.mean, first.mean, rtol=1e-5)
    assert not np.allclose(dock.statistics.relevance, first.relevance)
    assert dock.table.selection() == [1]
    inspector.choose_classes([])
    settled(dock)
    assert dock.statistics.relevance is None
    assert "Choose a class" in dock.measured_note.text()
    assert dock.table.view.isColumnHidden(HEADINGS.index("Relevance"))
    inspector.choose_layers(["enc1"])
    settled(dock)
    assert dock.title.text().startswith("enc1\n")
    other = viewer.add_image(viewer.layers["Nuclei"].data[::-1] // 2, name="Other")
    before = dock.statistics
    dock.session.image = other
    settled(dock)
    assert not np.allclose(dock.statistics.mean, before.mean)
    viewer.layers.remove(other)
    settled(dock)
    np.testing.assert_allclose(dock.statistics.mean, before.mean, rtol=1e-5)


def test_it_says_what_to_choose(browser, opened, viewer, settled) -> None:
    dock = browser()
    settled(dock)
    assert "Choose a network" in dock.measured_note.text()
    assert not dock.add_button.isEnabled()
    assert not dock.tiles_button.isEnabled()
    inspector = opened()
    inspector.choose_layers([LAYER])
    settled(dock)
    assert dock.statistics is not None
    inspector.choose_layers([])
    settled(dock)
    assert dock.statistics is None
    assert "Choose a layer" in dock.measured_note.text()
    assert dock.table.texts("Channel") == []
    viewer.layers.clear()
    settled(dock)
    assert "Choose an image layer" in dock.measured_note.text()


def test_a_region_that_is_empty_costs_the_relevance_alone(shown, viewer, settled) -> None:
    _, dock = shown
    dock.session.labels = viewer.add_labels(np.zeros((360, 360), np.int32), name="Empty")
    dock.session.region = "ground_truth"
    settled(dock)
    assert dock.statistics.relevance is None
    assert len(dock.table.channels()) == len(dock.statistics)
    assert "region" in dock.measured_note.text() or "empty" in dock.measured_note.text()


def test_a_layer_without_positions_has_figures_and_no_pictures(
    opened, browser, viewer, settled
) -> None:
    inspector, dock = opened("blood_cells", "blood-cells"), browser()
    network = inspector.session.network
    dense = network.layers.of_kind("dense")[-1]
    # The inspector offers layers with positions alone for its method.
    inspector.close_work()
    dock.session.layers = (dense,)
    settled(dock)
    assert dock.statistics is not None, dock.measured_note.text()
    assert len(dock.table.channels()) == network.layers[dense].output_shape[0]
    dock.table.select([0])
    assert not dock.add_button.isEnabled()
    assert not dock.tiles_button.isEnabled()


def test_it_follows_the_plane_of_a_stack(opened, browser, viewer, settled) -> None:
    inspector, dock = opened("blood_cells", "blood-cells"), browser()
    inspector.choose_layers(["stage4"])
    settled(dock)
    first = dock.statistics
    viewer.dims.set_current_step(0, (viewer.dims.current_step[0] + 1) % 3)
    settled(dock)
    assert not np.allclose(dock.statistics.mean, first.mean)


def test_the_theme_and_the_end(shown, viewer, qtbot) -> None:
    inspector, dock = shown
    dark = dock.figure.get_facecolor()
    viewer.theme = "light"
    assert dock.figure.get_facecolor() != dark
    dock.close_work()
    last = dock.statistics
    inspector.choose_layers(["enc1"])
    viewer.theme = "dark"
    qtbot.wait(300)
    assert dock.statistics is last
    assert not dock.busy

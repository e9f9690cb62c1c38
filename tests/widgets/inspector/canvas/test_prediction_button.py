"""The button “Prediction”: shown, hidden again, and never over another image or map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.explanation.overlays.registry import kind_of
from napari_neuroscope.session.network_catalog import DEMO_TITLES
from napari_neuroscope.viewer.layers.prediction_layers import prediction_data


@pytest.fixture
def click(qtbot):
    """Click the button, and wait for what comes of it."""

    def click_and_wait(inspector: Any) -> None:
        inspector.form.prediction_button.click()
        qtbot.waitUntil(lambda: not inspector.form.prediction_button.jobs.busy, timeout=20_000)

    return click_and_wait


def predictions(viewer: Any) -> list[Any]:
    return [layer for layer in viewer.layers if layer.name.startswith("Prediction")]


def test_a_click_shows_the_prediction_and_another_hides_it(
    viewer, opened, click, explained, qtbot
) -> None:
    inspector = opened()
    button = inspector.form.prediction_button
    click(inspector)
    (layer,) = predictions(viewer)
    assert layer.name == "Prediction · nuclei"
    assert layer.visible
    assert button.isChecked()
    network = ns.load("demo:nuclei")
    predicted = network.predict(viewer.layers["Nuclei"].data)
    np.testing.assert_array_equal(layer.data, predicted.labels)
    assert list(layer.features["class"]) == ["background", "nucleus", "border"]
    click(inspector)
    assert not layer.visible
    assert not button.isChecked()
    # A map takes its place, and that of other predictions, and gives way to it in turn: they are never mixed.
    click(inspector)
    (data,) = prediction_data(network, predicted, viewer.layers["Nuclei"])
    of_images = viewer.add_labels(data[0], **data[1])
    explained(inspector)
    assert not of_images.visible
    viewer.layers.remove(of_images)
    (shown,) = [one for one in viewer.layers if kind_of(one.metadata) is not None]
    assert (shown.visible, layer.visible, button.isChecked()) == (True, False, False)
    click(inspector)
    assert (shown.visible, layer.visible, button.isChecked()) == (False, True, True)
    click(inspector)
    assert (shown.visible, layer.visible) == (True, False)
    # It doesn't pile up, also where maps are kept, and the eye in the list counts as the button.
    inspector.form.keep_button.click()
    click(inspector)
    assert predictions(viewer) == [layer]
    layer.visible = False
    assert not button.isChecked()
    click(inspector)
    assert layer.visible
    # Of another image or network it says nothing.
    viewer.add_image(np.zeros((40, 40), np.uint8), name="dark")
    inspector.form.image.choose(viewer.layers["dark"])
    assert not layer.visible
    assert not button.isChecked()
    qtbot.waitUntil(inspector.ready, timeout=20_000)
    click(inspector)
    assert [one.visible for one in predictions(viewer)] == [False, True]
    inspector.choose_network(DEMO_TITLES["blood-cells"])
    assert not any(one.visible for one in predictions(viewer))


def test_of_a_classifier_it_says_the_likeliest_classes(viewer, opened, click) -> None:
    inspector = opened("blood_cells", "blood-cells")
    click(inspector)
    network = inspector.session.network
    shares = inspector.session.network_summary.prediction.probabilities
    best = int(np.argmax(shares))
    expected = f"Predicted: {network.class_names[best]} {shares[best]:.1%}, "
    assert inspector.message.text().startswith(expected)
    assert not predictions(viewer)
    assert not inspector.form.prediction_button.isChecked()

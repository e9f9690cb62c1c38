"""The region methods in the dock: their options, the layers of their base, and what is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.widgets.parts.pickers import options_widget


@pytest.fixture
def options(qtbot) -> tuple[Any, list[dict[str, Any]]]:
    told: list[dict[str, Any]] = []
    made = options_widget(ns.methods["segmented_score_map"], told.append)
    qtbot.addWidget(made.native)
    return made, told


def test_every_option_has_a_widget_with_its_default_and_limits(options) -> None:
    made, _ = options
    method = ns.methods["segmented_score_map"]
    assert made.asdict() == {name: one.default for name, one in method.options.items()}
    assert (made.sigma.min, made.min_size.min, made.longest_side.min) == (0, 1, 8)
    made.min_size.value = 5000
    assert made.asdict()["min_size"] == 5000
    assert set(made.base.choices) >= {"score_map", "probability", "grad_cam", "saliency"}
    assert not set(made.base.choices) & {"activation", "input", "similarity_map"}


def test_scales_are_a_line_of_numbers(options) -> None:
    made, told = options
    line = made.scales.native
    assert line.text() == "50, 100, 150, 250, 500, 1200"
    line.setText("20,300.5 ,")
    assert told[-1]["scales"] == (20, 300.5)
    made.scales.value = (7, 8)
    assert line.text() == "7, 8"
    line.setText("20, many")
    with pytest.raises(ns.NeuroscopeError, match="can't take scales='20, many'"):
        ns.methods["segmented_score_map"].check_options(told[-1])


def test_layers_are_asked_for_where_the_base_has_one(viewer, opened, explained) -> None:
    inspector = opened()
    inspector.choose_method("segmented_score_map")
    inspector.choose_classes([1])
    assert inspector.form.layers.isHidden()
    inspector.form.method.options.base.value = "grad_cam"
    assert not inspector.form.layers.isHidden()
    inspector.choose_layers([])
    assert inspector.form.reason.text() == "Choose at least one layer."
    inspector.choose_layers(["enc3"])
    explained(inspector)
    image = viewer.layers["Nuclei"].data
    expected = ns.explain(
        ns.load("demo:nuclei"), image, "segmented_score_map", 1, "enc3", base="grad_cam"
    )
    order, map_ = (layer for layer in viewer.layers if KEY in layer.metadata)
    np.testing.assert_allclose(map_.data, expected.values, rtol=1e-5, atol=1e-6)
    inspector.form.method.options.base.value = "probability"
    assert inspector.form.layers.isHidden()
    explained(inspector)
    expected = ns.explain(
        ns.load("demo:nuclei"), image, "segmented_score_map", 1, base="probability"
    )
    np.testing.assert_allclose(map_.data, expected.values, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(order.data, expected.companions["order"])
    assert map_.visible
    assert not order.visible
    values = order.features.set_index("index")["probability"]
    assert values[1] == pytest.approx(expected.values[expected.companions["order"] == 1][0])


def test_similarities_are_told(viewer, opened, explained) -> None:
    inspector = opened()
    inspector.choose_method("similarity_map")
    inspector.choose_classes([1, 2])
    explained(inspector)
    assert "mean logit where nucleus is predicted: nucleus" in inspector.message.text()
    assert "border: " in inspector.message.text()
    order = next(layer for layer in viewer.layers if layer.name.startswith("Order of"))
    assert order.data.shape == (2, 360, 360)
    assert tuple(order.axis_labels) == ("class", "y", "x")
    assert len(order.metadata[KEY]["table"]["similarity"]) == 3

"""Predicted classes as a layer of labels."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels, Layer

from halving_network import halving
from napari_neuroscope.viewer.layers.prediction_layers import prediction_data


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

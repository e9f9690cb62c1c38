"""Keras models with several outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import napari_neuroscope as ns

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

import keras
from keras import layers

from keras_networks import (
    as_network,
    settled,
)


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


def many_outputs(*, named: bool) -> Any:
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(inputs)
    masks = layers.Conv2D(3, 1, name="masks")(x)
    kind = layers.Dense(2, name="kind")(layers.GlobalAveragePooling2D()(x))
    return settled(keras.Model(inputs, {"kind": kind, "masks": masks} if named else [kind, masks]))


@pytest.mark.parametrize("named", [True, False])
def test_one_of_several_outputs(named: bool, image: np.ndarray) -> None:
    model = many_outputs(named=named)
    masks = as_network(model, "segmentation", output={"index": "masks"})
    kind = as_network(model, output={"index": "kind" if named else 0})
    assert masks.predict(image).scores.shape == (3, 16, 16)
    assert kind.predict(image).scores.shape == (2,)
    assert ns.explain(masks, image, "grad_cam", 2, "conv").values.shape == (16, 16)
    with pytest.raises(ns.NeuroscopeError, match="output"):
        as_network(model, output={"index": "nothing" if named else 7}).layers

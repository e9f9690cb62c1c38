"""Weights of Keras models that change."""

from __future__ import annotations

import numpy as np
import pytest

import napari_neuroscope as ns
from closeness import assert_close

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

import keras

from keras_networks import (
    as_network,
    settled,
    vgg,
)


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


def test_changed_weights_are_noticed(image: np.ndarray) -> None:
    model = settled(vgg())
    network = as_network(model)
    first, digest = ns.explain(network, image, "saliency", 1).values, network.digest()
    model.get_layer("conv2").kernel.assign_add(np.full((3, 3, 6, 8), 0.05, np.float32))
    second = ns.explain(network, image, "saliency", 1).values
    assert np.abs(first - second).max() > 1e-6
    assert network.digest() != digest
    kernel = model.get_layer("conv2").kernel
    kernel.assign(np.asarray(kernel)[::-1])
    assert np.abs(ns.explain(network, image, "saliency", 1).values - second).max() > 1e-6
    fresh = as_network(model)
    assert_close(
        ns.explain(network, image, "saliency", 1).values,
        ns.explain(fresh, image, "saliency", 1).values,
    )


def test_a_changed_activation_is_noticed(image: np.ndarray) -> None:
    model = settled(vgg())
    network = as_network(model)
    first = ns.explain(network, image, "saliency", 1).values
    model.get_layer("conv2").activation = keras.activations.gelu
    assert np.abs(ns.explain(network, image, "saliency", 1).values - first).max() > 1e-6

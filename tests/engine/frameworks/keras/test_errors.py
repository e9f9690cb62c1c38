"""What goes wrong in a Keras model is said in a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import napari_neuroscope as ns
from closeness import assert_close

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

import keras
import tensorflow as tf
from keras import layers

from keras_networks import (
    Snapshot,
    Subclassed,
    as_network,
    same_weights,
    settled,
    unet,
    vgg,
)


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


def test_work_can_be_stopped(image: np.ndarray) -> None:
    model = settled(unet())
    before = Snapshot(model)
    counted = 0

    def count(done: int, total: int, what: str) -> None:
        nonlocal counted
        counted += 1

    ns.explain(as_network(model, "segmentation"), image, "grad_cam", 1, "all", progress=count)
    for stop in range(0, counted, max(1, counted // 12)):
        left = stop

        def cancel(done: int, total: int, what: str) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise ns.Cancelled

        network = as_network(model, "segmentation")
        with pytest.raises(ns.Cancelled):
            ns.explain(network, image, "grad_cam", 1, "all", progress=cancel)
        before.assert_unchanged()
    assert ns.explain(network, image, "grad_cam", 1, "all").values.any()


def test_errors_are_sentences(image: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    two = [keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")]
    with pytest.raises(ns.NeuroscopeError, match="takes 2 inputs"):
        as_network(keras.Model(two, layers.Add()(two)))
    with pytest.raises(ns.NeuroscopeError, match="no device “mps”"):
        ns.wrap(vgg(), device="mps")
    with pytest.raises(ns.NeuroscopeError, match="multiples of a step"):
        ns.explain(as_network(unet(), "segmentation"), image[:15, :13], "saliency", 1)
    with pytest.raises(ns.NeuroscopeError, match="forward pass failed on an input of 4 channels"):
        as_network(unet(), "segmentation", input={"channels": 4}).layers
    with pytest.raises(ns.NeuroscopeError, match="has no layer “conv9”"):
        ns.explain(as_network(vgg()), image, "grad_cam", 1, "conv9")
    with pytest.raises(ns.NeuroscopeError, match="takes a batch"):
        as_network(vgg(), input={"axes": "yxc"}).layers
    labels = Subclassed(tf.nn.relu, end=lambda x: tf.argmax(x, -1))
    with pytest.raises(ns.NeuroscopeError, match="holds whole numbers"):
        as_network(labels).layers
    stopped = Subclassed(tf.nn.relu, end=tf.stop_gradient)
    with pytest.raises(ns.NeuroscopeError, match="has no gradient"):
        ns.explain(as_network(same_weights(stopped)), image, "saliency", 1)

    class Asking(keras.Model):
        def call(self, x: Any) -> Any:
            return x if tf.reduce_mean(x) > 0 else -x

    with pytest.raises(ns.NeuroscopeError, match="can't be traced"):
        as_network(Asking(), "segmentation").layers
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ns.NeuroscopeError, match="Keras runs on jax"):
        ns.wrap(vgg())


def test_control_flow_on_tensors(image: np.ndarray) -> None:
    class Branching(Subclassed):
        def call(self, x: Any) -> Any:
            y = super().call(x)
            return tf.cond(tf.reduce_mean(y) > -1e9, lambda: y * 2, lambda: y)

    twice = as_network(same_weights(Branching(tf.nn.relu)))
    once = as_network(same_weights(Subclassed(tf.nn.relu)))
    assert_close(
        ns.explain(twice, image, "saliency", 1).values,
        2 * ns.explain(once, image, "saliency", 1).values,
    )

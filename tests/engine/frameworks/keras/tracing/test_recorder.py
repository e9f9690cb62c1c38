"""The layers of Keras models of every kind, by the names of their summaries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

import keras
import tensorflow as tf
from keras import layers

from keras_networks import (
    Subclassed,
    as_network,
    functional,
    nested,
    same_weights,
    settled,
    unet,
    vgg,
)


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


def test_a_sequential_model_has_the_layers_of_its_summary() -> None:
    model = vgg(end="softmax")
    graph = as_network(model).layers
    assert list(graph) == [layer.name for layer in model.layers]
    assert graph["conv1"].kind == "convolution"
    assert graph["conv1"].output_shape == (6, 16, 16)
    assert graph["conv1"].parameters == model.get_layer("conv1").count_params()
    assert graph["conv2"].inputs == ("pool1",)
    assert graph["conv2"].outputs == ("conv3",)
    assert graph["dropout"].inputs == ("fc1",)
    assert graph["fc2"].inputs == ("dropout",)
    assert "kernel_size=(3, 3)" in graph["conv1"].description
    assert graph.last_with_positions() == "pool2"


def test_a_functional_model_has_its_edges() -> None:
    graph = as_network(unet(), "segmentation").layers
    assert graph["cat"].inputs == ("up2", "enc2_relu2")
    assert graph["cat"].kind == "concatenate"
    assert graph["up2"].kind == "transposed convolution"
    assert graph["up1"].kind == "upsampling"
    assert graph["enc1_norm"].kind == "normalisation"
    assert (
        set(graph["enc1_relu2"].outputs) == {"max_pooling2d", "cat_2"}
        or "cat_2" in graph["enc1_relu2"].outputs
    )


def test_layers_of_nested_models_follow_the_outer_name() -> None:
    graph = as_network(same_weights(nested())).layers
    assert list(graph) == [
        "stem.conv1", "stem", "body.conv2", "body.relu", "body", "pool", "dense",
    ]  # fmt: skip
    assert graph["stem"].kind == "block"
    assert graph["stem"].outputs == ("body.conv2",)
    assert graph["stem.conv1"].block == "stem"
    assert graph["body.conv2"].inputs == ("stem.conv1",)
    assert graph.select("body.*") == ["body.conv2", "body.relu"]


def test_operations_in_a_subclassed_model_are_layers() -> None:
    graph = as_network(same_weights(Subclassed(tf.nn.relu))).layers
    assert list(graph) == ["conv1", "relu", "conv2", "relu_2", "pool", "dense"]
    assert graph["relu"].kind == "activation"
    assert graph["conv2"].inputs == ("relu",)


def test_a_layer_that_is_called_twice() -> None:
    relu = layers.ReLU(name="relu")
    graph = as_network(same_weights(functional(relu))).layers
    assert list(graph) == ["conv1", "relu", "conv2", "relu:2", "pool", "dense"]
    subclassed = as_network(same_weights(Subclassed(layers.ReLU(name="relu")))).layers
    assert list(subclassed) == list(graph)


def test_operations_of_a_functional_model_have_their_own_names() -> None:
    image = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, name="conv")(image)
    y = keras.ops.relu(x * 0.5)
    model = keras.Model(image, layers.Conv2D(2, 1, name="head")(y))
    graph = as_network(settled(model), "segmentation").layers
    names = [op.name for op in model.operations if not isinstance(op, layers.InputLayer)]
    assert list(graph) == names
    assert graph["head"].inputs == (names[2],)


def test_plain_tensorflow_is_seen() -> None:
    class Plain(keras.Model):
        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(shape=(3, 3, 3, 4), name="kernel")
            self.bias = self.add_weight(shape=(4,), name="bias")

        def call(self, x: Any) -> Any:
            y = tf.nn.bias_add(tf.nn.conv2d(x, self.kernel, 1, "SAME"), self.bias)
            y = tf.nn.max_pool2d(tf.nn.relu(y), 2, 2, "SAME")
            up = tf.image.resize(y, (16, 16))
            return tf.concat([up, x], -1)

    graph = as_network(Plain(), "segmentation", input={"size": (16, 16)}).layers
    assert list(graph) == ["conv2d", "relu", "max_pool", "resize_bilinear", "concat"]
    assert graph["concat"].output_shape == (7, 16, 16)
    assert [graph[name].kind for name in graph] == [
        "convolution", "activation", "pooling", "upsampling", "concatenate",
    ]  # fmt: skip

"""What Keras networks take: the order of axes, whole numbers, or an image of 0..255 that they normalise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import napari_neuroscope as ns
from closeness import assert_close

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

from collections.abc import Callable

import keras
import tensorflow as tf
from keras import layers

from keras_networks import (
    Subclassed,
    as_network,
    settled,
    unet,
    vgg,
)
from napari_neuroscope.engine.passes.model import BYTES


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


@pytest.fixture
def byte_image(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)


def test_the_axes_and_sizes_are_the_models() -> None:
    spec = as_network(vgg()).spec
    assert spec.input.axes == "byxc"
    assert spec.input.size == (16, 16)
    assert spec.input.channels == 3
    assert as_network(unet(), "segmentation").spec.input.size is None
    assert as_network(vgg(data_format="channels_first")).spec.input.axes == "bcyx"
    assert as_network(Subclassed(tf.nn.relu)).spec.input.axes == "byxc"


class First(layers.Conv2D):
    """A convolution with channels first, which TensorFlow does not have on every CPU."""

    def call(self, x: Any) -> Any:
        y = tf.nn.conv2d(tf.transpose(x, (0, 2, 3, 1)), self.kernel, 1, "SAME") + self.bias
        return tf.transpose(y, (0, 3, 1, 2))


def test_channels_first(image: np.ndarray) -> None:
    inputs = keras.Input((3, None, None))
    of = {"padding": "same", "data_format": "channels_first"}
    x = layers.ReLU(name="relu")(First(5, 3, name="conv1", **of)(inputs))
    first = keras.Model(inputs, layers.Softmax(1, name="end")(First(2, 3, name="conv2", **of)(x)))
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(5, 3, padding="same", activation="relu", name="relu")(inputs)
    last = settled(keras.Model(inputs, layers.Conv2D(2, 3, padding="same", name="conv2")(x)))
    first.set_weights(last.get_weights())
    ours, other = as_network(first, "segmentation"), as_network(last, "segmentation")
    assert ours.spec.input.axes == "bcyx"
    assert ours.layers["relu"].output_shape == other.layers["relu"].output_shape
    for method, more in (
        ("saliency", {"target": 1}),
        ("guided_backprop", {"target": 1}),
        ("score_map", {"target": 0}),
        ("grad_cam", {"layer": "relu", "target": 1, "relu": False}),
        ("grad_cam", {"layer": "conv2", "target": 1, "relu": False}),
        ("activation", {"layer": "relu"}),
    ):
        a = ns.explain(ours, image[:, :11], method, **more).values
        assert_close(a, ns.explain(other, image[:, :11], method, **more).values)


def test_volumes_with_channels_first(rng: np.random.Generator) -> None:
    """Keras compiles these on a CPU: a function that can't be looked into."""
    of = {"padding": "same", "data_format": "channels_first"}
    model = keras.Sequential(
        [
            keras.Input((1, 6, 7, 8)),
            layers.Conv3D(3, 3, activation="relu", name="conv", **of),
            layers.Conv3D(2, 1, name="head", **of),
        ]
    )
    network = as_network(settled(model), "segmentation")
    assert network.spec.input.axes == "bczyx"
    volume = rng.random((6, 7, 8), dtype=np.float32)
    found = ns.explain(network, volume, "saliency", 1, channels="keep").values
    x = tf.constant(volume[None, None])
    with tf.GradientTape() as tape:
        tape.watch(x)
        score = tf.reduce_sum(tf.function(model, jit_compile=True)(x)[:, 1])
    assert_close(found, tape.gradient(score, x).numpy()[0])
    assert ns.explain(network, volume, "guided_backprop", 1).values.any()


def test_volumes_and_gray_images(rng: np.random.Generator) -> None:
    volume = keras.Sequential(
        [keras.Input((None, None, None, 1)), layers.Conv3D(3, 3, padding="same", name="conv"),
         layers.Conv3D(2, 1, name="head")]
    )  # fmt: skip
    network = as_network(settled(volume), "segmentation")
    assert network.spec.input.axes == "bzyxc"
    found = ns.explain(network, rng.random((6, 7, 8)), "grad_cam", 1, "conv")
    assert found.values.shape == (6, 7, 8)
    plane = keras.Sequential([keras.Input((8, 8)), layers.Flatten(), layers.Dense(3, name="dense")])
    network = as_network(settled(plane))
    assert network.spec.input.axes == "byx"
    assert ns.explain(network, rng.random((8, 8)), "saliency", 1).values.shape == (8, 8)


Make = Callable[[Any], Any]


def classifier(first: Make, dtype: str = "float32") -> Any:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3), dtype=dtype)
    x = keras.layers.Conv2D(6, 3, activation="relu", name="c")(first(inputs))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))


def rescaled(x: Any) -> Any:
    return keras.layers.Rescaling(1 / 127.5, -1)(x)


def normalised(x: Any) -> Any:
    return keras.layers.Normalization(mean=[120.0] * 3, variance=[3600.0] * 3)(x)


def batch_normalised(x: Any) -> Any:
    constant = keras.initializers.Constant
    return keras.layers.BatchNormalization(
        moving_mean_initializer=constant(127.0), moving_variance_initializer=constant(4000.0)
    )(x)


def divided(x: Any) -> Any:
    return x / 127.5 - 1


def as_caffe(x: Any) -> Any:
    return keras.applications.resnet50.preprocess_input(x)


def in_lambda(x: Any) -> Any:
    return keras.layers.Lambda(lambda values: values / 255.0)(x)


def cast(x: Any) -> Any:
    return keras.ops.cast(x, "float32") / 255.0


@pytest.mark.parametrize(
    ("first", "dtype"),
    [(cast, "uint8"), (rescaled, "uint8"), (rescaled, "float32"), (normalised, "float32"),
     (batch_normalised, "float32"), (cast, "int32"), (divided, "float32"), (as_caffe, "float32"),
     (in_lambda, "float32")],
)  # fmt: skip
def test_an_image_is_given_in_0_to_255(first: Make, dtype: str, byte_image: np.ndarray) -> None:
    model = classifier(first, dtype)
    predicted = ns.wrap(model, {"task": "classification"}, device="cpu").predict(byte_image)
    assert_close(predicted.probabilities, model(byte_image[None].astype(dtype)).numpy()[0])
    assert BYTES in predicted.notes


def doubled(x: Any) -> Any:
    return 2 * x - 1


@pytest.mark.parametrize("first", [doubled, batch_normalised])
def test_other_values_are_given_as_stated_or_as_ever(first: Make, byte_image: np.ndarray) -> None:
    stated = {"normalization": "zero_one"} if first is batch_normalised else {}
    model = classifier(first)
    network = ns.wrap(model, {"task": "classification", "input": stated}, device="cpu")
    predicted = network.predict(byte_image)
    assert_close(predicted.probabilities, model(byte_image[None] / np.float32(255)).numpy()[0])
    assert BYTES not in predicted.notes


def test_a_layer_behind_a_cast_has_a_gradient_and_the_input_has_none(
    byte_image: np.ndarray,
) -> None:
    model = classifier(rescaled, "uint8")
    network = ns.wrap(model, {"task": "classification"}, device="cpu")

    found = ns.explain(network, byte_image, "grad_cam", 1, "c")

    activation = keras.Model(model.inputs, model.get_layer("c").output)(byte_image[None])
    with tf.GradientTape() as tape:
        tape.watch(activation)
        score = (tf.reduce_mean(activation, (1, 2)) @ model.layers[-1].kernel)[0, 1]
    weights = tape.gradient(score, activation).numpy()[0].mean((0, 1))
    expected = np.maximum((activation.numpy()[0] * weights).sum(-1), 0)
    assert_close(found.values, expected, 1e-4)
    with pytest.raises(ns.NeuroscopeError, match="rounds"):
        ns.explain(network, byte_image, "saliency", 1)

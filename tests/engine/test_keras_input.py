"""Keras networks that take whole numbers, or normalise an image of 0..255 themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import napari_neuroscope as ns
from closeness import assert_close
from napari_neuroscope.engine.passes.model import BYTES

keras = pytest.importorskip("keras", reason="needs the extra “tensorflow”")
tf = pytest.importorskip("tensorflow", reason="needs the extra “tensorflow”")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

Make = Callable[[Any], Any]


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)


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
def test_an_image_is_given_in_0_to_255(first: Make, dtype: str, image: np.ndarray) -> None:
    model = classifier(first, dtype)
    predicted = ns.wrap(model, {"task": "classification"}, device="cpu").predict(image)
    assert_close(predicted.probabilities, model(image[None].astype(dtype)).numpy()[0])
    assert BYTES in predicted.notes


def doubled(x: Any) -> Any:
    return 2 * x - 1


@pytest.mark.parametrize("first", [doubled, batch_normalised])
def test_other_values_are_given_as_stated_or_as_ever(first: Make, image: np.ndarray) -> None:
    stated = {"normalization": "zero_one"} if first is batch_normalised else {}
    model = classifier(first)
    network = ns.wrap(model, {"task": "classification", "input": stated}, device="cpu")
    predicted = network.predict(image)
    assert_close(predicted.probabilities, model(image[None] / np.float32(255)).numpy()[0])
    assert BYTES not in predicted.notes


def test_a_layer_behind_a_cast_has_a_gradient_and_the_input_has_none(image: np.ndarray) -> None:
    model = classifier(rescaled, "uint8")
    network = ns.wrap(model, {"task": "classification"}, device="cpu")

    found = ns.explain(network, image, "grad_cam", 1, "c")

    activation = keras.Model(model.inputs, model.get_layer("c").output)(image[None])
    with tf.GradientTape() as tape:
        tape.watch(activation)
        score = (tf.reduce_mean(activation, (1, 2)) @ model.layers[-1].kernel)[0, 1]
    weights = tape.gradient(score, activation).numpy()[0].mean((0, 1))
    expected = np.maximum((activation.numpy()[0] * weights).sum(-1), 0)
    assert_close(found.values, expected, 1e-4)
    with pytest.raises(ns.NeuroscopeError, match="rounds"):
        ns.explain(network, image, "saliency", 1)

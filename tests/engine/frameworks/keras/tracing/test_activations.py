"""Activations are guided in Keras as in PyTorch, however they are written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
import networks
from closeness import assert_close

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

import keras
import tensorflow as tf
from keras import layers

from keras_networks import (
    Subclassed,
    as_network,
    convert,
    functional,
    nested,
    reference_guided,
    same_weights,
)


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


def written() -> dict[str, Any]:
    """Return the same model, its relus written in every way."""
    return {
        "activation=": functional(lambda x: x, inside="relu"),
        "Activation": functional(layers.Activation("relu")),
        "layers.ReLU": functional(layers.ReLU()),
        "ops.relu": functional(keras.ops.relu),
        "activations.relu": functional(keras.activations.relu),
        "Lambda": functional(layers.Lambda(tf.nn.relu)),
        "nested": nested(),
        "subclassed tf.nn.relu": Subclassed(tf.nn.relu),
        "subclassed ops.relu": Subclassed(keras.ops.relu),
        "subclassed layer": Subclassed(layers.ReLU()),
        "subclassed function": Subclassed(tf.function(tf.nn.relu)),
        "ReLU(max_value)": functional(layers.ReLU(max_value=1e3)),
        "ReLU(threshold)": functional(layers.ReLU(threshold=1e-9)),
    }


@pytest.mark.parametrize("way", list(written()))
def test_relus_are_guided_however_written(way: str, image: np.ndarray) -> None:
    model = same_weights(written()[way])
    network = as_network(model)
    for index in range(3):
        # Class maps of random networks can vanish by chance: the sum says that they don't.
        found = ns.explain(network, image, "guided_backprop", index, channels="keep")
        expected = reference_guided(model.get_weights(), image, index).transpose(2, 0, 1)
        assert_close(found.values, expected)
        assert found.provenance["notes"] == []
    plain = ns.explain(network, image, "saliency", 0, channels="keep").values
    assert (
        np.abs(
            plain - ns.explain(network, image, "guided_backprop", 0, channels="keep").values
        ).max()
        > 0
    )


def test_a_maximum_is_not_guided_and_says_so(image: np.ndarray) -> None:
    for model in (
        functional(lambda x: keras.ops.maximum(x, 0)),
        Subclassed(lambda x: tf.maximum(x, 0.0)),
    ):
        network = as_network(same_weights(model))
        with (
            pytest.warns(ns.NeuroscopeWarning, match="no activation was found"),
            pytest.warns(ns.NeuroscopeWarning, match="can't be told from other arithmetic"),
        ):
            found = ns.explain(network, image, "guided_backprop", 1, channels="keep")
        assert "maximum" in found.provenance["notes"][0]
        assert_close(
            found.values, ns.explain(network, image, "saliency", 1, channels="keep").values
        )


def test_arithmetic_that_may_be_an_activation_is_said(image: np.ndarray) -> None:
    network = as_network(same_weights(functional(layers.Lambda(keras.ops.square, name="squares"))))
    with (
        pytest.warns(ns.NeuroscopeWarning, match="no activation was found"),
        pytest.warns(ns.NeuroscopeWarning, match="squares.* can't be told"),
    ):
        ns.explain(network, image, "guided_backprop", 1)


def test_a_network_without_activations_is_not_guided(image: np.ndarray) -> None:
    network = as_network(same_weights(functional(lambda x: x)))
    with pytest.warns(ns.NeuroscopeWarning, match="no activation was found"):
        ns.explain(network, image, "guided_backprop", 1)


def test_batch_norms_behind_relus_are_not_taken_for_them(image: np.ndarray) -> None:
    """What comes after the relu is linear, and has no part in it."""
    body = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(5), nn.ReLU(), nn.BatchNorm2d(5),
        nn.Conv2d(5, 3, 1),
    )  # fmt: skip
    theirs = networks.settled(body)
    ours = keras.Sequential(
        [keras.Input((None, None, 3)), layers.Conv2D(5, 3, padding="same", activation="relu"),
         layers.BatchNormalization(epsilon=1e-5), layers.ReLU(),
         layers.BatchNormalization(epsilon=1e-5), layers.Conv2D(3, 1)]
    )  # fmt: skip
    _same_guided(theirs, convert(theirs, ours), image)


ACTIVATIONS: dict[str, tuple[Any, Any]] = {
    "relu6": (nn.ReLU6, "relu6"),
    "leaky": (lambda: nn.LeakyReLU(0.2), lambda: layers.LeakyReLU(0.2)),
    "leaky by ops": (
        lambda: nn.LeakyReLU(0.2),
        lambda: layers.Activation(lambda x: keras.ops.leaky_relu(x, 0.2)),
    ),
    "elu": (nn.ELU, "elu"),
    "elu 0.5": (lambda: nn.ELU(0.5), lambda: layers.ELU(0.5)),
    "selu": (nn.SELU, "selu"),
    "celu": (nn.CELU, "celu"),
    "softplus": (nn.Softplus, "softplus"),
    "sigmoid": (nn.Sigmoid, "sigmoid"),
    "tanh": (nn.Tanh, "tanh"),
    "gelu": (nn.GELU, lambda: layers.Activation(lambda x: keras.ops.gelu(x, approximate=False))),
    "gelu tanh": (
        lambda: nn.GELU("tanh"),
        lambda: layers.Activation(lambda x: keras.ops.gelu(x, approximate=True)),
    ),
    "tf gelu": (nn.GELU, lambda: layers.Lambda(tf.nn.gelu)),
    "silu": (nn.SiLU, "silu"),
    "tf silu": (nn.SiLU, lambda: layers.Lambda(tf.nn.silu)),
    "mish": (nn.Mish, "mish"),
    "hard_silu": (nn.Hardswish, "hard_silu"),
    "log_sigmoid": (nn.LogSigmoid, "log_sigmoid"),
    "prelu": (nn.PReLU, lambda: layers.PReLU(shared_axes=[1, 2, 3])),
    **{
        f"{name} by hand": (there, lambda here=here: layers.Lambda(here))
        for name, (there, here) in {
            "silu": (nn.SiLU, lambda x: x / (1 + keras.ops.exp(-x))),
            "mish": (
                nn.Mish,
                lambda x: x * keras.ops.tanh(keras.ops.log(1 + keras.ops.exp(x))),
            ),
            "gelu": (nn.GELU, lambda x: x * 0.5 * (1 + keras.ops.erf(x / 2**0.5))),
            "hardswish": (nn.Hardswish, lambda x: x * keras.ops.clip(x + 3, 0, 6) / 6),
            "relu": (nn.ReLU, lambda x: x * keras.ops.cast(x > 0, "float32")),
            "relu by abs": (nn.ReLU, lambda x: (x + keras.ops.abs(x)) / 2),
            "leaky": (lambda: nn.LeakyReLU(0.1), lambda x: keras.ops.where(x > 0, x, 0.1 * x)),
            "leaky by maximum": (
                lambda: nn.LeakyReLU(0.1),
                lambda x: keras.ops.maximum(x, 0.1 * x),
            ),
            "softplus": (nn.Softplus, lambda x: keras.ops.log(1 + keras.ops.exp(x))),
            "sigmoid": (nn.Sigmoid, lambda x: 1 / (1 + keras.ops.exp(-x))),
            "tanh": (nn.Tanh, lambda x: 1 - 2 / (1 + keras.ops.exp(2 * x))),
            "log_sigmoid": (nn.LogSigmoid, lambda x: -keras.ops.softplus(-x)),
        }.items()
    },
}


class _WithActivation(nn.Module):
    def __init__(self, activation: Any) -> None:
        super().__init__()
        self.conv1, self.one = nn.Conv2d(3, 6, 3, padding=1), activation()
        self.conv2, self.two = nn.Conv2d(6, 6, 3, padding=1), activation()
        self.conv3 = nn.Conv2d(6, 3, 1)

    def forward(self, x: Any) -> Any:
        return self.conv3(self.two(self.conv2(self.one(self.conv1(x)))))


@pytest.mark.parametrize("which", list(ACTIVATIONS))
def test_activations_are_guided_as_in_pytorch(which: str, image: np.ndarray) -> None:
    there, here = ACTIVATIONS[which]
    theirs = networks.settled(_WithActivation(there))
    made = (lambda: layers.Activation(here)) if isinstance(here, str) else here
    ours = keras.Sequential(
        [keras.Input((None, None, 3)), layers.Conv2D(6, 3, padding="same"), made(),
         layers.Conv2D(6, 3, padding="same"), made(), layers.Conv2D(3, 1)]
    )  # fmt: skip
    weights = convert(theirs, ours) if which != "prelu" else _with_prelu(theirs, ours)
    _same_guided(theirs, weights, image)


def _with_prelu(theirs: nn.Module, ours: Any) -> Any:
    with torch.no_grad():
        for module in (theirs.one, theirs.two):
            module.weight.fill_(0.25)
    for layer in ours.layers:
        if isinstance(layer, layers.PReLU):
            layer.set_weights([np.full((1, 1, 1), 0.25)])
    plain = keras.Sequential(
        [layer for layer in ours.layers if not isinstance(layer, layers.PReLU)]
    )
    stripped = nn.ModuleList([theirs.conv1, theirs.conv2, theirs.conv3])
    convert(stripped, plain)
    return ours


def _same_guided(theirs: nn.Module, ours: Any, image: np.ndarray) -> None:
    a, b = networks.as_network(theirs, "segmentation"), as_network(ours, "segmentation")
    for method in ("guided_backprop", "saliency"):
        expected = ns.explain(a, image, method, 1, channels="keep")
        found = ns.explain(b, image, method, 1, channels="keep")
        assert_close(found.values, expected.values, 1e-4)


def test_a_gate_is_guided_by_its_sigmoid(image: np.ndarray) -> None:
    """Squeeze and excite: x · sigmoid(dense(mean x)) is no SiLU."""

    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.gate = nn.Conv2d(3, 5, 3, padding=1), nn.Linear(5, 5)
            self.conv2 = nn.Conv2d(5, 3, 1)

        def forward(self, x: Any) -> Any:
            x = torch.relu(self.conv1(x))
            weights = torch.sigmoid(self.gate(x.mean((2, 3))))
            return self.conv2(x * weights[:, :, None, None])

    theirs = networks.settled(Gate())
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(5, 3, padding="same", activation="relu")(inputs)
    gate = layers.Dense(5, activation="sigmoid")(layers.GlobalAveragePooling2D()(x))
    y = layers.Multiply()([x, layers.Reshape((1, 1, 5))(gate)])
    ours = convert(theirs, keras.Model(inputs, layers.Conv2D(3, 1)(y)))
    _same_guided(theirs, ours, image)

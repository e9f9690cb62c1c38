"""Keras twins of the small networks, and weights brought from PyTorch to them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
import torch
from keras import layers
from torch import nn

# These networks are too small to share.
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)


def convert(torch_model: nn.Module, keras_model: Any, flattened: tuple[int, ...] = ()) -> Any:
    """Copy the weights of layers in order; `flattened` is (channel, y, x) before the first dense."""
    theirs = [
        m
        for m in torch_model.modules()
        if isinstance(m, nn.modules.conv._ConvNd | nn.Linear | nn.BatchNorm2d | nn.PReLU)
    ]
    ours = [layer for layer in keras_model._flatten_layers() if layer.weights and is_leaf(layer)]
    assert len(theirs) == len(ours)
    for module, layer in zip(theirs, ours, strict=True):
        weights = [p.detach().numpy() for p in module.parameters()]
        if isinstance(module, nn.BatchNorm2d):
            weights += [module.running_mean.numpy(), module.running_var.numpy()]
        elif isinstance(module, nn.Linear):
            table = weights[0]
            if flattened:
                table = table.reshape(-1, *flattened).transpose(0, 2, 3, 1).reshape(len(table), -1)
                flattened = ()
            weights[0] = table.T
        elif not isinstance(module, nn.PReLU):
            # (out, in, y, x), or (in, out, y, x) of a transposed one, which Keras turns likewise.
            weights[0] = weights[0].transpose(*range(2, weights[0].ndim), 1, 0)
        layer.set_weights(weights)
    return keras_model


def is_leaf(layer: Any) -> bool:
    return not list(layer._flatten_layers(include_self=False))


def settled(model: Any, seed: int = 0) -> Any:
    """Give a model fixed random weights, and batch norms something to do."""
    rng = np.random.default_rng(seed)
    for layer in model._flatten_layers():
        if not is_leaf(layer) or not layer.weights:
            continue
        drawn = [
            rng.standard_normal(w.shape) * (max(1, np.prod(w.shape[:-1])) ** -0.5 * 1.4)
            for w in layer.weights
        ]
        if isinstance(layer, layers.BatchNormalization):
            drawn[0], drawn[3] = 1 + drawn[0] * 0.2, np.exp(drawn[3] * 0.3)
        layer.set_weights(drawn)
    return model


def vgg(
    *, data_format: str = "channels_last", end: str | None = None, size: int | None = 16
) -> Any:
    """The twin of `networks.Vgg`, its relus inside its layers."""
    shape = (size, size, 3) if data_format == "channels_last" else (3, size, size)
    of = {"data_format": data_format}
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Conv2D(6, 3, padding="same", activation="relu", name="conv1", **of),
            layers.MaxPooling2D(2, name="pool1", **of),
            layers.Conv2D(8, 3, padding="same", activation="relu", name="conv2", **of),
            layers.Conv2D(8, 3, padding="same", activation="relu", name="conv3", **of),
            layers.MaxPooling2D(2, name="pool2", **of),
            layers.Flatten(name="flatten", data_format="channels_last"),
            layers.Dense(16, activation="relu", name="fc1"),
            layers.Dropout(0.5, name="dropout"),
            layers.Dense(4, activation=end, name="fc2"),
        ]
    )


VGG_TWINS = {
    "features.1": "conv1", "features.2": "pool1", "features.4": "conv2", "features.6": "conv3",
    "features.7": "pool2",
}  # fmt: skip


def _twice(x: Any, width: int, name: str) -> Any:
    x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"{name}_conv1")(x)
    x = layers.BatchNormalization(epsilon=1e-5, name=f"{name}_norm")(x)
    x = layers.ReLU(name=f"{name}_relu1")(x)
    x = layers.Conv2D(width, 3, padding="same", name=f"{name}_conv2")(x)
    return layers.Activation("relu", name=f"{name}_relu2")(x)


def unet(*, width: int = 4, end: str | None = None) -> Any:
    """The twin of `networks.UNet`."""
    image = keras.Input((None, None, 3))
    level1 = _twice(image, width, "enc1")
    level2 = _twice(layers.MaxPooling2D(2)(level1), 2 * width, "enc2")
    y = _twice(layers.MaxPooling2D(2)(level2), 4 * width, "bottom")
    y = layers.Conv2DTranspose(2 * width, 2, strides=2, name="up2")(y)
    y = _twice(layers.Concatenate(name="cat")([y, level2]), 2 * width, "dec2")
    y = layers.UpSampling2D(2, interpolation="bilinear", name="up1")(y)
    y = _twice(layers.Concatenate(name="cat_2")([y, level1]), width, "dec1")
    return keras.Model(image, layers.Conv2D(3, 1, activation=end, name="head")(y))


UNET_TWINS = {
    **{
        f"{block}.{number}": f"{block}_{layer}"
        for block in ("enc1", "enc2", "bottom", "dec2", "dec1")
        for number, layer in enumerate(("conv1", "norm", "relu1", "conv2", "relu2"))
    },
    "up2": "up2", "cat": "cat", "cat_2": "cat_2", "interpolate": "up1", "head": "head",
}  # fmt: skip


class Subclassed(keras.Model):
    """Two convolutions, a relu given from outside after each, pooling and a dense layer."""

    def __init__(self, relu: Callable[[Any], Any], end: Callable[[Any], Any] | None = None) -> None:
        super().__init__()
        self.conv1 = layers.Conv2D(5, 3, padding="same", name="conv1")
        self.conv2 = layers.Conv2D(6, 3, padding="same", name="conv2")
        self.pool = layers.GlobalAveragePooling2D(name="pool")
        self.dense = layers.Dense(3, name="dense")
        self.relu, self.end = relu, end

    def call(self, x: Any) -> Any:
        x = self.relu(self.conv1(x))
        x = self.relu(self.conv2(x))
        x = self.dense(self.pool(x))
        return x if self.end is None else self.end(x)


def functional(relu: Callable[[Any], Any], *, inside: str | None = None) -> Any:
    """The same as a functional model; `inside` puts the relus into the layers."""
    image = keras.Input((None, None, 3))
    x = relu(layers.Conv2D(5, 3, padding="same", activation=inside, name="conv1")(image))
    x = relu(layers.Conv2D(6, 3, padding="same", activation=inside, name="conv2")(x))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(3, name="dense")(x))


def nested() -> Any:
    """The same with an inner functional model and an inner sequential one."""
    inner_image = keras.Input((None, None, 3), name="inner_image")
    y = layers.Conv2D(5, 3, padding="same", activation="relu", name="conv1")(inner_image)
    inner = keras.Model(inner_image, y, name="stem")
    body = keras.Sequential(
        [layers.Conv2D(6, 3, padding="same", name="conv2"), layers.ReLU(name="relu")], name="body"
    )
    image = keras.Input((None, None, 3))
    x = layers.GlobalAveragePooling2D(name="pool")(body(inner(image)))
    return keras.Model(image, layers.Dense(3, name="dense")(x))


def same_weights(model: Any, seed: int = 0) -> Any:
    """Give one of the models of two convolutions the weights that all of them have."""
    model(np.zeros((1, 8, 8, 3), np.float32))
    rng = np.random.default_rng(seed)
    model.set_weights([rng.standard_normal(w.shape) * 0.4 for w in model.get_weights()])
    return model


def reference_guided(weights: Sequence[np.ndarray], x: np.ndarray, index: int) -> np.ndarray:
    """Guided backpropagation of those, by a gradient of our own: (y, x, channel)."""

    @tf.custom_gradient
    def guided_relu(z: Any) -> Any:
        y = tf.nn.relu(z)
        return y, lambda r: tf.nn.relu(r) * tf.cast(z > 0, r.dtype)

    kernel1, bias1, kernel2, bias2, table, bias3 = (tf.constant(w) for w in weights)
    image = tf.constant(x[None].astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(image)
        y = guided_relu(tf.nn.conv2d(image, kernel1, 1, "SAME") + bias1)
        y = guided_relu(tf.nn.conv2d(y, kernel2, 1, "SAME") + bias2)
        score = (tf.reduce_mean(y, (1, 2)) @ table + bias3)[0, index]
    return tape.gradient(score, image).numpy()[0]


class Snapshot:
    """A model as it is now, to be compared with what it is later."""

    def __init__(self, model: Any) -> None:
        self.model, self.facts = model, self._facts(model)

    @staticmethod
    def _facts(model: Any) -> dict[str, Any]:
        every = list(model._flatten_layers())
        return {
            "weights": [w.tobytes() for w in model.get_weights()],
            "variables": [(id(v), id(v.value), v.trainable) for v in model.variables],
            "layers": [(id(layer), layer.name, layer.trainable) for layer in every],
            "activations": [id(getattr(layer, "activation", None)) for layer in every],
            "attributes": [sorted(vars(layer)) for layer in every],
            "nodes": [len(layer._inbound_nodes) for layer in every],
            "calls": [keras.Layer.__call__, keras.Operation.__call__, type(model).__call__],
            "eagerly": tf.config.functions_run_eagerly(),
            "losses": len(model.losses),
            "torch": torch.is_grad_enabled(),
        }

    def assert_unchanged(self) -> None:
        now = self._facts(self.model)
        for what, then in self.facts.items():
            assert now[what] == then, what

"""All nodes and edges of Keras models, nested and shared, as they are known to be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import napari_neuroscope as ns
from closeness import assert_close

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf
from keras import layers

from graphs import assert_graph
from keras_networks import (
    Subclassed,
    as_network,
    is_leaf,
    layers_in,
    nested,
    same_weights,
    settled,
    unet,
    vgg,
)


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


def test_what_is_hidden_in_a_compiled_function_is_not_guided(image: np.ndarray) -> None:
    compiled = tf.function(tf.nn.relu, jit_compile=True)
    network = as_network(same_weights(Subclassed(compiled)))
    plain = as_network(same_weights(Subclassed(tf.nn.relu)))
    assert_close(
        ns.explain(network, image, "saliency", 1).values,
        ns.explain(plain, image, "saliency", 1).values,
    )
    with pytest.raises(ns.NeuroscopeError, match="can't see inside the function"):
        ns.explain(network, image, "guided_backprop", 1)


SIZE = (16, 16)


def of_size(model: Any, task: str = "classification") -> ns.Network:
    spec = {"task": task, "input": {"value_range": (0, 1), "size": SIZE}}
    return ns.wrap(model, spec, device="cpu")


def test_a_sequential_model() -> None:
    assert_graph(
        of_size(vgg()).layers,
        """
        conv1 <
        pool1 < conv1
        conv2 < pool1
        conv3 < conv2
        pool2 < conv3
        flatten < pool2
        fc1 < flatten
        dropout < fc1
        fc2 < dropout
        """,
    )


def test_a_functional_model_with_skips() -> None:
    keras.utils.clear_session()
    assert_graph(
        of_size(unet(), "segmentation").layers,
        """
        enc1_conv1 <
        enc1_norm < enc1_conv1
        enc1_relu1 < enc1_norm
        enc1_conv2 < enc1_relu1
        enc1_relu2 < enc1_conv2
        max_pooling2d < enc1_relu2
        enc2_conv1 < max_pooling2d
        enc2_norm < enc2_conv1
        enc2_relu1 < enc2_norm
        enc2_conv2 < enc2_relu1
        enc2_relu2 < enc2_conv2
        max_pooling2d_1 < enc2_relu2
        bottom_conv1 < max_pooling2d_1
        bottom_norm < bottom_conv1
        bottom_relu1 < bottom_norm
        bottom_conv2 < bottom_relu1
        bottom_relu2 < bottom_conv2
        up2 < bottom_relu2
        cat < up2 enc2_relu2
        dec2_conv1 < cat
        dec2_norm < dec2_conv1
        dec2_relu1 < dec2_norm
        dec2_conv2 < dec2_relu1
        dec2_relu2 < dec2_conv2
        up1 < dec2_relu2
        cat_2 < up1 enc1_relu2
        dec1_conv1 < cat_2
        dec1_norm < dec1_conv1
        dec1_relu1 < dec1_norm
        dec1_conv2 < dec1_relu1
        dec1_relu2 < dec1_conv2
        head < dec1_relu2
        """,
    )


def test_models_in_a_model() -> None:
    assert_graph(
        of_size(settled(nested())).layers,
        """
          stem.conv1 <
        stem >
          body.conv2 < stem.conv1
          body.relu < body.conv2
        body >
        pool < body.relu
        dense < pool
        """,
    )


def test_models_in_models_in_a_model_with_a_skip_inside() -> None:
    inner = keras.Sequential(
        [layers.Conv2D(4, 3, padding="same", name="conv"), layers.ReLU(name="relu")], name="inner"
    )
    middle_image = keras.Input((None, None, 4))
    y = inner(middle_image)
    y = layers.Add(name="sum")([y, middle_image])
    middle = keras.Model(middle_image, layers.ReLU(name="act")(y), name="middle")
    image = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 1, name="first")(image)
    model = keras.Model(image, layers.Conv2D(2, 1, name="head")(middle(x)))
    assert_graph(
        of_size(settled(model), "segmentation").layers,
        """
        first <
            middle.inner.conv < first
            middle.inner.relu < middle.inner.conv
          middle.inner >
          middle.sum < middle.inner.relu first
          middle.act < middle.sum
        middle >
        head < middle.act
        """,
    )


def shared() -> Any:
    """Return two scales that share a stem, a model that is used twice, and a layer thrice."""
    stem = layers.Conv2D(4, 3, padding="same", name="stem")
    conv = layers.Conv2D(4, 3, padding="same", name="conv")
    body = keras.Sequential(
        [keras.Input((None, None, 4)), conv, layers.ReLU(name="relu")], name="body"
    )
    act = layers.ReLU(name="act")
    image = keras.Input((*SIZE, 3))
    fine = body(act(stem(image)))
    coarse = body(act(stem(layers.AveragePooling2D(2, name="half")(image))))
    x = layers.Concatenate(name="cat")([fine, layers.UpSampling2D(2, name="up")(coarse)])
    return keras.Model(image, layers.Conv2D(2, 1, name="head")(act(x)))


def test_shared_layers_and_models_are_nodes_each_time() -> None:
    """Keras runs layers by their depth: each of the two scales is the first somewhere."""
    assert_graph(
        of_size(settled(shared()), "segmentation").layers,
        """
        half <
        stem < half
        stem:2 <
        act < stem
        act:2 < stem:2
          body.conv < act:2
          body.relu < body.conv
        body >
          body.conv:2 < act
          body.relu:2 < body.conv:2
        body:2 >
        up < body.relu:2
        cat < body.relu up
        act:3 < cat
        head < act:3
        """,
    )


def test_a_subclassed_model_with_a_model_and_operations_inside() -> None:
    class Outer(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="outer")
            self.inside = Subclassed(tf.nn.relu)
            self.conv = layers.Conv2D(3, 3, padding="same", name="conv")

        def call(self, x: Any) -> Any:
            y = tf.nn.relu(self.conv(x))
            y = tf.concat([y, tf.nn.max_pool2d(y, 3, 1, "SAME")], -1)
            return self.inside(y + tf.tanh(y))

    model = Outer()
    graph = of_size(model).layers
    assert_graph(
        graph,
        """
        conv <
        relu < conv
        max_pool < relu
        concat < relu max_pool
        tanh < concat
        add < concat tanh
          subclassed.conv1 < add
          relu_2 < subclassed.conv1
          subclassed.conv2 < relu_2
          relu_3 < subclassed.conv2
          subclassed.pool < relu_3
          subclassed.dense < subclassed.pool
        subclassed >
        """.replace("subclassed", model.inside.name),
    )


@contextmanager
def recorded(called: list[str]) -> Iterator[None]:
    """Note the names of the layers as Keras itself calls them."""
    original = keras.Layer.__call__

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if is_leaf(layer):
            called.append(layer.name)
        return original(layer, *args, **kwargs)

    keras.Layer.__call__ = call
    try:
        yield
    finally:
        keras.Layer.__call__ = original


@pytest.mark.parametrize("build", [unet, shared], ids=["skips", "shared"])
def test_a_stack_is_in_the_order_of_execution(build: Any, rng: np.random.Generator) -> None:
    model = settled(build())
    network = of_size(model, "segmentation")
    asked = [n for n in network.layers if network.layers[n].kind != "block"]
    stack = ns.explain(network, rng.random((*SIZE, 3)), "grad_cam", 1, sorted(asked, reverse=True))
    shown = list(stack.labels["layer"])
    called: list[str] = []
    with recorded(called):
        model(np.zeros((1, *SIZE, 3), np.float32))
    inputs = {layer.name for layer in layers_in(model)
              if isinstance(layer, layers.InputLayer)}  # fmt: skip
    assert [n.rpartition(".")[2].partition(":")[0] for n in shown] == [
        name for name in called if name not in inputs
    ]

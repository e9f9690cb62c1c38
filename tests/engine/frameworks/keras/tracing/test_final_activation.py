"""Keras's final softmax or sigmoid: found whatever is stated, and for every question anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import napari_neuroscope as ns
from closeness import assert_close

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

from pathlib import Path

import keras
import tensorflow as tf
from keras import layers

from keras_networks import (
    as_network,
    settled,
    unet,
    vgg,
)
from napari_neuroscope.engine.errors import no_progress
from napari_neuroscope.engine.graph.layer_graph import LayerGraph


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


@pytest.fixture
def large_image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((64, 64, 3), dtype=np.float32)


def endings() -> dict[str, Any]:
    def after(end: Any) -> Any:
        model = vgg()
        return keras.Model(model.inputs, end(model.outputs[0]))

    return {
        "in the last layer": vgg(end="softmax"),
        "a layer": after(layers.Softmax()),
        "an activation layer": after(layers.Activation("softmax")),
        "an operation": after(keras.ops.softmax),
        "in float32": after(layers.Activation("softmax", dtype="float32")),
        "log": vgg(end="log_softmax"),
    }


@pytest.mark.parametrize("end", ["in the last layer", "a layer", "an activation layer",
                                 "an operation", "in float32", "log"])  # fmt: skip
def test_a_softmax_is_cut_off(end: str, image: np.ndarray) -> None:
    plain_model = settled(vgg())
    model = endings()[end]
    model.set_weights(plain_model.get_weights())
    ending, plain = as_network(model), as_network(plain_model)
    for method, more in (
        ("saliency", {}),
        ("grad_cam", {"layer": "conv2", "relu": False}),
        ("score_map", {}),
        ("guided_backprop", {}),
    ):
        found = ns.explain(ending, image, method, 2, **more)
        assert found.provenance["targets"][0]["score"] == "logit"
        assert_close(found.values, ns.explain(plain, image, method, 2, **more).values)
    assert_close(ending.predict(image).probabilities, plain.predict(image).probabilities)


@pytest.mark.parametrize("end", ["softmax", "sigmoid"])
def test_a_segmenters_end_is_cut_off(end: str, image: np.ndarray) -> None:
    plain_model, model = settled(unet()), unet(end=end)
    model.set_weights(plain_model.get_weights())
    output = {"output": {"multi_label": end == "sigmoid"}}
    ending = as_network(model, "segmentation")
    plain = as_network(plain_model, "segmentation", **output)
    target = ns.Target(1, region="predicted")
    # The last layer answers its logits: its softmax is cut off.
    for layer in ("head", "dec1_relu2"):
        a = ns.explain(ending, image, "grad_cam", target, layer, relu=False)
        b = ns.explain(plain, image, "grad_cam", target, layer, relu=False)
        assert_close(a.values, b.values)
    assert_close(
        ns.explain(ending, image, "activation", layer="head").values,
        ns.explain(plain, image, "activation", layer="head").values,
    )
    assert_close(ending.predict(image).probabilities, plain.predict(image).probabilities)


def test_a_softmax_over_the_first_axis_of_channels(image: np.ndarray) -> None:
    plain_model = settled(unet())
    image_in = keras.Input((None, None, 3))
    y = layers.Permute((3, 1, 2))(plain_model(image_in))
    model = keras.Model(image_in, layers.Softmax(axis=1, name="softmax")(y))
    ending = as_network(model, "segmentation", output={"axes": "bcyx"})
    plain = as_network(plain_model, "segmentation")
    assert ending.layers.final_activation == ("softmax", "softmax")
    assert_close(
        ns.explain(ending, image, "saliency", 1).values,
        ns.explain(plain, image, "saliency", 1).values,
    )


@pytest.mark.parametrize(("end", "count"), [("sigmoid", 1), ("softmax", 3), ("sigmoid", 3)])
@pytest.mark.parametrize("apart", [False, True], ids=["inside of the layer", "a layer"])
def test_the_end_is_cut_where_no_task_is_stated(
    end: str, count: int, apart: bool, large_image: np.ndarray, tmp_path: Path
) -> None:
    inputs = keras.Input((64, 64, 3))
    bias = keras.initializers.Constant(-3.0)
    inside = None if apart else end
    head = keras.layers.Conv2D(count, 3, padding="same", bias_initializer=bias, activation=inside)
    outputs = keras.layers.Activation(end)(head(inputs)) if apart else head(inputs)
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "net.keras")

    network = ns.load(tmp_path / "net.keras", device="cpu")

    expected = np.moveaxis(model(large_image[None]).numpy()[0], -1, 0)
    predicted = network.predict(large_image).probabilities
    assert network.layers.final_activation is not None
    assert_close(predicted[1:] if count == 1 else predicted, expected)


def test_a_question_with_another_end_changes_no_answer(large_image: np.ndarray) -> None:
    inputs = keras.Input((64, 64, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(pooled))
    network = ns.wrap(model, {"task": "classification"}, device="cpu")
    adapter, layers, spec = network.adapter, network.layers, network.spec
    x = network.prepare(large_image).input[None]
    run = adapter.run(x, spec, layers, [model.layers[-1].name], no_progress)

    uncut = adapter.run(x, spec, LayerGraph([], 2), [model.layers[-1].name], no_progress)

    # Each run has its own end, also for the way back.
    given = tf.convert_to_tensor(large_image[None])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(given)
        logits = model.layers[-2](model.layers[-3](given)) @ model.layers[-1].kernel
        probabilities = model(given)
        first = logits[:, 0], probabilities[:, 0]
    for one, scores, score in zip((run, uncut), (logits, probabilities), first, strict=True):
        expected = np.moveaxis(tape.gradient(score, given).numpy(), -1, 1)
        assert_close(one.input_gradient(torch.eye(3)[:1]).numpy(), expected)
        assert_close(one.activations[model.layers[-1].name].numpy(), scores.numpy())
    assert run.scores is not None
    assert uncut.scores is None
    again = adapter.output(x, spec, layers)[1]
    assert again is not None
    np.testing.assert_array_equal(again.numpy(), run.scores.numpy())

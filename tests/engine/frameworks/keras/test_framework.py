"""Keras models however they are written: precision, in use, unchanged, one trace for all questions."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
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
    functional,
    nested,
    same_weights,
    settled,
    unet,
    vgg,
)

METHODS = list(ns.methods)


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


def test_convolutions_in_groups(image: np.ndarray) -> None:
    model = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Conv2D(6, 3, padding="same", activation="relu", name="conv"),
            layers.Conv2D(4, 3, groups=2, padding="same", activation="relu", name="groups"),
            layers.DepthwiseConv2D(3, padding="same", name="depthwise"),
            layers.SeparableConv2D(3, 3, padding="same", name="separable"),
        ]
    )
    network = as_network(settled(model), "segmentation")
    assert [network.layers[name].kind for name in network.layers] == ["convolution"] * 4
    maps = ns.explain(network, image, "grad_cam", 1, "all", relu=False).values
    assert maps.any((1, 2)).all()
    assert ns.explain(network, image, "guided_backprop", 1).values.any()


def test_models_of_every_kind_agree(image: np.ndarray) -> None:
    kinds = {
        "functional": functional(lambda x: x, inside="relu"),
        "functional layers": functional(layers.ReLU(name="relu")),
        "functional ops": functional(keras.ops.relu),
        "nested": nested(),
        "subclassed": Subclassed(tf.nn.relu),
        "subclassed ops": Subclassed(keras.ops.relu),
        "subclassed function": Subclassed(tf.function(tf.nn.relu)),
    }
    found = {}
    for kind, model in kinds.items():
        network = as_network(same_weights(model))
        layer = network.layers.last_with_positions()
        found[kind] = [
            ns.explain(network, image, "saliency", 1, channels="keep").values,
            ns.explain(network, image, "grad_cam", 1, layer).values,
            ns.explain(network, image, "guided_backprop", 1).values,
        ]
    for maps in found.values():
        for ours, first in zip(maps, found["functional"], strict=True):
            assert_close(ours, first)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_other_precisions(policy: str, image: np.ndarray) -> None:
    plain_model = settled(unet(end="softmax"))
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = unet(end="softmax")
    finally:
        keras.config.set_dtype_policy(before)
    model.set_weights(plain_model.get_weights())
    ours, plain = as_network(model, "segmentation"), as_network(plain_model, "segmentation")
    # Of 8 bits, guided gates flip; which do is another on each processor.
    alike = {"mixed_float16": 0.9999, "mixed_bfloat16": 0.9, "float64": 1 - 1e-9}[policy]
    for method, more in (("saliency", {}), ("grad_cam", {"layer": "bottom_relu2"}),
                         ("guided_backprop", {})):  # fmt: skip
        # The pixels where it is predicted are others at other precisions.
        everywhere = ns.Target(1, "everywhere")
        found = ns.explain(ours, image, method, everywhere, **more).values
        assert found.dtype == np.float32
        expected = ns.explain(plain, image, method, everywhere, **more).values
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > alike


def in_training() -> Any:
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dropout(0.5, name="dropout")(layers.ReLU(name="relu")(x))
    x = layers.GaussianNoise(1.0, name="noise")(x)
    model = settled(keras.Model(inputs, layers.Conv2D(3, 1, name="head")(x)))
    model.get_layer("conv").trainable = False
    return model


def test_a_model_is_explained_as_in_use(image: np.ndarray) -> None:
    model = in_training()
    network = as_network(model, "segmentation")
    expected = model(image[None], training=False).numpy()[0].transpose(2, 0, 1)
    assert_close(network.predict(image).scores, expected)
    first = ns.explain(network, image, "saliency", 1).values
    network.traces.clear()
    np.testing.assert_array_equal(ns.explain(network, image, "saliency", 1).values, first)


@pytest.mark.parametrize("method", METHODS)
def test_a_model_is_left_as_it_was(method: str, image: np.ndarray) -> None:
    model = in_training()
    before = Snapshot(model)
    network = as_network(model, "segmentation")
    if "segmentation" not in ns.methods[method].tasks:
        pytest.skip("not for segmentation")
    if why := network.why_not(ns.methods[method]):
        pytest.skip(why)
    needs = ns.methods[method].needs
    more = {"target": 1} if "TARGET" in str(needs) else {}
    ns.explain(network, image, method, **more)
    before.assert_unchanged()
    network.predict(image)
    network.digest()
    before.assert_unchanged()


def test_the_model_still_learns(image: np.ndarray) -> None:
    steps = []
    for explained in (False, True):
        keras.utils.set_random_seed(0)
        model = settled(vgg())
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        if explained:
            ns.explain(as_network(model), image, "guided_backprop", 1)
        model.fit(image[None], np.array([1]), epochs=2, verbose=0)
        steps.append(model.get_weights())
    for one, other in zip(*steps, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_one_trace_serves_all(image: np.ndarray, rng: np.random.Generator) -> None:
    traced = 0

    class Counting(Subclassed):
        def call(self, x: Any) -> Any:
            nonlocal traced
            traced += 1
            return super().call(x)

    network = as_network(same_weights(Counting(tf.nn.relu)), input={"size": (16, 16)})
    network.layers
    traced = 0
    for _ in range(2):
        for method in ("saliency", "guided_backprop", "grad_cam", "guided_grad_cam"):
            ns.explain(network, rng.random((16, 16, 3)), method, 1)
    assert traced == 0


def test_asking_for_little_or_for_all_is_the_same(image: np.ndarray) -> None:
    network = as_network(settled(unet()), "segmentation")
    everything = ns.explain(network, image, "grad_cam", 1, "all", keep="everything", relu=False)
    network.traces.clear()
    asked = ns.explain(network, image, "grad_cam", 1, "all", keep="asked", relu=False)
    assert_close(asked.values, everything.values)
    assert (everything.values != 0).any((1, 2)).all()


def test_in_several_threads(image: np.ndarray) -> None:
    """One explains while another uses the model."""
    model = settled(unet())
    network = as_network(model, "segmentation")
    expected = ns.explain(as_network(model, "segmentation"), image, "grad_cam", 1, "all").values
    outputs = model(image[None]).numpy()

    def explained(_: int) -> np.ndarray:
        network.traces.clear()
        return ns.explain(network, image, "grad_cam", 1, "all").values

    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(explained, n) for n in range(4)]
        used = [pool.submit(lambda: model(image[None]).numpy()) for _ in range(8)]
        for one in found:
            assert_close(one.result(), expected)
        for one in used:
            np.testing.assert_array_equal(one.result(), outputs)

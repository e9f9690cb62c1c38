"""With equal weights PyTorch and Keras give equal maps, by every method."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import napari_neuroscope as ns
import networks
from closeness import assert_close

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

import keras
from keras import layers

from keras_networks import (
    UNET_TWINS,
    VGG_TWINS,
    as_network,
    convert,
    unet,
    vgg,
)


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    return rng.random((16, 16, 3), dtype=np.float32)


@pytest.fixture(scope="module")
def classifiers() -> tuple[ns.Network, ns.Network]:
    theirs = networks.settled(networks.Vgg())
    ours = convert(theirs, vgg(), (8, 4, 4))
    return networks.as_network(theirs, size=(16, 16)), as_network(ours)


@pytest.fixture(scope="module")
def segmenters() -> tuple[ns.Network, ns.Network]:
    theirs = networks.settled(networks.UNet())
    ours = convert(theirs, unet())
    return networks.as_network(theirs, "segmentation"), as_network(ours, "segmentation")


# Grad-CAM++ divides by differences, and Score-CAM's softmax is of large scores: on each processor
# another rounding is enlarged.
_CLOSE = {"grad_cam_plus_plus": 1e-3, "score_cam": 1e-3}


def compare(
    pair: tuple[ns.Network, ns.Network],
    image: np.ndarray,
    method: str,
    twins: dict[str, str],
    target: Any,
    **options: Any,
) -> None:
    theirs, ours = pair
    if why := ours.why_not(ns.methods[method]):
        pytest.skip(why)
    needs = str(ns.methods[method].needs)
    given: dict[str, Any] = {"target": target} if "TARGET" in needs else {}
    for there, here in twins.items() if "LAYER" in needs else [(None, None)]:
        a = ns.explain(theirs, image, method, layer=there, **given, **options)
        b = ns.explain(ours, image, method, layer=here, **given, **options)
        assert a.axes == b.axes
        if not a.values.any():
            assert not b.values.any()
            continue
        assert_close(b.values, a.values, _CLOSE.get(method, 1e-4))
        for name, companion in a.companions.items():
            np.testing.assert_array_equal(b.companions[name], companion)


@pytest.mark.parametrize("method", list(ns.methods))
def test_a_classifiers_maps_are_equal(method: str, classifiers: Any, image: np.ndarray) -> None:
    if "classification" not in ns.methods[method].tasks:
        pytest.skip("not for classification")
    for target in (0, 3):
        compare(classifiers, image, method, VGG_TWINS, target)
    compare(classifiers, image, method, VGG_TWINS, ns.Target(1, score="probability"))


@pytest.mark.parametrize("method", list(ns.methods))
def test_a_segmenters_maps_are_equal(method: str, segmenters: Any, image: np.ndarray) -> None:
    if "segmentation" not in ns.methods[method].tasks:
        pytest.skip("not for segmentation")
    for target in (0, ns.Target(1, region="predicted"), ns.Target(2, score="log_probability")):
        compare(segmenters, image, method, UNET_TWINS, target)


@pytest.mark.parametrize("keep", ["asked", "everything"])
def test_stacks_are_equal(keep: Any, segmenters: Any, image: np.ndarray) -> None:
    theirs, ours = segmenters
    for network in segmenters:
        network.traces.clear()
    a = ns.explain(theirs, image, "grad_cam", [0, 2], list(UNET_TWINS), keep=keep)
    b = ns.explain(ours, image, "grad_cam", [0, 2], list(UNET_TWINS.values()), keep=keep)
    order = [UNET_TWINS[name] for name in a.labels["layer"]]
    again = [b.labels["layer"].index(name) for name in order]
    assert_close(b.values[:, again], a.values, 1e-4)


def test_predictions_are_equal(segmenters: Any, classifiers: Any, image: np.ndarray) -> None:
    for theirs, ours in (segmenters, classifiers):
        assert_close(ours.predict(image).scores, theirs.predict(image).scores, 1e-4)
        np.testing.assert_array_equal(ours.predict(image).labels, theirs.predict(image).labels)


def test_class_activation_maps_are_equal(image: np.ndarray) -> None:
    """Global average pooling and a dense layer: the weights' map of Zhou et al."""
    theirs = networks.settled(networks.GapLinear(3))
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(5, 3, padding="same", activation="relu", name="conv")(inputs)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    for end in (None, "softmax"):
        ours = convert(theirs, keras.Model(inputs, layers.Dense(3, activation=end)(x)))
        a = ns.explain(networks.as_network(theirs), image, "score_map", 1)
        b = ns.explain(as_network(ours), image, "score_map", 1)
        assert a.values.shape == (16, 16)
        assert_close(b.values, a.values, 1e-4)

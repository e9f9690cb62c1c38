"""Normalisations of each channel, with eps, with limits, and several in a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.images.preprocessing import PreparedImage, prepare
from napari_neuroscope.engine.spec.input_spec import InputSpec, SizeRule


def prepared(image: np.ndarray, normalization: Any, **more: Any) -> PreparedImage:
    spec = {
        "image_axes": "cyx",
        "input": {"value_range": (0, 1), "normalization": normalization, "order": "n", **more},
    }
    return prepare(image, ns.ModelSpec.parse(spec), len(image))


@pytest.fixture
def image(rng: np.random.Generator) -> np.ndarray:
    """Raw values of two channels that differ by far."""
    return (rng.random((2, 20, 23)) * [[[50]], [[4000]]] + [[[10]], [[30000]]]).astype(np.float32)


def test_percentiles_of_each_channel(image: np.ndarray) -> None:
    got = prepared(image, {"percentile": [1, 99.8], "per_channel": True, "eps": 0.01}).input
    low, high = np.percentile(image.astype(float), [1, 99.8], axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(got, (image - low) / (high - low + 0.01), atol=1e-6)


def test_mean_and_deviation_of_each_channel(image: np.ndarray) -> None:
    got = prepared(image, {"per_image": True, "per_channel": True, "eps": 0.5}).input
    wide = image.astype(float)
    mean, std = wide.mean((1, 2), keepdims=True), wide.std((1, 2), keepdims=True)
    np.testing.assert_allclose(got, (wide - mean) / (std + 0.5), atol=1e-5)


@pytest.mark.parametrize("clip", [(0, 1), (None, 0.5), (0.25, None)])
def test_values_are_limited(image: np.ndarray, clip: Any) -> None:
    got = prepared(image, {"percentile": [5, 95], "clip": clip}).input
    low, high = np.percentile(image.astype(float), [5, 95])
    np.testing.assert_allclose(got, ((image - low) / (high - low)).clip(*clip), atol=1e-6)


def test_what_follows_is_of_what_came_before(image: np.ndarray) -> None:
    rule = {
        "percentile": [10, 90],
        "per_channel": True,
        "clip": [0, 1],
        "then": {"per_image": True, "then": {"mean": 1, "std": [0.5, 2]}},
    }
    got = prepared(image, rule)
    low, high = np.percentile(image.astype(float), [10, 90], axis=(1, 2), keepdims=True)
    limited = ((image - low) / (high - low)).clip(0, 1)
    whitened = (limited - limited.mean()) / limited.std()
    np.testing.assert_allclose(got.input, (whitened - 1) / [[[0.5]], [[2]]], atol=1e-5)
    inside = (limited > 0) & (limited < 1)
    np.testing.assert_allclose(got.displayable()[inside], image[inside], rtol=1e-5)


def test_large_values_of_little_contrast_keep_their_digits() -> None:
    image = np.full((1, 4, 4), 60000, np.float32)
    image[0, 0, 0] = 60001
    got = prepared(image, {"per_image": True}).input.double().numpy()
    wide = image.astype(float)
    np.testing.assert_allclose(got, (wide - wide.mean()) / wide.std(), atol=1e-5)


def test_statistics_are_of_the_image_without_its_padding(image: np.ndarray) -> None:
    rule = {"min": [32, 16], "step": [0, 8]}
    got = prepared(image, "per_image", size=rule, resize="pad").input
    assert got.shape == (2, 32, 24)
    wide = image.astype(float)
    np.testing.assert_allclose(got[:, :20, :23], (wide - wide.mean()) / wide.std(), atol=1e-5)


def test_an_image_beyond_the_only_size_of_an_axis_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ns.NeuroscopeError, match="20 × 23, larger than the network's 16 × 24"):
        prepared(image, {}, size={"min": [16, 16], "step": [0, 8]}, resize="pad")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"clip": [None, None]}, "needs a number"),
        ({"clip": [2, 1]}, "first number below"),
        ({"per_channel": True}, "go with percentile"),
        ({"mean": 1, "eps": 0.1}, "go with percentile"),
        ({"per_image": True, "eps": -1}, "greater than or equal"),
        ({"then": {"std": 0}}, "above zero"),
    ],
)
def test_nonsense_is_refused(wrong: Any, says: str) -> None:
    with pytest.raises(ns.NeuroscopeError, match=says):
        ns.ModelSpec.parse({"input": {"normalization": wrong}})


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"min": [1, 2, 3]}, "size.min has 3 numbers"),
        ({"step": [1]}, "size.step has 1 numbers"),
        ({"min": [0, 1]}, "at least 1"),
        ({"step": -1}, "at least 0"),
    ],
)
def test_a_size_rule_that_does_not_fit_is_refused(wrong: Any, says: str) -> None:
    with pytest.raises(ns.NeuroscopeError, match=says):
        ns.ModelSpec.parse({"input": {"size": wrong}})


def test_what_is_new_is_written_and_read_again() -> None:
    spec = ns.ModelSpec.parse(
        {
            "input": {
                "size": {"min": [4, 8], "step": [0, 2]},
                "normalization": {
                    "percentile": [1, 99],
                    "per_channel": True,
                    "eps": 1e-6,
                    "clip": [0, None],
                    "then": {"mean": 0.5, "std": 2},
                },
            }
        }
    )
    import yaml

    assert ns.ModelSpec.parse(yaml.safe_load(spec.to_yaml())) == spec
    assert isinstance(spec.input, InputSpec)
    assert isinstance(spec.input.size, SizeRule)

"""Normalisations: presets, of each image and channel, with limits, and several in a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

import napari_neuroscope as ns
from napari_neuroscope.engine.images.preprocessing import PreparedImage, prepare
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from prepared_images import prepared, values


def prepared_channels(image: np.ndarray, normalization: Any, **more: Any) -> PreparedImage:
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
    got = prepared_channels(
        image, {"percentile": [1, 99.8], "per_channel": True, "eps": 0.01}
    ).input
    low, high = np.percentile(image.astype(float), [1, 99.8], axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(got, (image - low) / (high - low + 0.01), atol=1e-6)


def test_mean_and_deviation_of_each_channel(image: np.ndarray) -> None:
    got = prepared_channels(image, {"per_image": True, "per_channel": True, "eps": 0.5}).input
    wide = image.astype(float)
    mean, std = wide.mean((1, 2), keepdims=True), wide.std((1, 2), keepdims=True)
    np.testing.assert_allclose(got, (wide - mean) / (std + 0.5), atol=1e-5)


@pytest.mark.parametrize("clip", [(0, 1), (None, 0.5), (0.25, None)])
def test_values_are_limited(image: np.ndarray, clip: Any) -> None:
    got = prepared_channels(image, {"percentile": [5, 95], "clip": clip}).input
    low, high = np.percentile(image.astype(float), [5, 95])
    np.testing.assert_allclose(got, ((image - low) / (high - low)).clip(*clip), atol=1e-6)


def test_what_follows_is_of_what_came_before(image: np.ndarray) -> None:
    rule = {
        "percentile": [10, 90],
        "per_channel": True,
        "clip": [0, 1],
        "then": {"per_image": True, "then": {"mean": 1, "std": [0.5, 2]}},
    }
    got = prepared_channels(image, rule)
    low, high = np.percentile(image.astype(float), [10, 90], axis=(1, 2), keepdims=True)
    limited = ((image - low) / (high - low)).clip(0, 1)
    whitened = (limited - limited.mean()) / limited.std()
    np.testing.assert_allclose(got.input, (whitened - 1) / [[[0.5]], [[2]]], atol=1e-5)
    inside = (limited > 0) & (limited < 1)
    np.testing.assert_allclose(got.displayable()[inside], image[inside], rtol=1e-5)


def test_large_values_of_little_contrast_keep_their_digits() -> None:
    image = np.full((1, 4, 4), 60000, np.float32)
    image[0, 0, 0] = 60001
    got = prepared_channels(image, {"per_image": True}).input.double().numpy()
    wide = image.astype(float)
    np.testing.assert_allclose(got, (wide - wide.mean()) / wide.std(), atol=1e-5)


PHOTO = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8)).resize(
        (65, 45)
    )
)


def chw(image: Any) -> np.ndarray:
    return np.moveaxis(np.asarray(image, np.float32) / 255, -1, 0)


def photo_input(**said: Any) -> np.ndarray:
    return prepare(PHOTO, ModelSpec.parse({"input": said}), 3).input.numpy()


@pytest.mark.parametrize(
    ("preset", "wanted"),
    [
        ("zero_255", lambda x: x * 255),
        ("mobilenet", lambda x: x * 2 - 1),
        ("mnist", lambda x: (x - 0.1307) / 0.3081),
    ],
)
def test_presets(preset: str, wanted: Any) -> None:
    np.testing.assert_allclose(photo_input(normalization=preset), wanted(chw(PHOTO)), rtol=1e-5)


def test_mean_and_deviation_are_of_the_0_to_1_range(rgb: np.ndarray) -> None:
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    expected = ((rgb / 255 - mean) / std).transpose(2, 0, 1)
    np.testing.assert_allclose(values(rgb, normalization="imagenet"), expected, atol=1e-5)


def test_caffe_takes_values_to_255_less_their_mean(rgb: np.ndarray) -> None:
    got = values(rgb, order="bgr", normalization="caffe")
    expected = rgb[..., ::-1].transpose(2, 0, 1) - np.array([[[103.939]], [[116.779]], [[123.68]]])
    np.testing.assert_allclose(got, expected, atol=2e-2)


def test_one_number_serves_all_channels(rgb: np.ndarray) -> None:
    got = values(rgb, normalization={"mean": 0.5, "std": 0.25})
    np.testing.assert_allclose(got, (rgb.transpose(2, 0, 1) / 255 - 0.5) / 0.25, atol=1e-6)


def test_each_image_to_mean_0_and_deviation_1(rgb: np.ndarray) -> None:
    got = values(rgb, normalization="per_image")
    assert abs(got.mean()) < 1e-5
    assert abs(got.std() - 1) < 1e-5


def test_percentiles_become_0_and_1(rng: np.random.Generator) -> None:
    image = rng.random((30, 40)) * 50 + 20
    low, high = np.percentile(image, [1, 99.8])
    got = values(image, 1, normalization="percentile")[0]
    np.testing.assert_allclose(got, (image - low) / (high - low), atol=1e-5)


@pytest.mark.parametrize("rule", ["imagenet", "caffe", "per_image", "percentile"])
def test_the_normalisation_can_be_undone(rgb: np.ndarray, rule: str) -> None:
    shown = prepared(rgb, normalization=rule).displayable()
    np.testing.assert_allclose(shown, rgb.transpose(2, 0, 1) / 255, atol=1e-5)


@pytest.mark.parametrize("rule", ["per_image", "percentile"])
def test_an_image_of_one_value_has_no_infinite_normalisation(rule: str) -> None:
    assert np.isfinite(values(np.full((4, 4), 0.5), 1, normalization=rule)).all()


def test_three_means_for_one_channel_are_refused() -> None:
    with pytest.raises(ns.NeuroscopeError, match="3 numbers for mean, but the network takes 1"):
        values(np.zeros((4, 4)), 1, normalization="imagenet")

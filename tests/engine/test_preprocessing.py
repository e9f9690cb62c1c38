"""From images of all kinds to the same input, with the channels and values in their places."""

from __future__ import annotations

from typing import Any

import dask.array
import numpy as np
import pytest
import torch

import napari_neuroscope as ns
from napari_neuroscope.engine.images.axes import guess_image_axes
from napari_neuroscope.engine.images.preprocessing import PreparedImage, prepare
from napari_neuroscope.engine.spec.model_spec import ModelSpec

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def prepared(
    image: Any, channels: int = 3, axes: str | None = None, **of_input: Any
) -> PreparedImage:
    return prepare(image, ns.ModelSpec.parse({"image_axes": axes, "input": of_input}), channels)


def values(*args: Any, **kwargs: Any) -> np.ndarray:
    return prepared(*args, **kwargs).input.numpy()


@pytest.fixture
def rgb(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)


# --- types ---


@pytest.mark.parametrize(
    "convert",
    [
        lambda image: image.astype(np.uint16) * 257,
        lambda image: image / np.float32(255),
        lambda image: image / np.float64(255),
        lambda image: image.astype(np.int32),
        lambda image: image.astype(np.int64),
        lambda image: image.astype(np.int32) * 257,
        lambda image: image.astype(">u2") * 257,
        lambda image: image[::-1].copy()[::-1],
        np.asfortranarray,
        torch.from_numpy,
        lambda image: dask.array.from_array(image, chunks=(3, 4, 1)),
        np.ma.masked_array,
        lambda image: image.tolist(),
    ],
)
def test_the_same_image_in_another_type_is_the_same_input(rgb: np.ndarray, convert: Any) -> None:
    rgb[0, 0] = 255  # so that an image in a wide type shows which range it has
    expected = rgb.transpose(2, 0, 1) / 255
    np.testing.assert_allclose(values(rgb), expected, atol=1e-7)
    np.testing.assert_allclose(values(convert(rgb)), expected, atol=1e-7)


def test_half_precision_keeps_what_it_can() -> None:
    image = np.linspace(0, 1, 24, dtype=np.float16).reshape(4, 6)
    np.testing.assert_array_equal(values(image, 1)[0], image.astype(np.float32))


def test_bool_images_are_zero_and_one() -> None:
    mask = np.arange(24).reshape(4, 6) % 2 == 1
    np.testing.assert_array_equal(values(mask, 1)[0], mask.astype(np.float32))


def test_signed_images_keep_their_zero() -> None:
    image = np.array([[0, 16384], [-32767, 32767]], np.int16)
    np.testing.assert_allclose(values(image, 1)[0], [[0, 16384 / 32767], [-1, 1]], atol=1e-7)


def test_a_small_value_of_a_wide_type_is_not_lost() -> None:
    # 2^24 + 1 is no float32: the difference must be taken in double precision.
    image = np.array([[2**24, 2**24 + 1], [2**24 + 2, 2**24 + 4]], np.uint32)
    scaled = values(image, 1, value_range="data")[0]
    np.testing.assert_allclose(scaled, [[0, 0.25], [0.5, 1]], atol=1e-7)


# --- value range ---


def test_floats_within_0_to_1_stay() -> None:
    image = np.array([[0.25, 0.5], [0.5, 0.75]])
    result = prepared(image, 1)
    np.testing.assert_allclose(result.input[0], image)
    assert result.notes == ()


def test_floats_beyond_are_scaled_with_a_note() -> None:
    result = prepared(np.array([[-1.0, 0.0], [1.0, 3.0]]), 1)
    np.testing.assert_allclose(result.input[0], [[0, 0.25], [0.5, 1]])
    assert any("beyond 0..1" in note for note in result.notes)


def test_the_type_of_wide_whole_numbers_is_guessed_with_a_note() -> None:
    result = prepared(np.array([[0, 255]], np.int32), 1, axes="yx")
    np.testing.assert_allclose(result.input[0], [[0, 1]])
    assert any("0..255" in note for note in result.notes)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.array([[0, 4080]], np.uint16), "such as to [0, 4095]"),
        (np.array([[7, 900]], np.uint16), "such as to [0, 1023]"),
        (np.array([[0, 255]], np.uint16), "such as to [0, 255]"),
        (np.array([[3, 20]], np.uint8), "such as to [3, 20]"),
        (np.array([[-1000, 1500]], np.int16), "such as to [-1000, 1500]"),
        (np.array([[0, 26]], np.uint8), ""),
        (np.array([[0, 0]], np.uint8), ""),
        (np.array([[0, 6554]], np.uint16), ""),
    ],
)
def test_a_small_part_of_a_type_is_told_with_a_range(image: np.ndarray, says: str) -> None:
    spec = ModelSpec.parse({"input": {"channels": 1}})
    notes = prepare(image, spec, 1).notes
    assert any(says in note for note in notes) if says else not notes
    ranged = ModelSpec.parse({"input": {"channels": 1, "value_range": [0, 4095]}})
    assert not prepare(image, ranged, 1).notes


def test_a_range_that_is_given_wins() -> None:
    image = np.array([[100, 200], [300, 500]], np.uint16)
    np.testing.assert_allclose(
        values(image, 1, value_range=(100, 500))[0], [[0, 0.25], [0.5, 1]], atol=1e-7
    )
    np.testing.assert_allclose(values(image, 1, value_range="data")[0], [[0, 0.25], [0.5, 1]])


@pytest.mark.parametrize("value_range", ["auto", "data", (0.0, 1.0)])
@pytest.mark.parametrize(
    "of", [np.zeros((4, 5)), np.full((4, 5), 7, np.uint8), np.full((4, 5), 3.5)]
)
def test_an_image_of_one_value_is_finite(of: np.ndarray, value_range: Any) -> None:
    assert np.isfinite(values(of, 1, value_range=value_range)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_read_as_the_lowest(bad: float) -> None:
    image = np.array([[bad, 0.5], [0.25, 1.0]])
    result = prepared(image, 1)
    np.testing.assert_allclose(result.input[0], [[0.25, 0.5], [0.25, 1]])
    assert any(note.startswith("1 values that are not finite") for note in result.notes)
    assert np.isnan(image[0, 0]) == np.isnan(bad), "the image itself is left alone"


# --- channels ---


def test_gray_for_a_colour_network_is_repeated(rgb: np.ndarray) -> None:
    gray = rgb[..., 0]
    expected = np.repeat(gray[None] / np.float32(255), 3, 0)
    np.testing.assert_allclose(values(gray), expected)
    np.testing.assert_allclose(values(gray[..., None]), expected)


def test_colour_for_a_gray_network_is_its_luminance(rgb: np.ndarray) -> None:
    np.testing.assert_allclose(values(rgb, 1)[0], rgb @ _LUMINANCE / 255, atol=1e-6)
    white = np.full((2, 2, 3), 255, np.uint8)
    np.testing.assert_allclose(values(white, 1), 1, atol=1e-6)


def test_alpha_is_left_out(rgb: np.ndarray) -> None:
    rgba = np.concatenate([rgb, np.full((6, 9, 1), 77, np.uint8)], 2)
    np.testing.assert_array_equal(values(rgba), values(rgb))
    np.testing.assert_array_equal(values(rgba, 1), values(rgb, 1))


def test_channels_first_and_last_are_the_same(rgb: np.ndarray) -> None:
    np.testing.assert_array_equal(values(rgb.transpose(2, 0, 1)), values(rgb))


def test_many_channels_pass_as_they_are(rng: np.random.Generator) -> None:
    image = rng.random((7, 20, 30))
    np.testing.assert_allclose(values(image, 7), image, rtol=1e-6)
    np.testing.assert_allclose(values(image.transpose(1, 2, 0), 7), image, rtol=1e-6)


def test_bgr_networks_get_bgr_and_their_own_means(rgb: np.ndarray) -> None:
    result = prepared(rgb, order="bgr", normalization={"mean": [0.1, 0.2, 0.3], "std": [1, 2, 4]})
    blue, green, red = (rgb[..., n] / 255 for n in (2, 1, 0))
    expected = [(blue - 0.1) / 1, (green - 0.2) / 2, (red - 0.3) / 4]
    np.testing.assert_allclose(result.input, expected, atol=1e-6)
    # What is shown is RGB again.
    np.testing.assert_allclose(result.displayable(), rgb.transpose(2, 0, 1) / 255, atol=1e-6)


def test_channels_that_are_no_colours_are_not_made_of_colours(rgb: np.ndarray) -> None:
    for image in (rgb[..., 0], np.concatenate([rgb, rgb[..., :1]], 2)):
        with pytest.raises(ns.NeuroscopeError, match="but the network takes 3"):
            values(image, 3, order="n")


@pytest.mark.parametrize(
    ("shape", "space", "channels", "axes"),
    [
        ((20, 30), "yx", 3, "yx"),
        ((20, 30, 3), "yx", 3, "yxc"),
        ((20, 30, 4), "yx", 3, "yxc"),
        ((20, 30, 3), "yx", 1, "yxc"),
        ((3, 20, 30), "yx", 3, "cyx"),
        ((1, 20, 30), "yx", 1, "cyx"),
        ((20, 30, 7), "yx", 7, "yxc"),
        ((7, 20, 30), "yx", 7, "cyx"),
        ((9, 20, 30), "yx", 3, "cyx"),
        ((9, 20, 30), "zyx", 1, "zyx"),
        ((9, 20, 30, 2), "zyx", 2, "zyxc"),
        ((2, 9, 20, 30), "zyx", 2, "czyx"),
        ((50,), "x", 1, "x"),
    ],
)
def test_axes_of_an_image_are_told_by_its_shape(
    shape: tuple[int, ...], space: str, channels: int, axes: str
) -> None:
    assert guess_image_axes(shape, space, channels) == axes


def test_axes_that_are_given_win(rng: np.random.Generator) -> None:
    image = rng.random((3, 8, 3))
    np.testing.assert_allclose(values(image, axes="cyx"), image, rtol=1e-6)
    np.testing.assert_allclose(values(image, axes="yxc"), image.transpose(2, 0, 1), rtol=1e-6)
    np.testing.assert_allclose(
        values(image, channels=8, axes="xcy"), image.transpose(1, 2, 0), rtol=1e-6
    )


# --- normalisation ---


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


# --- refusals ---


@pytest.mark.parametrize(
    ("image", "channels", "says"),
    [
        (np.zeros((0, 5)), 1, "empty"),
        (np.zeros((5, 5, 0)), 3, "empty"),
        (np.full((4, 4), np.nan), 1, "no finite value"),
        (np.full((4, 4), np.inf), 1, "no finite value"),
        (np.zeros((4, 4), complex), 1, "complex"),
        (np.array([["a", "b"]]), 1, "real numbers"),
        (np.zeros((4, 4), "M8[s]"), 1, "real numbers"),
        (np.zeros((9, 9, 2)), 3, "2 channels, but the network takes 3"),
        (np.zeros((4, 4, 3)), 2, "3 channels (RGB), but the network takes 2"),
        (np.zeros((2, 3, 4, 5, 6)), 3, "(2, 3, 4, 5, 6)"),
        (np.zeros((4, 200, 300, 3)), 3, "choose one plane"),
        (np.zeros((100, 200, 300)), 3, "choose one plane"),
        (np.float32(3), 1, "()"),
        (None, 1, "object"),
    ],
)
def test_images_that_cannot_be_read(image: Any, channels: int, says: str) -> None:
    with pytest.raises(ns.NeuroscopeError) as refusal:
        values(image, channels)
    assert says in str(refusal.value)


def test_axes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ns.NeuroscopeError, match="does not fit the axes “yxc”"):
        values(np.zeros((4, 4)), axes="yxc")

"""From images of all kinds to the same input, with the channels and values in their places."""

from __future__ import annotations

from typing import Any

import dask.array
import numpy as np
import pytest
import torch

import napari_neuroscope as ns
from napari_neuroscope.engine.images.formats.lazy_image import LazyImage
from napari_neuroscope.engine.images.ground_truth.kind import VOID, as_truth
from napari_neuroscope.engine.images.preprocessing import as_array, prepare
from napari_neuroscope.engine.images.spacing import Spacing
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from prepared_images import prepared, values

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


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


RNG = np.random.default_rng(0)


COLOURS = RNG.integers(0, 255, (20, 30, 3), np.uint8)


GRAY = COLOURS[..., 0]


DEEP = RNG.integers(0, 60_000, (70, 90)).astype(np.uint16)


def test_masked_values_are_no_numbers() -> None:
    masked = np.ma.masked_greater(GRAY.astype(np.float32), 200)
    prepared = prepare(masked, ModelSpec.model_validate({"task": "classification"}), 1)
    count = np.count_nonzero(GRAY > 200)
    assert any(note.startswith(f"{count} values that are not finite") for note in prepared.notes)
    with pytest.raises(ns.NeuroscopeError, match=r"masked values.*image\.filled"):
        as_array(np.ma.masked_greater(GRAY, 200))
    np.testing.assert_array_equal(as_array(np.ma.masked_array(GRAY)), GRAY)
    truth = as_truth(np.ma.masked_equal(np.arange(6, dtype=np.uint8), 4))
    assert truth.tolist() == [0, 1, 2, 3, VOID, 5]


def test_arrays_that_are_none_are_one_sentence() -> None:
    import dask.array as da

    class Broken:
        def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
            raise RuntimeError("no\nno")

    with pytest.raises(ns.NeuroscopeError, match=r"is no array: no\.$"):
        as_array(Broken())
    rows = da.from_array(DEEP)
    image = LazyImage("rows", (rows[rows[:, 0] > 9],), Spacing.of_pixels("yx"))
    with pytest.raises(ns.NeuroscopeError, match="compute_chunk_sizes"):
        _ = image.shape

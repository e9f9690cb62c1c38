"""Which values of an image become 0 and 1, and what is noted of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_neuroscope.engine.images.preprocessing import prepare
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from prepared_images import prepared, values


def test_signed_images_keep_their_zero() -> None:
    image = np.array([[0, 16384], [-32767, 32767]], np.int16)
    np.testing.assert_allclose(values(image, 1)[0], [[0, 16384 / 32767], [-1, 1]], atol=1e-7)


def test_a_small_value_of_a_wide_type_is_not_lost() -> None:
    # 2^24 + 1 is no float32: the difference must be taken in double precision.
    image = np.array([[2**24, 2**24 + 1], [2**24 + 2, 2**24 + 4]], np.uint32)
    scaled = values(image, 1, value_range="data")[0]
    np.testing.assert_allclose(scaled, [[0, 0.25], [0.5, 1]], atol=1e-7)


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

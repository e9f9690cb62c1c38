"""The eight orientations of EXIF and TIFF: what Pillow turns, turned as Pillow does."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps

from napari_neuroscope.engine.images.formats.orientation import (
    is_turned,
    swaps_sides,
    turned_upright,
)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_as_pillow_turns_it(orientation: int) -> None:
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    picture = Image.fromarray(values)
    picture.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(picture))
    np.testing.assert_array_equal(turned_upright(values, orientation), upright)
    assert swaps_sides(orientation) == (upright.shape == (4, 3))
    assert is_turned(orientation) == (orientation != 1)


def test_axes_that_are_turned_are_said() -> None:
    film = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(turned_upright(film, 3, 1, 2), film[:, ::-1, ::-1])
    assert not is_turned(0)
    assert not is_turned("6")

"""Colours of TIFF files are as scikit-image sees them; measured values stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from skimage.color import rgb2lab

from napari_neuroscope.engine.images.formats.image_file import open_image
from napari_neuroscope.engine.images.source import PaletteImage, Source, read_image, read_truth

PHOTO_VALUES = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)


def seen(path: Path) -> np.ndarray:
    """Return an image as all ways of reading give it."""
    whole = read_image(path)
    with open_image(path) as image:
        np.testing.assert_array_equal(image[...], whole)
        assert image.spacing.axes[:2] == ("y", "x")
    assert Source.of(path).shape == whole.shape
    return whole


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_lab_and_inverted_tiffs(dtype: str, tmp_path: Path) -> None:
    most, step = np.iinfo(dtype).max, 1 << (8 * np.dtype(dtype).itemsize - 8)
    light, *hues = np.moveaxis(rgb2lab(PHOTO_VALUES), -1, 0)
    signed = [np.rint(hue * step).astype(dtype.replace("u", "i")).view(dtype) for hue in hues]
    stored = np.stack([np.rint(light / 100 * most).astype(dtype), *signed], -1)
    tifffile.imwrite(tmp_path / "lab.tif", stored, photometric="cielab")
    found = seen(tmp_path / "lab.tif") / most
    np.testing.assert_allclose(found, PHOTO_VALUES / 255, atol=0.05)
    gray = PHOTO_VALUES[..., 0].astype(dtype)
    tifffile.imwrite(tmp_path / "white.tif", most - gray, photometric="miniswhite")
    np.testing.assert_array_equal(seen(tmp_path / "white.tif"), gray)


def test_measured_values_stay_and_numbers_of_a_truth(tmp_path: Path) -> None:
    numbers = (PHOTO_VALUES[..., 0] % 5).astype(np.uint8)
    table = np.random.default_rng(1).integers(0, 256, (3, 256)).astype(np.uint16)
    stored: dict[str, Any] = {"photometric": "palette", "colormap": table * 257}
    tifffile.imwrite(tmp_path / "a.tif", numbers, **stored)
    np.testing.assert_array_equal(seen(tmp_path / "a.tif"), table.T[numbers])
    for truth in (read_truth(tmp_path / "a.tif"), Source.of(tmp_path / "a.tif").read_truth()):
        assert isinstance(truth, PaletteImage)
        np.testing.assert_array_equal(truth.indices, numbers)
        np.testing.assert_array_equal(truth.colours, table.T[numbers])
    # ImageJ's tables of colours are for the eye.
    tifffile.imwrite(tmp_path / "j.tif", numbers, imagej=True, **stored)
    np.testing.assert_array_equal(seen(tmp_path / "j.tif"), numbers)

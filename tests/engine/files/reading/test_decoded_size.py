"""Honest files are read however large; no more is read than memory is free."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

import napari_neuroscope as ns
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.reading import decoded_size
from napari_neuroscope.engine.images.formats.image_file import open_image
from napari_neuroscope.engine.images.source import read_image

RNG = np.random.default_rng(0)


DEEP = RNG.integers(0, 60_000, (70, 90)).astype(np.uint16)


def test_an_honest_file_is_read_however_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ALWAYS_IMAGE", 1000)
    monkeypatch.setattr(limits, "MOST_IMAGE", 1000)
    np.save(tmp_path / "a.npy", DEEP)
    np.testing.assert_array_equal(read_image(tmp_path / "a.npy"), DEEP)
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((320, 320), np.uint8), compression="zlib", tile=(16, 16)
    )
    with pytest.raises(ns.NeuroscopeError, match="would decode to 102,400 bytes"):
        read_image(tmp_path / "a.tif")
    with open_image(tmp_path / "a.tif") as image:
        assert image[3, 4] == 0


def test_no_more_is_read_than_memory_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded_size, "_ALWAYS_FREE", 1000)
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("M", (), {"available": 5000}))
    np.save(tmp_path / "a.npy", DEEP)
    image = open_image(tmp_path / "a.npy")
    np.testing.assert_array_equal(image[:3, ::2], DEEP[:3, ::2])
    for read in (lambda: image[...], lambda: image[0:60], lambda: read_image(tmp_path / "a.npy")):
        with pytest.raises(ns.NeuroscopeError, match="of memory, of which 5,000 are free"):
            read()

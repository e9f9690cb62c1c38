"""NumPy's files are mapped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.images.formats.image_file import open_image
from zarr_files import FILM


def test_numpy_files_are_mapped(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FILM)
    image = open_image(tmp_path / "a.npy")
    assert isinstance(image.data, np.memmap)
    assert image.spacing.axes == ("axis 0", "axis 1", "y", "x")
    # What was read is no part of the file.
    assert not isinstance(image[1], np.memmap)
    np.save(tmp_path / "b.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ns.NeuroscopeError, match="can't be read"):
        open_image(tmp_path / "b.npy")

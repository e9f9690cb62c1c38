"""Writers say what can't be saved, and add the ending."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.layers import Image, Labels

import napari_neuroscope as ns
from napari_neuroscope.viewer.io.writers import write_picture, write_tiff, write_zarr
from results import explanation_of
from saved_layer_files import layers_over, tuples


def test_other_layers_are_told(tmp_path: Path) -> None:
    picture = Image(np.zeros((4, 5)), name="cells")
    (first,) = layers_over(explanation_of(("y", "x"), (5, 4)))
    strangers = Labels(np.zeros((5, 4), int), name="nuclei")
    path = str(tmp_path / "map.neuroscope.tif")
    with pytest.raises(ns.NeuroscopeError, match="“cells” is no explanation"):
        write_tiff(path, tuples([picture]))
    with pytest.raises(ns.NeuroscopeError, match="“nuclei” don't belong to"):
        write_tiff(path, tuples([first, strangers]))
    with pytest.raises(ns.NeuroscopeError, match="Select one explanation"):
        write_tiff(path, tuples([first, first]))
    first.data = np.zeros((3, 3))
    with pytest.raises(ns.NeuroscopeError, match="no longer holds what was explained"):
        write_tiff(path, tuples([first]))
    assert not list(tmp_path.iterdir())


def test_the_ending_is_added_and_a_folder_stays(tmp_path: Path) -> None:
    layers = tuples(layers_over(explanation_of(("y", "x"), (5, 4))))
    assert write_tiff(str(tmp_path / "a map"), layers) == [str(tmp_path / "a map.neuroscope.tif")]
    with pytest.raises(ns.NeuroscopeError, match="doesn't end in"):
        write_picture(str(tmp_path / "map.tif"), layers)
    write_zarr(str(tmp_path / "map.zarr"), layers)
    with pytest.raises(ns.NeuroscopeError, match="is there already"):
        write_zarr(str(tmp_path / "map.zarr"), layers)

"""Image files are opened by their content: of any kind, without being read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

import napari_neuroscope as ns
from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.images.formats.image_file import open_image
from napari_neuroscope.engine.images.source import Source, read_image, read_truth
from pair_files import PIXELS, put

RNG = np.random.default_rng(0)


DEEP = RNG.integers(0, 60_000, (70, 90)).astype(np.uint16)


def test_a_tiff_of_another_name_is_a_tiff(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.png", DEEP, tile=(32, 32), compression="zlib")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), DEEP)
    np.testing.assert_array_equal(read_truth(tmp_path / "a.png"), DEEP)
    assert Source.of(tmp_path / "a.png").shape == DEEP.shape


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy", "a.bmp", "A.PNG"])
def test_each_kind_of_file(name: str, tmp_path: Path) -> None:
    put(tmp_path, name)
    np.testing.assert_array_equal(read_image(tmp_path / name), PIXELS)


def test_files_that_are_no_images(tmp_path: Path) -> None:
    for name in ("a.png", "a.tif", "a.npy", "a.jpg"):
        (tmp_path / name).write_bytes(b"this is no image")
        with pytest.raises(ns.NeuroscopeError, match=rf"{name} can't be read: .+\.$") as refusal:
            read_image(tmp_path / name)
        assert "\n" not in str(refusal.value)
    with pytest.raises(ns.NeuroscopeError, match="There is no image"):
        read_image(tmp_path / "b.png")


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ns.NeuroscopeError, match="can't be read"):
        read_image(tmp_path / "a.npy")


def test_axes_that_a_file_names_are_no_channels(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (4, 40, 50)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "z.tif", values, imagej=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "c.ome.tif", values, metadata={"axes": "CYX"})
    spec = {"task": "segmentation", "input": {"channels": 4}}
    network = ns.wrap(lambda x: x[:, :2], spec)
    with open_image(tmp_path / "z.tif") as image:
        for ask in (network.predict, lambda given: ns.explain(network, given, "occlusion", 1)):
            with pytest.raises(NeuroscopeError, match="axes are z, y, x"):
                ask(image)
    with open_image(tmp_path / "c.ome.tif") as image:
        np.testing.assert_allclose(network.predict(image).scores, values[:2] / 255, atol=1e-6)

"""Explanations as files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from skimage.io import imread

import napari_neuroscope as ns
from napari_neuroscope.engine import saving
from napari_neuroscope.engine.saving import save
from napari_neuroscope.viewer.samples import nuclei


@pytest.fixture(scope="module")
def network() -> ns.Network:
    return ns.load("demo:nuclei", device="cpu")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return nuclei()[0][0]


def test_tif_holds_the_values_and_the_record(
    network: ns.Network, image: np.ndarray, tmp_path: Path
) -> None:
    explanation = ns.explain(network, image, "grad_cam", "nucleus", ["enc2", "dec1"])
    save(explanation, image, tmp_path / "map.tif")
    with tifffile.TiffFile(tmp_path / "map.tif") as file:
        values, record = file.asarray(), file.shaped_metadata[0]["neuroscope"]
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, explanation.on_image())
    assert record["layers"] == ["enc2", "dec1"]
    assert record["targets"][0]["class"] == "nucleus"


def test_npy_holds_raw_values_and_its_record_lies_beside(
    network: ns.Network, image: np.ndarray, tmp_path: Path
) -> None:
    explanation = ns.explain(network, image, "grad_cam", "nucleus", "enc4")
    save(explanation, image, tmp_path / "map.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "map.npy"), explanation.values)
    record = json.loads((tmp_path / "map.json").read_text("utf-8"))
    assert record["grid"]["scale"] == [8.0, 8.0]


@pytest.mark.parametrize(
    ("method", "layer", "size"),
    [("grad_cam", "enc3", (360, 360)), ("saliency", None, (360, 360)), ("input", None, (360, 360))],
)
def test_png_is_a_picture_of_the_image_size(
    network: ns.Network, image: np.ndarray, tmp_path: Path, method: str, layer: str, size: tuple
) -> None:
    explanation = ns.explain(network, image, method, None if layer is None and method == "input"
                             else "nucleus", layer)  # fmt: skip
    save(explanation, image, tmp_path / "map.png")
    picture = imread(tmp_path / "map.png")
    assert picture.shape == (*size, 3)
    assert len(np.unique(picture)) > 20


def test_the_map_in_a_picture_lies_on_the_nuclei(
    network: ns.Network, image: np.ndarray, tmp_path: Path
) -> None:
    truth = nuclei()[1][0] > 0
    explanation = ns.explain(network, image, "grad_cam", "nucleus", "dec1")
    save(explanation, image, tmp_path / "map.png")
    picture = imread(tmp_path / "map.png").astype(float)
    # The heat is red where the image is gray.
    heat = picture[..., 0] - picture[..., 2]
    assert heat[truth].mean() > 20 * max(heat[~truth].mean(), 0.1)


def test_a_stack_is_tiled(network: ns.Network, image: np.ndarray, tmp_path: Path) -> None:
    explanation = ns.explain(network, image, "grad_cam", "nucleus", ["enc1", "enc2", "enc3"])
    save(explanation, image, tmp_path / "map.png")
    height, width, _ = imread(tmp_path / "map.png").shape
    gap = 360 // 64
    assert (height, width) == (2 * 360 + gap, 2 * 360 + gap)


def test_a_failed_write_leaves_the_old_file(
    network: ns.Network, image: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "map.tif"
    path.write_bytes(b"mine")
    explanation = ns.explain(network, image, "saliency", "nucleus")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(saving.SUFFIXES, ".tif", full)
    with pytest.raises(ns.NeuroscopeError, match="can't be written: No space left"):
        save(explanation, image, path)
    assert path.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [path]

"""Planes of stacks with their ground truth, read when they are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

import napari_neuroscope as ns
from named_axes import by_hand, image_of, network_of
from napari_neuroscope.engine.images.pairing.find_pairs import pairs_of
from napari_neuroscope.engine.images.pairing.pair import Pair
from napari_neuroscope.engine.images.source import Source
from zarr_files import FILM, put_ome_zarr


class Lazy:
    """An array that tells which parts of it are read."""

    def __init__(self, data: np.ndarray) -> None:
        self.data, self.shape, self.read = data, data.shape, []

    def __getitem__(self, which: Any) -> np.ndarray:
        self.read.append(which)
        return self.data[which]


def test_planes_of_a_stack_are_read_one_by_one() -> None:
    network = ns.wrap(torch.nn.Conv2d(1, 2, 1), {"task": "segmentation"}, device="cpu")
    data = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    lazy = Lazy(data)
    pair = Pair("movie", Source.of(lazy, "movie"), Source.of(data % 2))
    planes = list(pair.planes(network))
    assert lazy.read == []
    assert [plane.name for plane in planes][:4] == [
        "movie [0, 0]", "movie [0, 1]", "movie [0, 2]", "movie [1, 0]",
    ]  # fmt: skip
    np.testing.assert_array_equal(planes[3].image.read(), data[1, 0])
    assert lazy.read == [(1, 0)]
    assert isinstance(planes[3].truth, Source)
    np.testing.assert_array_equal(planes[3].truth.read(), data[1, 0] % 2)
    short = Pair("movie", Source.of(data), Source.of(data[0]))
    with pytest.raises(ns.NeuroscopeError, match="a stack of 2 × 3 planes, but the ground truth"):
        list(short.planes(network))
    plain = Pair("one", Source.of(data[0, 0], "one"), "car")
    assert [(plane.name, plane.truth) for plane in plain.planes(network)] == [("one", "car")]


def test_planes_of_files_are_read_one_by_one(tmp_path: Path, chunks: list[str]) -> None:
    import torch

    network = ns.wrap(torch.nn.Conv2d(1, 2, 1), {"task": "segmentation"}, device="cpu")
    image, truth = put_ome_zarr(tmp_path / "a.zarr"), put_ome_zarr(tmp_path / "t" / "a.zarr")
    chunks.clear()
    planes = list(pairs_of(image, truth)[0].planes(network))
    assert len(planes) == 20
    assert planes[6].name == "a.zarr [1, 2]"
    assert chunks == []
    np.testing.assert_array_equal(planes[6].image.read(), FILM[1, 2])
    assert isinstance(planes[6].truth, Source)
    np.testing.assert_array_equal(planes[6].truth.read_truth(), FILM[1, 2])
    assert len(chunks) == 2


def test_axes_named_in_a_file_tell_its_planes(tmp_path: Path) -> None:
    """A stack of four slices is no image of four channels, wherever the slices are."""
    image = image_of("czyx", 3)
    tifffile.imwrite(tmp_path / "a.ome.tif", image, metadata={"axes": "CZYX"})
    truth = (image[0] > 0.5).astype(np.uint8)
    tifffile.imwrite(tmp_path / "truth.tif", truth, metadata={"axes": "ZYX"}, imagej=True)
    network = network_of(3)
    source = Source.of(tmp_path / "a.ome.tif")
    planes = list(Pair("a", source, Source.of(tmp_path / "truth.tif")).planes(network))
    assert [one.name for one in planes] == [f"a [{n}]" for n in range(6)]
    third = planes[3].image
    assert third.plane == (None, 3)
    assert third.shape_and_axes == ((3, 7, 9), ("c", "y", "x"))
    np.testing.assert_array_equal(third.read(), image[:, 3])
    np.testing.assert_array_equal(planes[3].truth.read(), truth[3])
    scores = network.predict(third.in_memory()).scores[1]
    np.testing.assert_allclose(scores, by_hand(image[:, 3], "cyx"), atol=1e-6)
    assert third.at((0,), (1,), "one").plane == (1, 3)
    assert third.at((2,), (5,), "column").plane == (None, 3, None, 5)

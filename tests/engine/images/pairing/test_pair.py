"""Planes of stacks with their ground truth, read when they are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import zarr
from torch import nn
from zarr.storage import LocalStore

import napari_neuroscope as ns
from napari_neuroscope.engine.images.pairing.find_pairs import pairs_of
from napari_neuroscope.engine.images.pairing.pair import Pair
from napari_neuroscope.engine.images.source import Source


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


FILM = np.arange(5 * 4 * 24 * 20, dtype=np.uint16).reshape(5, 4, 24, 20)


AXES = [
    {"name": "t", "type": "time", "unit": "second"},
    {"name": "z", "type": "space", "unit": "micrometer"},
    {"name": "y", "type": "space", "unit": "micrometer"},
    {"name": "x", "type": "space", "unit": "micrometer"},
]


def multiscales(levels: int = 1, **more: Any) -> list[dict[str, Any]]:
    datasets = [
        {
            "path": str(n),
            "coordinateTransformations": [
                {"type": "scale", "scale": [3.0, 1.5, 0.2 * 2**n, 0.2 * 2**n]},
                {"type": "translation", "translation": [0.0, 10.0, 0.1 * n, 0.1 * n]},
            ],
        }
        for n in range(levels)
    ]
    return [{"axes": AXES, "datasets": datasets, **more}]


def put_ome_zarr(path: Path, version: str = "0.5", values: np.ndarray = FILM) -> Path:
    """Write an OME-Zarr of two levels, a chunk a plane."""
    group = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    for number, level in enumerate((values, values[..., ::2, ::2])):
        group.create_array(str(number), data=level, chunks=(1, 1, *level.shape[-2:]))
    said = {"multiscales": multiscales(2)}
    group.attrs.update({"ome": {"version": version, **said}} if version == "0.5" else said)
    return path


@pytest.fixture
def chunks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the chunks that are read of stores on the disk."""
    read: list[str] = []
    get = LocalStore.get

    async def counted(self: LocalStore, key: str, *args: Any, **kwargs: Any) -> Any:
        if not key.endswith((".json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")):
            read.append(key)
        return await get(self, key, *args, **kwargs)

    monkeypatch.setattr(LocalStore, "get", counted)
    return read


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


SIZES = {"t": 4, "z": 6, "y": 7, "x": 9}


def network_of(channels: int, space: str = "yx", **spec: Any) -> ns.Network:
    """A segmenter whose score of a pixel is its own first value less that of the next along x."""
    convolution = {2: nn.Conv2d, 3: nn.Conv3d}[len(space)]
    kernel = (1,) * (len(space) - 1) + (2,)
    model = nn.Sequential(_PadX(), convolution(channels, 2, kernel, bias=False))
    with torch.no_grad():
        weight = torch.zeros_like(model[1].weight)
        for channel in range(channels):
            weight[1, channel, ..., 0], weight[1, channel, ..., 1] = channel + 1, -(channel + 1)
        model[1].weight.copy_(weight)
    stated = {"task": "segmentation", "classes": ["a", "b"],
              "input": {"channels": channels, "axes": f"bc{space}", "value_range": [0, 1]}}  # fmt: skip
    return ns.wrap(model, {**stated, **spec}, device="cpu")


class _PadX(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.pad(x, (0, 1))


def by_hand(image: np.ndarray, axes: str, space: str = "yx") -> np.ndarray:
    """The score of the second class of each pixel, (*stack, *space), of an image of known axes."""
    stack = [axis for axis in axes if axis not in (*space, "c")]
    order = [*stack, *(axis for axis in "c" if axis in axes), *space]
    values = image.transpose([axes.index(axis) for axis in order])
    if "c" not in axes:
        values = np.expand_dims(values, len(stack))
    weights = np.arange(1, values.shape[len(stack)] + 1).reshape(-1, *(1,) * len(space))
    summed = (values * weights).sum(len(stack))
    behind = np.pad(summed, [(0, 0)] * (summed.ndim - 1) + [(0, 1)])[..., 1:]
    return summed - behind


def image_of(axes: str, channels: int) -> np.ndarray:
    shape = tuple(channels if axis == "c" else SIZES[axis] for axis in axes)
    return np.random.default_rng(0).random(shape, np.float32)


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

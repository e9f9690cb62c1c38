"""Planes of stacks as images of their own, read when they are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from skimage.io import imsave

import napari_neuroscope as ns
import networks
from napari_neuroscope.engine.evaluation.plane_pairs import plane_pairs, truth_labels
from napari_neuroscope.engine.images.pairing.pair import Pair
from napari_neuroscope.engine.images.source import Source, read_image


class Lazy:
    """An array that counts what is read of it."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.ndim, self.dtype = (
            values, values.shape, values.ndim, values.dtype,
        )  # fmt: skip
        self.read: list[Any] = []

    def __getitem__(self, key: Any) -> np.ndarray:
        self.read.append(key)
        return self.values[key]


@pytest.fixture
def gray() -> ns.Network:
    return ns.wrap(
        networks.UNet(classes=2, channels=1),
        {"task": "segmentation", "input": {"size": {"min": 4, "step": 4}, "resize": "pad"}},
    )


def test_each_plane_of_a_stack_is_an_image(gray: ns.Network, rng: np.random.Generator) -> None:
    stack, truth = rng.random((2, 3, 8, 8)), rng.integers(0, 2, (2, 3, 8, 8))
    lazy = Lazy(stack)
    pair = Pair("film", Source("film", lazy), Source("truth", truth))
    found = plane_pairs([pair], gray)
    assert [one.name for one in found] == [f"film [{t}, {z}]" for t in (0, 1) for z in (0, 1, 2)]
    assert lazy.read == []
    np.testing.assert_array_equal(found[4].image.read(), stack[1, 1])
    np.testing.assert_array_equal(found[4].truth.read(), truth[1, 1])
    assert lazy.read == [(1, 1)]


def test_images_and_unknown_networks_are_left_as_they_are(gray: ns.Network) -> None:
    flat = Pair("flat", Source("flat", np.zeros((8, 8))), None)
    film = Pair("film", Source("film", np.zeros((2, 8, 8))), "classed")
    missing = Pair("gone", Source.of("/nowhere/gone.tif"), None)
    assert plane_pairs([flat, film], None) == [flat, film]
    found = plane_pairs([flat, film, missing], gray)
    assert found[0] is flat
    assert [one.truth for one in found[1:3]] == ["classed", "classed"]
    assert found[3] is missing


@pytest.mark.parametrize("name", ["a.tif", "a.npy", "a.png", "rgb.png", "rgba.png", "rgb.jpg"])
def test_a_shape_is_known_without_reading(
    name: str, tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = {"a.tif": (2, 6, 5), "a.npy": (2, 6, 5), "a.png": (6, 5), "rgba.png": (6, 5, 4)}
    values = rng.integers(0, 255, shape.get(name, (6, 5, 3))).astype(np.uint8)
    path = tmp_path / name
    if name.endswith("tif"):
        tifffile.imwrite(path, values)
    elif name.endswith("npy"):
        np.save(path, values)
    else:
        imsave(path, values, check_contrast=False)
    assert Source.of(path).shape == read_image(path).shape
    assert Source("x", path, (1,)).shape == read_image(path).shape[1:]


def test_a_shape_that_can_not_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ns.NeuroscopeError, match="can't be read"):
        _ = Source.of(tmp_path / "x.png").shape
    with pytest.raises(ns.NeuroscopeError, match="There is no image"):
        _ = Source.of(tmp_path / "y.png").shape


def test_true_classes_lie_on_the_images_grid(gray: ns.Network, rng: np.random.Generator) -> None:
    image, truth = rng.random((10, 7)), rng.integers(0, 2, (10, 7))
    prediction = gray.predict(image)
    found = truth_labels(gray, Pair("a", Source("a", image), Source("t", truth)), prediction)
    np.testing.assert_array_equal(found.labels, truth)
    assert truth_labels(gray, Pair("a", Source("a", image)), prediction) is None
    with pytest.raises(ns.NeuroscopeError, match="class of each pixel"):
        truth_labels(gray, Pair("a", Source("a", image), "sky"), prediction)

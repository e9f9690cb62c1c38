"""Stacks: which axes they have, and which planes are chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray

import napari_neuroscope as ns
from napari_neuroscope.engine.images.stack import Stack
from networks import Pixelwise, as_network, settled

FILM = np.random.default_rng(0).random((3, 2, 16, 20)).astype(np.float32)


def segmenter(channels: int = 1, **of_input: Any) -> ns.Network:
    return as_network(settled(Pixelwise(channels)), "segmentation", list("abc"), **of_input)


@pytest.mark.parametrize(
    ("shape", "axes", "channels", "stack", "plane"),
    [
        ((3, 2, 16, 20), None, 1, {"axis 0": 3, "axis 1": 2}, (16, 20)),
        ((3, 2, 16, 20), "tzyx", 1, {"t": 3, "z": 2}, (16, 20)),
        ((3, 2, 16, 20), "tcyx", 2, {"t": 3}, (2, 16, 20)),
        ((3, 2, 16, 20), "tcyx", 1, {"t": 3, "c": 2}, (16, 20)),
        ((5, 3, 4, 16, 20), "tczyx", 3, {"t": 5, "z": 4}, (3, 16, 20)),
        ((5, 16, 20, 3), "tyxc", 1, {"t": 5}, (16, 20, 3)),
        ((5, 16, 20, 3), None, 3, {"axis 0": 5}, (16, 20, 3)),
        ((16, 20, 5), "yxt", 1, {"t": 5}, (16, 20)),
        ((20, 5, 16), "xty", 1, {"t": 5}, (16, 20)),
        ((5, 16, 20), ("channel", "y", "x"), 5, {}, (5, 16, 20)),
        ((5, 16, 20), ("layer", "y", "x"), 1, {"layer of the image": 5}, (16, 20)),
        ((16, 20), None, 1, {}, (16, 20)),
        ((64, 64, 2), None, 1, {}, (64, 64, 2)),
        ((5, 64, 64, 2), None, 1, {"axis 0": 5}, (64, 64, 2)),
    ],
)
def test_the_axes_of_a_stack(
    shape: tuple[int, ...], axes: Any, channels: int, stack: dict[str, int], plane: tuple[int, ...]
) -> None:
    found = Stack.of(np.zeros(shape), segmenter(channels), axes)
    assert dict(zip(found.axes, found.shape, strict=True)) == stack
    assert found.read([0] * len(stack)).shape == plane


def test_axes_are_taken_as_the_network_and_the_spec_say() -> None:
    values = np.arange(4 * 3 * 2 * 5).reshape(4, 3, 2, 5)
    volumes = as_network(settled(Pixelwise(axes=3)), "segmentation", axes="bczyx")
    assert Stack.of(values, volumes, "tzyx").axes == ("t",)
    assert Stack.of(values, volumes).axes == ("axis 0",)
    last = as_network(settled(Pixelwise(3)), "segmentation", image_axes="yxc")
    stack = Stack.of(values, last, "tcyx")
    np.testing.assert_array_equal(stack.read([1]), values[1].transpose(1, 2, 0))
    of_dims = xarray.DataArray(values, dims=("time", "c", "y", "x"))
    assert Stack.of(of_dims, segmenter(3)).axes == ("time",)
    for axes in ("tyx", "ttyx"):
        with pytest.raises(ns.NeuroscopeError, match="has 4 axes, of sizes"):
            Stack.of(values, last, axes)
    with pytest.raises(ns.NeuroscopeError, match="is empty"):
        Stack.of(np.zeros((0, 4, 4)), last)


@pytest.mark.parametrize(
    ("planes", "chosen"),
    [
        (None, (range(3), range(2))),
        ("all", (range(3), range(2))),
        ("t=1", (range(1, 2), range(2))),
        ("t=0:2, z=-1", (range(2), range(1, 2))),
        ("t=::2, z=all", (range(0, 3, 2), range(2))),
        ("t=1:99", (range(1, 3), range(2))),
        ("axis 0=1, axis 1=0:1", (range(1, 2), range(1))),
        ({"z": 0, "t": range(1, 3)}, (range(1, 3), range(1))),
        ({"z": slice(1, None)}, (range(3), range(1, 2))),
    ],
)
def test_planes_that_are_chosen(planes: Any, chosen: tuple[range, ...]) -> None:
    assert Stack.of(FILM, segmenter(), "tzyx").chosen(planes) == chosen


@pytest.mark.parametrize(
    ("planes", "words"),
    [
        ("3", "Say along which axis the planes 3 are, as in t=3"),
        ("u=3", "no axis “u”"),
        ("t=3", r"the planes 0\.\.2, but 3"),
        ("t=2:1", "chooses none"),
        ("t=a", "“a” are neither a number nor a range"),
        ("t=", "“” are neither"),
        ("t=0:3:0", "neither a number nor a range"),
        ({"t": range(2, 5)}, "no range"),
        ({"t": slice(None, None, -1)}, "in their order"),
        ({"t": 0.5}, "a number, a range, a slice or a text, but 0.5"),
    ],
)
def test_planes_that_are_not_there(planes: Any, words: str) -> None:
    with pytest.raises(ns.NeuroscopeError, match=words):
        Stack.of(FILM, segmenter(), "tzyx").chosen(planes)


def test_the_one_axis_needs_no_name() -> None:
    assert Stack.of(FILM[:1], segmenter(), "tzyx").chosen("1:") == (range(1), range(1, 2))
    with pytest.raises(ns.NeuroscopeError, match="no axis “”; it is no stack"):
        Stack.of(FILM[0, 0], segmenter()).chosen("3")

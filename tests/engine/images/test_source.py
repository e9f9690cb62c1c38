"""Sources: files and arrays, read when they are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.images.pairing.pair import Pair
from napari_neuroscope.engine.images.source import Source


def test_a_plane_of_a_source() -> None:
    stack = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(Source("s", stack, (1,)).read(), stack[1])
    with pytest.raises(ns.NeuroscopeError, match="“s” can't be read: index 2"):
        Source("s", stack, (2,)).read()


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


def test_the_frames_of_a_moving_picture_are_an_axis_t(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "lime", "blue")]
    for name in ("a.gif", "a.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        source = Source.of(tmp_path / name)
        assert source.shape_and_axes == ((3, 4, 6, 3), ("t", "y", "x", "c"))
        opened = ns.open_image(tmp_path / name)
        assert opened.spacing.axes == ("t", "y", "x", "c")
        found = ns.explain_stack(network_of(3), opened, "score_map", 1)
        assert found.axes == ("t", "y", "x")
        expected = by_hand(np.asarray(opened, np.float32), "tyxc")
        np.testing.assert_allclose(found.values, expected, atol=1e-5)
        with pytest.raises(ns.NeuroscopeError, match="takes no t"):
            network_of(3).predict(opened)
        assert len(list(Pair("film", source).planes(network_of(3)))) == 3
    frames[0].save(tmp_path / "still.gif")
    assert Source.of(tmp_path / "still.gif").shape_and_axes == ((4, 6, 3), ("y", "x", "c"))

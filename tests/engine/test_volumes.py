"""Networks over one and three axes, each of another length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import napari_neuroscope as ns
from closeness import assert_close
from networks import Pixelwise, as_network, settled


class Volume(nn.Module):
    """A 3-D network with a pooling over rows and columns alone."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, 4, 3, padding=1)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool3d((1, 2, 2))
        self.deep = nn.Conv3d(4, 4, (1, 3, 3), padding=(0, 1, 1))
        self.up = nn.Upsample(scale_factor=(1, 2, 2))
        self.head = nn.Conv3d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.deep(self.pool(self.relu(self.conv(x)))))
        return self.head(self.up(y))


SHAPE = (5, 8, 12)  # depth, height and width


@pytest.fixture
def volume(rng: np.random.Generator) -> np.ndarray:
    return rng.random(SHAPE, dtype=np.float32)


@pytest.fixture
def network() -> ns.Network:
    return as_network(settled(Volume()), "segmentation", axes="bczyx")


@pytest.mark.parametrize(
    ("method", "more", "shape"),
    [
        ("saliency", {}, SHAPE),
        ("guided_backprop", {}, SHAPE),
        ("integrated_gradients", {"steps": 3, "baseline": "blur"}, SHAPE),
        ("smooth_grad", {"samples": 3}, SHAPE),
        ("grad_cam", {"layer": "deep"}, (5, 4, 6)),
        ("grad_cam", {"layer": ["conv", "deep"]}, (2, *SHAPE)),
        ("guided_grad_cam", {"layer": "deep"}, SHAPE),
        ("grad_cam_plus_plus", {"layer": "pool"}, (5, 4, 6)),
        ("score_map", {}, SHAPE),
        ("activation", {"layer": "deep"}, (4, 5, 4, 6)),
    ],
)
def test_axes_keep_their_places(
    method: str, more: Any, shape: Any, network: ns.Network, volume: np.ndarray
) -> None:
    found = ns.explain(network, volume, method, 1, **more)
    assert found.axes[-3:] == ("z", "y", "x")
    assert found.values.shape == shape
    assert found.on_image().shape[-3:] == SHAPE
    assert len(found.grid.scale) == 3


def test_a_region_in_a_volume(network: ns.Network, volume: np.ndarray) -> None:
    mask = np.zeros(SHAPE, bool)
    mask[1:3, 2:5, 6:11] = True
    found = ns.explain(network, volume, "saliency", ns.Target(1, mask), channels="keep").values
    x = torch.from_numpy(volume)[None, None].requires_grad_()
    score = (settled(Volume())(x)[0, 1] * torch.from_numpy(mask)).sum()
    assert_close(found, torch.autograd.grad(score, x)[0][0].numpy())
    points = [(4, 6, 11), (2, 5, 3), (0, 1, 8), (3, 2, 0)]
    targets = [ns.Target(1, point) for point in points]
    found = ns.explain(network, volume, "saliency", targets, channels="keep").values
    scores = [settled(Volume())(x)[(0, 1, *point)] for point in points]
    expected = [torch.autograd.grad(score, x)[0][0].numpy() for score in scores]
    assert_close(found, expected)


def test_channels_of_a_volume_come_first_or_last(rng: np.random.Generator) -> None:
    network = as_network(settled(Volume(2)), "segmentation", axes="bczyx")
    volume = rng.random((2, *SHAPE), dtype=np.float32)
    first = ns.explain(network, volume, "saliency", 1).values
    last = ns.explain(network, np.moveaxis(volume, 0, -1), "saliency", 1).values
    np.testing.assert_array_equal(first, last)


def test_a_volume_is_resized_along_each_axis(volume: np.ndarray) -> None:
    network = as_network(settled(Volume()), "segmentation", axes="bczyx", size=(10, 4, 6))
    found = ns.explain(network, volume, "saliency", 1)
    assert found.values.shape == (10, 4, 6)
    assert found.grid.scale == (0.5, 2.0, 2.0)
    assert found.on_image().shape == SHAPE


def test_planes_turned_in_a_volume(volume: np.ndarray) -> None:
    """Axes in another order in the image."""
    straight = as_network(settled(Volume()), "segmentation", axes="bczyx", image_axes="zyx")
    turned = as_network(settled(Volume()), "segmentation", axes="bczyx", image_axes="xzy")
    expected = ns.explain(straight, volume, "saliency", 1)
    found = ns.explain(turned, volume.transpose(2, 0, 1), "saliency", 1)
    assert found.axes == expected.axes
    np.testing.assert_array_equal(found.values, expected.values)


def test_one_axis(rng: np.random.Generator) -> None:
    network = as_network(settled(Pixelwise(axes=1)), "segmentation", axes="bcx")
    signal = rng.random(40)
    found = ns.explain(network, signal, "grad_cam", 1, "relu", relu=False)
    assert found.axes == ("x",)
    assert found.values.shape == (40,)
    assert ns.explain(network, signal, "saliency", ns.Target(1, (7,))).values[6:9].any()


@pytest.mark.parametrize("shape", [(8, 32), (32, 8), (4, 100)])
def test_oblong_images(shape: tuple[int, int], rng: np.random.Generator) -> None:
    network = as_network(settled(Pixelwise()), "segmentation")
    image = rng.random(shape)
    for method, more in (("saliency", {}), ("grad_cam", {"layer": "relu"}), ("score_map", {})):
        assert ns.explain(network, image, method, 1, **more).values.shape == shape

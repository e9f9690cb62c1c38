"""What a PyTorch model itself says of its input."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_neuroscope.engine.frameworks.torch.input_shape import (
    example_shape,
    input_channels,
    takes_volumes,
)


@pytest.mark.parametrize(
    ("model", "channels"),
    [
        (nn.Sequential(nn.BatchNorm2d(5), nn.Conv2d(5, 2, 1), nn.Conv2d(2, 7, 1)), 5),
        (nn.ConvTranspose3d(4, 2, 1), 4),
        (torch.jit.script(nn.Sequential(nn.Conv2d(6, 2, 3), nn.ReLU())), 6),
        (nn.Sequential(nn.Linear(3, 3), nn.Conv2d(5, 2, 1)), None),
        (nn.ReLU(), None),
    ],
)
def test_channels_are_those_of_the_first_convolution(model: nn.Module, channels: int) -> None:
    assert input_channels(model) == channels


def test_an_exported_model_says_its_shape() -> None:
    model = nn.Conv2d(3, 2, 1)
    assert example_shape(model) is None
    model.register_buffer("example_shape", torch.tensor([1, 4, 32, 48]))
    assert example_shape(model) == (1, 4, 32, 48)
    assert input_channels(model) == 4


def test_volumes_are_taken_where_all_convolutions_are_of_three_axes() -> None:
    assert takes_volumes(nn.Sequential(nn.Conv3d(1, 2, 1), nn.Linear(3, 3)))
    assert takes_volumes(torch.jit.script(nn.Sequential(nn.Conv3d(1, 2, 1))))
    assert not takes_volumes(nn.Sequential(nn.Conv3d(1, 2, 1), nn.Conv2d(1, 2, 1)))
    assert not takes_volumes(nn.Linear(3, 3))

"""What a module or function takes of the layer before it; both ways of writing say the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from napari_neuroscope.engine.frameworks.torch.tracing.reach import (
    reach_of_function,
    reach_of_module,
)
from napari_neuroscope.engine.graph.reach import ResampledReach, Window

X = torch.zeros(1, 2, 8, 8)


@pytest.mark.parametrize(
    ("module", "operation", "args", "kwargs", "reach"),
    [
        (
            nn.Conv2d(2, 3, (3, 5), 2, (1, 2), dilation=2),
            "conv2d",
            (X, torch.zeros(3, 2, 3, 5), None, 2, (1, 2), 2),
            {},
            Window((3, 5), (2, 2), (1, 2), (2, 2)),
        ),
        (
            nn.Conv2d(2, 3, 5, padding="same"),
            "conv2d",
            (X, torch.zeros(3, 2, 5, 5)),
            {"padding": "same"},
            Window((5, 5), (1, 1), (2, 2), (1, 1)),
        ),
        (
            nn.ConvTranspose2d(2, 3, 4, 2, 1),
            "conv_transpose2d",
            (X, torch.zeros(2, 3, 4, 4), None, 2, 1),
            {},
            Window((4, 4), (2, 2), (1, 1), (1, 1), transposed=True),
        ),
        (
            nn.MaxPool2d(3, 2, 1),
            "max_pool2d",
            (X, 3, 2),
            {"padding": 1},
            Window((3, 3), (2, 2), (1, 1), (1, 1)),
        ),
        (nn.AvgPool2d(2), "avg_pool2d", (X, 2), {}, Window((2, 2), (2, 2), (0, 0), (1, 1))),
        (nn.AdaptiveAvgPool2d(1), "adaptive_avg_pool2d", (X, 1), {}, "everywhere"),
        (nn.AdaptiveAvgPool2d(4), "adaptive_avg_pool2d", (X, 4), {}, ResampledReach("area")),
        (
            nn.Upsample(scale_factor=2, mode="bilinear"),
            "interpolate",
            (X, None, 2, "bilinear"),
            {},
            ResampledReach("linear", False),
        ),
        (nn.Upsample(scale_factor=1.5), "interpolate", (X, None, 1.5), {}, None),
        (nn.ReLU(), "relu", (X,), {}, "pointwise"),
        (nn.Softmax(1), "softmax", (X, 1), {}, "pointwise"),
        (nn.Softmax(3), "softmax", (X,), {"dim": 3}, "everywhere"),
        (nn.GroupNorm(1, 2), "group_norm", (X, 1), {}, "everywhere"),
        (
            nn.ZeroPad2d((1, 2, 3, 4)),
            "pad",
            (X, (1, 2, 3, 4)),
            {},
            Window((1, 1), (1, 1), (3, 1), (1, 1)),
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_of_modules_and_functions(
    module: nn.Module, operation: str, args: Any, kwargs: Any, reach: Any
) -> None:
    assert reach_of_module(module) == reach
    assert reach_of_function(operation, args, kwargs) == reach


class OwnPadding(nn.Conv2d):
    """May pad or cut as it likes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x[:, :, 1:])


@pytest.mark.parametrize(
    "module",
    [OwnPadding(2, 3, 3), nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), nn.Sequential()],
)
def test_what_is_not_known(module: nn.Module) -> None:
    assert reach_of_module(module) is None


def test_a_join_is_of_one_place_along_the_channels_alone() -> None:
    assert reach_of_function("cat", ([X, X], 1), {}) == "pointwise"
    assert reach_of_function("cat", ([X, X],), {"dim": 2}) is None
    assert reach_of_function("roll", (X, 1), {}) is None

"""The sizes that a network of volumes takes are found along each axis, with small volumes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from napari_neuroscope.engine.spec.inference import size_rule
from napari_neuroscope.engine.spec.input_spec import SizeRule


class _Halving(nn.Module):
    """A U-Net without weights that halves its axes as it is told, and brings them back."""

    def __init__(self, windows: list[tuple[int, int, int]]) -> None:
        super().__init__()
        self.windows = windows

    def forward(self, x: Tensor) -> Tensor:
        skipped = []
        for window in self.windows:
            skipped.append(x)
            x = nn.functional.max_pool3d(x, window, window)
        for window, before in zip(reversed(self.windows), reversed(skipped), strict=True):
            x = nn.functional.interpolate(x, scale_factor=window) + before
        return x


@pytest.mark.parametrize(
    ("windows", "rule"),
    [
        ([(1, 2, 2)] * 3, SizeRule(min=(1, 8, 8), step=(1, 8, 8))),
        ([(2, 2, 2)] * 4, SizeRule(min=16, step=16)),
        ([(1, 2, 2), (2, 2, 2), (2, 2, 2)], SizeRule(min=(4, 8, 8), step=(4, 8, 8))),
        ([], SizeRule(min=1, step=1)),
    ],
    ids=["planes", "cubes", "both", "any"],
)
def test_each_axis_of_a_volume_has_its_own_sizes(
    windows: list[tuple[int, int, int]], rule: SizeRule
) -> None:
    model, most = _Halving(windows), 0

    def ask(shape: tuple[int, ...]) -> Tensor | None:
        nonlocal most
        x = torch.zeros(1, 1, *shape)
        most = max(most, x.numel())
        try:
            return model(x)
        except RuntimeError:
            return None

    assert size_rule(ask, 3) == rule
    # Twice the size along all axes is eight times the work.
    assert most <= 2 * 32**3


def test_a_volume_of_one_size_or_cubes_alone() -> None:
    def cubes(shape: tuple[int, ...]) -> Tensor | None:
        return torch.zeros(1, 2, *shape) if len(set(shape)) == 1 and shape[0] % 8 == 0 else None

    def one_size(shape: tuple[int, ...]) -> Tensor | None:
        return torch.zeros(1, 2, *shape) if shape == (48, 48, 48) else None

    assert size_rule(cubes, 3) == SizeRule(min=8, step=8)
    assert size_rule(one_size, 3) == (48, 48, 48)

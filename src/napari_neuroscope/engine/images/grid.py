"""Where pixels lie: grids of cells over an image, and resampling between them.

A grid is known by its scale and offset on each axis of the image: the centre of its cell i lies
at ``scale * i + offset``, in pixels of the image, whose own pixel centres are whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_LINEAR = ("linear", "bilinear", "trilinear")


@dataclass(frozen=True)
class Grid:
    """A grid of cells laid over an image.

    Attributes
    ----------
    shape
        The number of cells on each axis.
    scale, offset
        Cell i of an axis has its centre at ``scale * i + offset`` pixels of the image.
    """

    shape: tuple[int, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]

    @classmethod
    def of_image(cls, shape: Sequence[int]) -> Grid:
        """Return the grid of an image's own pixels."""
        return cls(tuple(shape), (1.0,) * len(shape), (0.0,) * len(shape))

    def divided(self, shape: Sequence[int]) -> Grid:
        """Return the grid of `shape` cells that covers exactly what this one covers."""
        steps = [n / m for n, m in zip(self.shape, shape, strict=True)]
        return Grid(
            tuple(shape),
            tuple(s * step for s, step in zip(self.scale, steps, strict=True)),
            tuple(
                o + s * (step - 1) / 2
                for o, s, step in zip(self.offset, self.scale, steps, strict=True)
            ),
        )

    def window(self, start: Sequence[int], shape: Sequence[int]) -> Grid:
        """Return the grid that begins at cell `start` (below zero for padding) of this one."""
        return Grid(
            tuple(shape),
            self.scale,
            tuple(
                o + s * first for o, s, first in zip(self.offset, self.scale, start, strict=True)
            ),
        )

    def widened(self, others: Sequence[Grid]) -> Grid:
        """Return this grid with as many cells more on each side as it takes to cover others."""
        starts, shape = [], []
        for axis, (scale, offset) in enumerate(zip(self.scale, self.offset, strict=True)):
            ends = [
                ((o.offset[axis] - o.scale[axis] / 2 - offset) / scale + 0.5,
                 (o.offset[axis] + (o.shape[axis] - 0.5) * o.scale[axis] - offset) / scale + 0.5)
                for o in (self, *others)
            ]  # fmt: skip
            first = math.floor(min(first for first, _ in ends) + 1e-6)
            starts.append(first)
            shape.append(math.ceil(max(last for _, last in ends) - 1e-6) - first)
        return self.window(starts, shape)

    def without_first(self, count: int) -> Grid:
        """Return the grid along all axes but the first ones."""
        return Grid(self.shape[count:], self.scale[count:], self.offset[count:])

    def within(self, area: Grid) -> tuple[slice, ...]:
        """Return which cells of this grid have their centre on another."""
        cells = []
        for axis in range(len(self.shape)):
            inside = np.flatnonzero(_axis_samples(area, self, axis)[1])
            cells.append(slice(int(inside[0]), int(inside[-1]) + 1))
        return tuple(cells)

    def showing(self, area: Grid) -> tuple[np.ndarray, ...]:
        """Return which cells along each axis show another grid: bool, an array an axis.

        Those whose centre lies on it; where it is smaller than a cell, those that it touches.
        """
        cells = []
        for axis in range(len(self.shape)):
            inside = _axis_samples(area, self, axis)[1]
            if not inside.any():
                low = np.arange(self.shape[axis]) * self.scale[axis] + self.offset[axis]
                half, step = self.scale[axis] / 2, area.scale[axis]
                first = area.offset[axis] - step / 2
                last = first + area.shape[axis] * step
                inside = (low - half < last - 1e-9) & (low + half > first + 1e-9)
            cells.append(inside)
        return tuple(cells)

    def covers_like(self, grid: Grid) -> bool:
        """Whether this grid and another cover exactly the same part of the image."""
        return all(
            abs(n * s - m * t) < 1e-9 * n * s and abs((o - s / 2) - (p - t / 2)) < 1e-9 * n * s
            for n, s, o, m, t, p in zip(
                self.shape,
                self.scale,
                self.offset,
                grid.shape,
                grid.scale,
                grid.offset,
                strict=True,
            )
        )

    def to_cells(self, points: np.ndarray) -> np.ndarray:
        """Return image points (..., axis) as cell coordinates of this grid."""
        return (np.asarray(points, float) - self.offset) / self.scale


def _axis_samples(grid: Grid, onto: Grid, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates in `grid` of the cells of `onto`, and which lie inside."""
    at = (
        np.arange(onto.shape[axis]) * onto.scale[axis] + onto.offset[axis] - grid.offset[axis]
    ) / grid.scale[axis]
    # Rounding must not turn a border pixel into an outside one.
    inside = (at >= -0.5 - 1e-6) & (at <= grid.shape[axis] - 0.5 + 1e-6)
    return at, inside


def resample(
    values: Tensor, grid: Grid, onto: Grid, *, outside: float | None = float("nan")
) -> Tensor:
    """Resample linearly between half-pixel centres (as ``align_corners=False``).

    Parameters
    ----------
    values
        Floating values (..., *grid.shape).
    outside
        The value of cells of `onto` that `grid` doesn't cover; None: that of the border.

    Returns
    -------
    Tensor
        (..., *onto.shape); borders are continued, so nothing rings and nothing is negative that
        was not before.
    """
    # First axes that are the same are as good as others: no plane of a stack says what is beside it.
    cells = [list(zip(g.shape, g.scale, g.offset, strict=True)) for g in (grid, onto)]
    alike = [a == b for a, b in zip(*cells, strict=True)]
    same = alike.index(False) if False in alike else len(alike) - 1
    grid, onto = grid.without_first(same), onto.without_first(same)
    first = values.ndim - len(grid.shape)
    if grid.covers_like(onto) and len(grid.shape) <= len(_LINEAR):
        fine = functional.interpolate(
            values.reshape(1, -1, *grid.shape),
            onto.shape,
            mode=_LINEAR[len(grid.shape) - 1],
            align_corners=False,
        )
        return fine.reshape(*values.shape[:first], *onto.shape)
    for axis in range(len(grid.shape)):
        at, inside = _axis_samples(grid, onto, axis)
        if grid.shape[axis] == onto.shape[axis] and np.allclose(at, np.arange(len(at)), atol=1e-9):
            continue
        clipped = np.clip(at, 0, grid.shape[axis] - 1)
        low = np.minimum(clipped.astype(np.int64), max(grid.shape[axis] - 2, 0))
        weight = torch.as_tensor(clipped - low, dtype=values.dtype, device=values.device)
        shape = [1] * values.ndim
        shape[first + axis] = -1
        index = torch.as_tensor(low, device=values.device)
        after = (index + 1).clamp(max=grid.shape[axis] - 1)
        values = torch.lerp(
            values.index_select(first + axis, index),
            values.index_select(first + axis, after),
            weight.reshape(shape),
        )
        if outside is not None and not inside.all():
            gone = torch.as_tensor(np.flatnonzero(~inside), device=values.device)
            values.index_fill_(first + axis, gone, outside)
    return values


def resample_nearest(
    values: np.ndarray, grid: Grid, onto: Grid, *, outside: float = 0
) -> np.ndarray:
    """Resample labels or masks (..., *grid.shape) by nearest neighbour onto another grid."""
    first = values.ndim - len(grid.shape)
    for axis in range(len(grid.shape)):
        at, inside = _axis_samples(grid, onto, axis)
        index = np.clip(np.floor(at + 0.5).astype(np.int64), 0, grid.shape[axis] - 1)
        values = np.take(values, index, axis=first + axis)
        if not inside.all():
            place: list[Any] = [slice(None)] * values.ndim
            place[first + axis] = np.flatnonzero(~inside)
            values[tuple(place)] = outside
    return values

"""Being sure that a network answers tiles as it answers the whole image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.images.preprocessing import PreparedImage
from napari_neuroscope.engine.passes.model import Model
from napari_neuroscope.engine.passes.target import Target
from napari_neuroscope.engine.passes.trace import Trace
from napari_neuroscope.engine.tiles.geometry import Geometry, Margins, Tile, kept, rounded_up
from napari_neuroscope.engine.tiles.targets import steps_of_output


class _Intermediate(NamedTuple):
    """What must be alike in tiles and in the whole: (channel, *space), its strides and margins.

    Also how finely the network's own numbers are rounded.
    """

    values: Tensor
    steps: tuple[Any, ...]
    margins: Margins
    eps: float


def check_by_noise(
    network: Model,
    geometry: Geometry,
    shape: Sequence[int],
    layers: Sequence[str],
    pulled: Sequence[str],
) -> None:
    """Refuse a network whose tiles differ from the whole, of which its layers show nothing.

    Such as coordinates that it makes itself: they are found by two tiles of noise against the
    whole of them, or against each other where the network takes tiles of one size alone.

    Parameters
    ----------
    network, geometry
        The network, and how its layers cut an image.
    shape
        The image's pixels along the spatial axes.
    layers, pulled
        The layers that are looked at, and those that gradients are pulled back to, "" the input.

    Raises
    ------
    NeuroscopeError
        Where they differ.
    """
    small, large = _trial_shapes(geometry, shape, pulled)
    noise = torch.randn(network.channels, *large, generator=torch.Generator().manual_seed(0))

    def noticed(start: Sequence[int], size: Sequence[int]) -> list[_Intermediate]:
        cut = tuple(slice(s, s + n) for s, n in zip(start, size, strict=True))
        part = noise[(slice(None), *cut)].contiguous()
        return list(_noticed(network, geometry, part, layers, pulled))

    starts = [(0,) * len(large), tuple(n - m for n, m in zip(large, small, strict=True))]
    parts = [(Tile(start, small, ()), noticed(start, small)) for start in starts]
    if not geometry.fixed:
        parts.insert(1, (Tile(starts[0], large, ()), noticed(starts[0], large)))
    for (earlier, of_earlier), (later, of_later) in pairwise(parts):
        for a, b in zip(of_earlier, of_later, strict=True):
            core = _common(earlier, later, large, a.margins, geometry)
            if any(first >= stop for first, stop in core):
                continue
            at_one, at_other = (
                _within(intermediate, Tile(tile.start, tile.shape, core), large)
                for tile, intermediate in ((earlier, a), (later, b))
            )
            if not _alike(at_one, at_other, a.eps):
                raise NeuroscopeError(
                    "The network answers a part of an image otherwise than the whole, though its "
                    "layers don't show why, so it can't be run tile by tile; explain a part of the "
                    "image that fits the memory."
                )


def _trial_shapes(
    geometry: Geometry, shape: Sequence[int], pulled: Sequence[str]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the smallest shape of a tile, and that of a whole which holds two of them."""
    small = geometry.fixed or tuple(
        n - max(0, (n - max(rounded_up(before, k) + after + k, least)) // g) * g
        for n, (before, after), k, g, least in zip(
            shape,
            geometry.margins(pulled),
            geometry.block,
            geometry.spacing,
            geometry.least,
            strict=True,
        )
    )
    sides = zip(small, geometry.spacing, shape, strict=True)
    return small, tuple(n + g if n < most else n for n, g, most in sides)


def _within(intermediate: _Intermediate, tile: Tile, whole: Sequence[int]) -> Tensor:
    local, _ = kept(tile, whole, intermediate.steps, intermediate.values.shape[1:])
    return intermediate.values[(slice(None), *local)]


def _common(
    earlier: Tile, later: Tile, whole: Sequence[int], margins: Margins, geometry: Geometry
) -> tuple[tuple[int, int], ...]:
    """Return the pixels at which two tiles of the whole must agree."""
    parts = []
    for axis, (n, (before, after), k) in enumerate(
        zip(whole, margins, geometry.block, strict=True)
    ):
        first, stop = 0, n
        for tile in (earlier, later):
            start, end = tile.start[axis], tile.start[axis] + tile.shape[axis]
            first = max(first, start + rounded_up(before, k) if start else 0)
            stop = min(stop, n if end == n else (end - after) // k * k)
        parts.append((first, stop))
    return tuple(parts)


def _noticed(
    network: Model,
    geometry: Geometry,
    x: Tensor,
    layers: Sequence[str],
    pulled: Sequence[str],
) -> Iterator[_Intermediate]:
    grid = Grid.of_image(x.shape[1:])
    ones = torch.ones(len(x))
    trace = Trace.of_part(
        network, PreparedImage(x, grid, grid, ones, 0 * ones, "n"), layers, gradients=bool(pulled)
    )
    target, near = trace.resolve(Target(0, "everywhere")), geometry.margins()
    eps = torch.finfo(trace.outputs.raw.dtype).eps
    scores = trace.outputs.scores
    yield _Intermediate(scores, steps_of_output(geometry, scores.shape[1:], x.shape[1:]), near, eps)
    for layer in layers:
        yield _Intermediate(trace.activation(layer), geometry.steps[layer], near, eps)
    for name in pulled:
        gradient = trace.gradient(target, name) if name else trace.input_gradient(target)
        yield _Intermediate(gradient, geometry.steps[name], geometry.margins([name]), eps)


def _alike(first: Tensor, second: Tensor, eps: float) -> bool:
    """Whether two parts of an answer are equal but for rounding, and gates that it may flip."""
    if first.shape != second.shape:
        return False
    return float((first - second).norm()) <= max(1e-4, 20 * eps) * float(first.norm())

"""How an image is cut into tiles of which the network makes what it makes of the whole.

Of each tile the outer part is computed and thrown away: as far as its units see beyond it, and
where gradients come back from units further out, as far again. Tiles begin at multiples of the
network's stride, so that its poolings cut them as they cut the whole.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError, NotByTilesError
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.graph.tile_reach import beyond, strides
from napari_neuroscope.engine.passes.unit_placement import surely_cut
from napari_neuroscope.engine.spec.input_spec import SizeRule
from napari_neuroscope.engine.spec.model_spec import ModelSpec

Margins = tuple[tuple[int, int], ...]
"""How many pixels of a tile are thrown away, (before, after) an axis."""
Window = tuple[tuple[int, int], ...]
"""Which pixels of an image, (first, stop) an axis."""


@dataclass(frozen=True)
class Tile:
    """A part of the input, and the part of it that is kept, in pixels of the padded image.

    Attributes
    ----------
    start, shape
        Which pixels are passed through the network.
    core
        Which of them are kept, (first, stop) an axis.
    """

    start: tuple[int, ...]
    shape: tuple[int, ...]
    core: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Geometry:
    """How a network's layers cut an image, one number an axis.

    Attributes
    ----------
    steps
        How far apart the units of each layer are, in pixels; "" is the input.
    outputs
        The layers that nothing comes after.
    block
        The least number of pixels that is a multiple of all strides.
    spacing
        What distances of tiles are multiples of.
    even
        Whether a side that is no multiple of the block is resampled by another factor.
    sees
        How far the outputs of a block see beyond it.
    least
        The fewest pixels that the network takes.
    fixed
        The only size that it takes; None: it takes several.
    graph
        The layers.
    """

    steps: Mapping[str, tuple[Any, ...]]
    outputs: tuple[str, ...]
    block: tuple[int, ...]
    spacing: tuple[int, ...]
    even: bool
    sees: Margins
    least: tuple[int, ...]
    fixed: tuple[int, ...] | None
    graph: LayerGraph

    @classmethod
    def of(cls, graph: LayerGraph, spec: ModelSpec) -> Geometry:
        """Find it from the layers.

        Raises
        ------
        NeuroscopeError
            Where the network is not fully convolutional.
        """
        steps = strides(graph, surely_cut(graph))
        leaves = [name for name in steps if name and graph[name].kind != "block"]
        if not leaves:
            raise NeuroscopeError(
                "The network's layers can't be seen, so neither can how far they see, and it can't "
                "be run tile by tile; explain a part of the image that fits the memory."
            )
        block = tuple(
            math.lcm(*(s.numerator for s in axis)) for axis in zip(*steps.values(), strict=True)
        )
        rule = spec.input.size
        rules = rule.each(graph.space) if isinstance(rule, SizeRule) else [(1, 1)]
        rules = rules if len(rules) == graph.space else rules * graph.space
        end = {graph.final_activation[0]} if graph.final_activation else set()
        outputs = tuple(name for name in leaves if set(graph[name].outputs) <= end)
        fields = [beyond(graph, name, block) for name in outputs]
        return cls(
            steps,
            outputs,
            block,
            tuple(math.lcm(b, max(n, 1)) for b, (_, n) in zip(block, rules, strict=True)),
            any(not _by_windows(graph[name].reach) for name in leaves),
            tuple((max(b for b, _ in axis), max(a for _, a in axis))
                  for axis in zip(*fields, strict=True)),
            tuple(n for n, _ in rules),
            rule if isinstance(rule, tuple) else None,
            graph,
        )  # fmt: skip

    def margins(self, pulled: Iterable[str] = (), *, more: int = 0) -> Margins:
        """Return what is thrown away of tiles.

        Parameters
        ----------
        pulled
            The layers that gradients are pulled back to, "" the input. A gradient at a unit comes
            from all outputs that see it, and each is right where all that it sees is in the tile.
        more
            How many blocks more.
        """
        back = [self._back(name) for name in pulled]
        return tuple(
            (
                before + rounded_up(max((to[axis][1] for to in back), default=0), b) + more * b,
                after + rounded_up(max((to[axis][0] for to in back), default=0), b) + more * b,
            )
            for axis, ((before, after), b) in enumerate(zip(self.sees, self.block, strict=True))
        )

    def _back(self, name: str) -> Margins:
        """Return how far beyond a block the outputs in it see units of a layer."""
        if not name:
            return self.sees
        fields = [beyond(self.graph, output, self.block, of=name) for output in self.outputs]
        return tuple(
            (max(b for b, _ in axis), max(a for _, a in axis)) for axis in zip(*fields, strict=True)
        )

    def tiles(
        self,
        shape: Sequence[int],
        tile: Sequence[int],
        margins: Margins,
        window: Window | None = None,
    ) -> list[Tile]:
        """Return tiles of at most `tile` that cover an image, their cores each pixel of it once.

        Of a window, made by `snapped`, only what it holds is covered.

        Raises
        ------
        NeuroscopeError
            Where the tile is too small, or the image's sides are no multiples of the stride and
            would be resampled by another factor in each tile.
        """
        wanted = window or tuple((0, n) for n in shape)
        axes = [
            self._within(ends, n, size, margin, axis)
            for axis, (ends, n, size, margin) in enumerate(
                zip(wanted, shape, tile, margins, strict=True)
            )
        ]
        return [
            Tile(
                tuple(start for start, _, _ in places),
                tuple(size for _, size, _ in places),
                tuple(core for _, _, core in places),
            )
            for places in itertools.product(*axes)
        ]

    def snapped(self, window: Window, shape: Sequence[int]) -> Window:
        """Return a window widened to whole units of all layers, within an image of `shape`."""
        return tuple(
            (first // b * b, min(rounded_up(stop, b), n))
            for (first, stop), b, n in zip(window, self.block, shape, strict=True)
        )

    def _within(
        self, ends: tuple[int, int], n: int, tile: int, margin: tuple[int, int], axis: int
    ) -> list[tuple[int, int, tuple[int, int]]]:
        """Return (start, size, core) of the tiles that cover a part of an axis."""
        if ends == (0, n) or self.fixed:
            return [
                (start, size, (max(first, ends[0]), min(last, ends[1])))
                for start, size, (first, last) in self._along(n, tile, margin, axis)
                if first < ends[1] and last > ends[0]
            ]
        spacing = self.spacing[axis]
        # What is passed begins and ends where tiles of the whole might, so that it is of a size
        # that the network takes.
        start = max(0, ends[0] - rounded_up(margin[0], self.block[axis])) // spacing * spacing
        rest = max(0, n - ends[1] - margin[1]) // spacing * spacing
        short = rounded_up(max(0, self.least[axis] - (n - rest - start)), spacing)
        grown = min(short, rest)
        start, stop = max(0, start - (short - grown)), n - rest + grown
        if stop - start < n:
            self._check_even(n, axis)
        return [
            (start + s, size, (max(start + first, ends[0]), min(start + last, ends[1])))
            for s, size, (first, last) in self._along(stop - start, tile, margin, axis)
            if start + first < ends[1] and start + last > ends[0]
        ]

    def _check_even(self, n: int, axis: int) -> None:
        block = self.block[axis]
        if self.even and n % block:
            raise NotByTilesError(
                f"A side of {n} pixels is no multiple of {block}, the network's stride, so tiles "
                f"would be resampled otherwise than the whole; set the spec's input.size to "
                f"{{min: {block}, step: {block}}} and input.resize to pad, or cut the image."
            )

    def _along(
        self, n: int, tile: int, margin: tuple[int, int], axis: int
    ) -> list[tuple[int, int, tuple[int, int]]]:
        """Return (start, size, core) of the tiles of an axis: all cores but the last are alike."""
        if n <= tile:
            return [(0, n, (0, n))]
        self._check_even(n, axis)
        block, spacing, least = self.block[axis], self.spacing[axis], self.least[axis]
        before, after = rounded_up(margin[0], block), margin[1]
        # As the side itself, a size that differs from it by a multiple is one that the network
        # takes.
        most = n - rounded_up(n - tile, spacing)
        step = (most - before - max(after, spacing - block)) // block * block
        if step < block or most < least:
            advice = (
                "set the spec's input.halo to less"
                if self.fixed
                else f"give {max(before + after + 2 * spacing, least)} at least"
            )
            raise NotByTilesError(
                f"A tile of {tile} pixels is too small: of each side {before} and {after} are "
                f"thrown away; {advice}."
            )

        def last_start(core: int) -> int:
            if self.fixed:
                return n - tile
            return max(0, min(core - before, n - least) // spacing * spacing)

        places, core = [], 0
        while core == 0 or core - before < last_start(core) or n - last_start(core) > most:
            start = max(0, core - before)
            needed = max(core + step + after - start, least)
            size = tile if self.fixed else n - max(0, n - needed) // spacing * spacing
            places.append((start, size, (core, core + step)))
            core += step
        start = last_start(core)
        return [*places, (start, n - start, (core, n))]


def _by_windows(reach: Any) -> bool:
    return reach == "pointwise" or getattr(reach, "before", None) is not None


def rounded_up(n: int, step: int) -> int:
    """Return the least multiple of a step that is not below a number."""
    return -(-n // step) * step


def kept(
    tile: Tile, whole: Sequence[int], steps: Sequence[Any], shape: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return which units of a tile's map of `shape` are kept, and where they lie in the whole's."""
    local, placed = [], []
    for start, core, n, step, m in zip(tile.start, tile.core, whole, steps, shape, strict=True):
        origin = int(start / step)
        first, stop = int(core[0] / step), int(core[1] / step)
        stop = origin + m if core[1] == n else stop
        local.append(slice(first - origin, stop - origin))
        placed.append(slice(first, stop))
    return tuple(local), tuple(placed)


def whole_shape(
    tile: Tile, shape: Sequence[int], whole: Sequence[int], steps: Sequence[Any]
) -> tuple[int, ...]:
    """Return the shape of a map of the whole, from that of a tile's map."""
    return tuple(
        m + int((n - size) / step)
        for m, n, size, step in zip(shape, whole, tile.shape, steps, strict=True)
    )


def part_of(
    window: Window, whole: Sequence[int], steps: Sequence[Any], shape: Sequence[int]
) -> tuple[slice, ...]:
    """Return which units of the whole's map of `shape` a window holds."""
    return tuple(
        slice(int(first / step), m if stop == n else int(stop / step))
        for (first, stop), n, step, m in zip(window, whole, steps, shape, strict=True)
    )

"""The ways over the tiles that a question takes: what is passed through the network, and for what."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import torch

from napari_neuroscope.engine.errors import no_progress
from napari_neuroscope.engine.explain.maps import maps_of
from napari_neuroscope.engine.explain.tiled.question import TiledQuestion
from napari_neuroscope.engine.explain.tiled.weighted_maps import Visit, WeightedMaps
from napari_neuroscope.engine.methods.interface import ChannelWeights, Map
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace
from napari_neuroscope.engine.tiles.geometry import Tile, whole_shape
from napari_neuroscope.engine.tiles.targets import steps_of_output

Kind = Literal["forward", "gradients", "none"]


class TilePass(NamedTuple):
    """One way over the tiles.

    Attributes
    ----------
    tiles
        Which they are.
    kind
        Whether they go through the network, and whether gradients are pulled back.
    visit
        Called for each tile.
    """

    tiles: list[Tile]
    kind: Kind
    visit: Visit


class TilePasses:
    """Passes a question's tiles through the network.

    Parameters
    ----------
    question
        What is asked.
    write
        Takes a tile and the maps of each target and layer.

    Attributes
    ----------
    output_shape, layer_shapes
        The positions of the output for the whole, and each layer's (channel, *space), once a tile
        was passed.
    """

    def __init__(
        self, question: TiledQuestion, write: Callable[[Tile, list[list[Map]]], None]
    ) -> None:
        self._question, self._write = question, write
        self.output_shape: tuple[int, ...] = ()
        self.layer_shapes: list[list[int]] = []

    def plan(self, size: Sequence[int]) -> list[TilePass]:
        """Return the ways over tiles of a size, the last of which writes the map."""
        question, weights = self._question, self._question.weights
        far = question.tiles(size, question.pulled)
        if weights is None:
            kind: Kind = "gradients" if question.pulled else "forward"
            return [*self._counting(size), TilePass(far, kind, self._write_maps)]
        # Weights that are linear are scaled in the end; others are counted by sums without gradients.
        counted_before = not weights.linear and weights.sums[0].gradients
        passes = self._counting(size) if counted_before else []
        maps = WeightedMaps(question, weights, keeps=self._keeps(weights, far), write=self._write)
        for sums in weights.sums:
            kind = "gradients" if sums.gradients else "forward"
            passes.append(TilePass(far, kind, maps.visit_for(sums)))
        if weights.also:
            return [*passes, TilePass(far, "gradients", maps.write_maps)]
        return [*passes, TilePass(far, "none" if maps.keeps else "forward", maps.write_maps)]

    def _counting(self, size: Sequence[int]) -> list[TilePass]:
        """Return the way that counts a region whose mean is asked for."""
        counted = any(tally.must_be_counted for tally in self._question.targets.tallies)
        if not self._question.pulled or not counted:
            return []
        near = self._question.tiles(size, ())
        return [TilePass(near, "forward", lambda tile, trace, targets: None)]

    def _keeps(self, weights: ChannelWeights, tiles: list[Tile]) -> bool:
        """Whether the layers' outputs on all tiles are kept, so that the map takes no more pass.

        That is where they take no more memory than the pass of one tile.
        """
        question = self._question
        graph, network = question.network.layers, question.network
        numbers = sum(
            graph[name].output_shape[0] * math.prod(
                n / s for n, s in zip(tile.shape, question.geometry.steps[name], strict=True)
            )
            for name in question.layers
            for tile in tiles
        )  # fmt: skip
        largest = [max(tile.shape[axis] for tile in tiles) for axis in range(len(tiles[0].shape))]
        empty = torch.empty(network.channels, *largest, device="meta")
        least = min(network.bytes_of_pass(empty), network.traces.limit)
        return not weights.also and 4 * numbers <= least

    def visit(self, tile_pass: TilePass, tile: Tile) -> None:
        """Pass a tile, and take of it what the way is for."""
        # A trace ends with this: the next one takes as much memory.
        if tile_pass.kind == "none":
            tile_pass.visit(tile, None, self._question.resolved)
            return
        trace = self._trace(tile, gradients=tile_pass.kind == "gradients")
        tile_pass.visit(tile, trace, self._question.targets.on(tile, trace))

    def _trace(self, tile: Tile, *, gradients: bool) -> Trace:
        question = self._question
        geometry, whole = question.geometry, question.input.shape
        prepared = question.input.window(tile.start, tile.shape)
        trace = Trace.of_part(question.network, prepared, question.layers, gradients=gradients)
        if not self.output_shape:
            shape = trace.outputs.predicted.shape
            steps = steps_of_output(geometry, shape, tile.shape)
            self.output_shape = whole_shape(tile, shape, whole, steps)
        if not self.layer_shapes:
            for name in question.layers:
                channels, *units = trace.activation(name).shape
                positions = whole_shape(tile, units, whole, geometry.steps[name])
                self.layer_shapes.append([channels, *positions])
        return trace

    def _write_maps(
        self, tile: Tile, trace: Trace | None, targets: Sequence[ResolvedTarget | None]
    ) -> None:
        """Make the maps of a tile as of an image of its own, and write its core."""
        assert trace is not None
        question = self._question
        rows = maps_of(
            trace, question.method, list(targets), question.layers or [None], question.options,
            no_progress,
        )  # fmt: skip
        if question.pulled:
            rows = [
                [replace(tile_map, values=tile_map.values * tally.scale) for tile_map in row]
                for row, tally in zip(rows, question.targets.tallies, strict=True)
            ]
        self._write(tile, rows)

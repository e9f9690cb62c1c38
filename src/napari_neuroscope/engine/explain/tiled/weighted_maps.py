"""Class activation maps of a whole image, whose channels are weighed over all of its tiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explain.tiled.question import TiledQuestion
from napari_neuroscope.engine.methods.interface import ChannelWeights, Map, Sums
from napari_neuroscope.engine.passes.gradient_store import bytes_held
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace
from napari_neuroscope.engine.tiles.geometry import Tile, kept

Visit = Callable[[Tile, Trace | None, Sequence[ResolvedTarget | None]], None]
"""Called for a tile, with its pass through the network and the targets on it."""
_Totals = dict[tuple[int | None, str], Tensor]
"""What sums came to, by target and layer; of sums without gradients the target is None."""


class WeightedMaps:
    """The weights of a layer's channels by the whole image, and the maps that they make.

    Parameters
    ----------
    question
        What is asked.
    weights
        How its method weighs channels.
    keeps
        Whether the layers' outputs are kept from the last sums on.
    write
        Takes a tile and the maps of each target and layer.
    """

    def __init__(
        self,
        question: TiledQuestion,
        weights: ChannelWeights,
        *,
        keeps: bool,
        write: Callable[[Tile, list[list[Map]]], None],
    ) -> None:
        self._question, self._declared, self._write, self.keeps = question, weights, write, keeps
        self._totals: list[_Totals] = []
        self._positions: dict[str, int] = dict.fromkeys(question.layers, 0)
        self._activations: dict[Tile, dict[str, Tensor]] = {}
        self._weights: dict[tuple[int, str], Tensor] = {}
        self._device = torch.device("cpu")

    def visit_for(self, sums: Sums) -> Visit:
        """Return what adds a tile's core to sums; asked for once for each of them, in order."""
        question, first = self._question, not self._totals
        before = {} if first else self._totals[-1]
        totals: _Totals = {}
        self._totals.append(totals)
        last = len(self._totals) == len(self._declared.sums)

        def visit(
            tile: Tile, trace: Trace | None, targets: Sequence[ResolvedTarget | None]
        ) -> None:
            assert trace is not None
            self._device = trace.network.device
            if last and self.keeps:
                self._activations[tile] = {
                    name: _held_alone(trace.activation(name)) for name in question.layers
                }

            def add(number: int | None, target: ResolvedTarget | None, layer: str) -> None:
                core, gradient = self._core(tile, trace, layer), None
                activation = trace.activation(layer)[core].flatten(1)
                if target is not None and number is not None:
                    gradient = trace.gradient(target, layer)[core].flatten(1)
                    if not self._declared.linear:
                        gradient = gradient * question.targets.tallies[number].scale
                earlier = before.get((number, layer), before.get((None, layer)))
                # Added in double precision, which not all devices have.
                part = sums.of(activation, gradient, earlier).cpu().double()
                key = (number, layer)
                totals[key] = totals[key] + part if key in totals else part
                if first and not number:
                    self._positions[layer] += activation.shape[1]

            for number, target in enumerate(targets if sums.gradients else ()):
                assert target is not None
                trace.for_each_layer(target, question.layers, partial(add, number, target))
                trace.forget(target)
            for layer in () if sums.gradients else question.layers:
                add(None, None, layer)

        return visit

    def _core(self, tile: Tile, trace: Trace, layer: str) -> tuple[slice, ...]:
        steps, shape = self._question.geometry.steps[layer], trace.activation(layer).shape[1:]
        local, _ = kept(tile, self._question.input.shape, steps, shape)
        return (slice(None), *local)

    def _weights_of(self, number: int, layer: str) -> Tensor:
        """Return the weights of a target and a layer, once all sums are over."""
        key = (number, layer)
        if key not in self._weights:
            totals = [of.get(key, of.get((None, layer))) for of in self._totals]
            complete = [total for total in totals if total is not None]
            weights = self._declared.weights(complete, self._positions[layer])
            tallies = self._question.targets.tallies
            scale = tallies[number].scale if tallies and self._declared.linear else 1.0
            self._weights[key] = (weights * scale).float().to(self._device)
        return self._weights[key]

    def write_maps(
        self, tile: Tile, trace: Trace | None, targets: Sequence[ResolvedTarget | None]
    ) -> None:
        """Make the maps of a tile by the weights of the whole, and write its core."""
        question = self._question
        source: Trace | KeptActivations
        if trace is None:
            kept_activations = self._activations.pop(tile)
            source = KeptActivations(kept_activations, self._device, question.method.title)
        else:
            source = trace
        rows: list[list[Map]] = []
        for number, target in enumerate(targets or [None]):
            row = []
            for layer in question.layers:
                weights = self._weights_of(number, layer)
                tile_map = question.method.with_weights(
                    source, target, layer, weights, **question.options
                )
                if self._declared.also:
                    # Another gradient is in it, of the target as it is on a tile.
                    scale = question.targets.tallies[number].scale
                    tile_map = replace(tile_map, values=tile_map.values * scale)
                row.append(tile_map)
            rows.append(row)
        self._write(tile, rows)


class KeptActivations:
    """Stands for the pass of a tile, of which nothing but the layers' outputs are kept."""

    def __init__(self, activations: Mapping[str, Tensor], device: torch.device, title: str) -> None:
        self._activations, self._device, self._title = activations, device, title

    def activation(self, layer: str) -> Tensor:
        """Return the output of a layer, (channel, *space)."""
        return self._activations[layer].to(self._device)

    def __getattr__(self, name: str) -> Any:
        raise NeuroscopeError(
            f"{self._title} asks for “{name}” to make its map of a tile, of which the activations "
            f"alone are kept; its ChannelWeights say what it asks for besides with also=Needs.…."
        )


def _held_alone(values: Tensor) -> Tensor:
    """Return values in the main memory, with nothing held beside them."""
    values = values.cpu()
    return values if bytes_held([values]) == values.nbytes else values.clone()

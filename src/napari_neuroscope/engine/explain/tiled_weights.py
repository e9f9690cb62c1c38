"""Class activation maps of a whole image, whose channels are weighed over all of its tiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from napari_neuroscope.engine.methods.interface import ChannelWeights, Map, Method, Sums
from napari_neuroscope.engine.passes.gradient_store import bytes_held
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace
from napari_neuroscope.engine.tiles.geometry import Geometry, Tile, kept
from napari_neuroscope.engine.tiles.targets import TiledTargets

Visit = Callable[[Tile, Trace | None, Sequence[ResolvedTarget | None]], None]
"""Called for a tile, with its pass through the network and the targets on it."""


class WeightedMaps:
    """The weights of a layer's channels by the whole image, and the maps that they make.

    Parameters
    ----------
    chosen, options, weighing
        The method with its options, and how it weighs channels.
    layers, geometry, shape
        The layers, how they cut an image, and the image's pixels.
    targets
        What is explained.
    keeps
        Whether the layers' outputs are kept from the last stage on.
    write
        Takes a tile and the maps of each target and layer.
    """

    def __init__(
        self,
        chosen: Method,
        options: Mapping[str, Any],
        weighing: ChannelWeights,
        layers: Sequence[str],
        geometry: Geometry,
        shape: Sequence[int],
        targets: TiledTargets,
        *,
        keeps: bool,
        write: Callable[[Tile, list[list[Map]]], None],
    ) -> None:
        self._chosen, self._options, self._weighing = chosen, options, weighing
        self._layers, self._geometry, self._shape = list(layers), geometry, tuple(shape)
        self._targets, self._write, self.keeps = targets, write, keeps
        self._stages: list[dict[tuple[int | None, str], Tensor]] = []
        self._positions: dict[str, int] = dict.fromkeys(layers, 0)
        self._kept: dict[Tile, dict[str, Tensor]] = {}
        self._found: dict[tuple[int, str], Tensor] = {}
        self._device = torch.device("cpu")

    def stage(self, stage: Sums) -> Visit:
        """Return what adds a tile's core to the sums of a stage."""
        number = len(self._stages)
        before = self._stages[number - 1] if number else {}
        sums: dict[tuple[int | None, str], Tensor] = {}
        self._stages.append(sums)
        last = number == len(self._weighing.sums) - 1

        def visit(
            tile: Tile, trace: Trace | None, targets: Sequence[ResolvedTarget | None]
        ) -> None:
            assert trace is not None
            self._device = trace.network.device
            if last and self.keeps:
                self._kept[tile] = {name: _own(trace.activation(name)) for name in self._layers}

            def add(which: int | None, target: ResolvedTarget | None, layer: str) -> None:
                activation = trace.activation(layer)
                core = self._core(tile, layer, activation)
                own, gradient = activation[core].flatten(1), None
                if target is not None:
                    gradient = trace.gradient(target, layer)[core].flatten(1)
                    if not self._weighing.linear and which is not None:
                        gradient = gradient * self._targets.tallies[which].scale
                earlier = before.get((which, layer), before.get((None, layer)))
                # Added in double precision, which not all devices have.
                found = stage.of(own, gradient, earlier).cpu().double()
                key = (which, layer)
                sums[key] = sums[key] + found if key in sums else found
                if number == 0 and not which:
                    self._positions[layer] += own.shape[1]

            for which, target in enumerate(targets if stage.gradients else ()):
                assert target is not None
                trace.for_each_layer(target, self._layers, partial(add, which, target))
                trace.forget(target)
            for layer in () if stage.gradients else self._layers:
                add(None, None, layer)

        return visit

    def _core(self, tile: Tile, layer: str, activation: Tensor) -> tuple[slice, ...]:
        steps = self._geometry.steps[layer]
        local, _ = kept(tile, self._shape, steps, activation.shape[1:])
        return (slice(None), *local)

    def _of(self, which: int, layer: str) -> Tensor:
        """Return the weights of a target and a layer, once all stages are over."""
        key = (which, layer)
        if key not in self._found:
            sums = [found.get(key, found.get((None, layer))) for found in self._stages]
            weights = self._weighing.weights(sums, self._positions[layer])  # type: ignore[arg-type]
            tallies = self._targets.tallies
            scale = tallies[which].scale if tallies and self._weighing.linear else 1.0
            self._found[key] = (weights * scale).float().to(self._device)
        return self._found[key]

    def map(
        self, tile: Tile, trace: Trace | None, targets: Sequence[ResolvedTarget | None]
    ) -> None:
        """Make the maps of a tile by the weights of the whole, and write its core."""
        pass_or_kept = trace or KeptActivations(self._kept.pop(tile), self._device)
        rows: list[list[Map]] = []
        for which, target in enumerate(targets or [None]):
            row = []
            for layer in self._layers:
                made = self._chosen.with_weights(
                    pass_or_kept, target, layer, self._of(which, layer), **self._options
                )
                if self._weighing.also:
                    scale = self._targets.tallies[which].scale
                    made = replace(made, values=made.values * scale)
                row.append(made)
            rows.append(row)
        self._write(tile, rows)


class KeptActivations:
    """Stands for the pass of a tile of which nothing but the layers' outputs are kept."""

    def __init__(self, activations: Mapping[str, Tensor], device: torch.device) -> None:
        self._activations, self._device = activations, device

    def activation(self, layer: str) -> Tensor:
        """Return the output of a layer, (channel, *space)."""
        return self._activations[layer].to(self._device)


def _own(values: Tensor) -> Tensor:
    """Return values in the main memory, with nothing held beside them."""
    values = values.cpu()
    return values if bytes_held([values]) == values.nbytes else values.clone()

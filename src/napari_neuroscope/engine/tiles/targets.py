"""Targets of a whole image, resolved tile by tile, and what their scores come to in all."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope.engine.errors import EmptyRegionError, NeuroscopeError
from napari_neuroscope.engine.images.grid import Grid, resample_nearest
from napari_neuroscope.engine.passes.target import (
    Instance,
    Mask,
    ResolvedTarget,
    Target,
    instead_in_words,
    nowhere_in_words,
)
from napari_neuroscope.engine.passes.target_value import TargetScores
from napari_neuroscope.engine.passes.trace import Trace
from napari_neuroscope.engine.tiles.geometry import Geometry, Tile, kept, whole_shape
from napari_neuroscope.engine.tiles.reader import TiledInput


class PredictedNowhereError(Exception):
    """A class is predicted on no tile, so that it is asked about everywhere, from the first on."""


@dataclass
class Tally:
    """What one target comes to over the tiles.

    Attributes
    ----------
    target
        As it was given.
    resolved
        As it was resolved last.
    name
        Its class's.
    positions, value, probability
        How many positions its region has, and the sums of its score and its probability over them.
    whole
        How many positions the output has in all.
    """

    target: Target
    resolved: ResolvedTarget | None = None
    name: str = ""
    positions: int = 0
    value: float = 0.0
    probability: float = 0.0
    whole: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def everywhere(self) -> bool:
        """Whether its region is the whole output."""
        return self.target.is_everywhere

    @property
    def must_be_counted(self) -> bool:
        """Whether its scale is known only once all tiles have been told of."""
        return self.target.reduce == "mean" and not self.everywhere

    @property
    def scores(self) -> TargetScores:
        """What the tiles that were told of say of it."""
        positions = self.positions
        probability = self.probability / max(positions, 1)
        return TargetScores(self.value * self.scale, probability, positions)

    @property
    def scale(self) -> float:
        """What a sum over the region is multiplied by."""
        if self.target.reduce == "sum":
            return 1.0
        return 1 / (self.whole if self.everywhere else self.positions)


class TiledTargets:
    """Targets of an image that is seen tile by tile.

    Parameters
    ----------
    targets
        What is asked for; none where a method needs none.
    geometry, input
        How the network's layers cut the image, and the image.
    ground_truth
        Classes of the image's pixels, sliced likewise, for the region "ground_truth".
    """

    def __init__(
        self,
        targets: Sequence[Target],
        geometry: Geometry,
        input: TiledInput,
        ground_truth: Any,
    ) -> None:
        self._targets, self._geometry, self._input = tuple(targets), geometry, input
        self._ground_truth = ground_truth
        # Of each target that is asked about everywhere instead of where it is predicted, a note.
        self._instead: dict[int, str] = {}
        self.begin()

    def begin(self) -> None:
        """Forget what the tiles came to."""
        self.tallies = [Tally(target) for target in self._targets]
        for number, note in self._instead.items():
            self.tallies[number] = Tally(
                replace(self._targets[number], region="everywhere"), notes=[note]
            )
        self.told = False

    def on(self, tile: Tile, trace: Trace) -> list[ResolvedTarget | None]:
        """Return the targets on a tile; [None] where there are none."""
        resolved: list[ResolvedTarget | None] = []
        for tally in self.tallies:
            resolved_target = self._resolved(tally.target, tile, trace)
            if not self.told:
                self._tell(tally, resolved_target, tile, trace)
            resolved.append(resolved_target)
        return resolved or [None]

    def end_of_pass(self) -> None:
        """Refuse regions without positions, once all tiles were seen; they are told of no more.

        Raises
        ------
        PredictedNowhereError
            Where a class is predicted nowhere, and the tiles are to be seen anew.
        NeuroscopeError
            Where another region has no position.
        """
        nowhere = {
            number: instead_in_words(tally.name)
            for number, tally in enumerate(self.tallies)
            if tally.resolved is not None and not tally.positions and tally.target.is_default
        }
        if nowhere:
            self._instead |= nowhere
            raise PredictedNowhereError
        for tally in self.tallies:
            if tally.resolved is not None and not tally.positions:
                if isinstance(tally.target.region, str):
                    raise EmptyRegionError(nowhere_in_words(tally.target.region, tally.name))
                raise EmptyRegionError(
                    f"The region ({tally.resolved.region}) has no positions on the network's output; "
                    f"choose a larger one, or “everywhere”."
                )
        self.told = True

    def _tell(self, tally: Tally, resolved: ResolvedTarget, tile: Tile, trace: Trace) -> None:
        """Add what a target comes to in a tile's core."""
        outputs, steps = (
            trace.outputs,
            steps_of_output(self._geometry, trace.outputs.predicted.shape, tile.shape),
        )
        scores = outputs.value(outputs.raw.float(), resolved.score, resolved.index)
        local, _ = kept(tile, self._input.shape, steps, scores.shape)
        scores, mask = scores[local], None if resolved.mask is None else resolved.mask[local]
        tally.positions += scores.numel() if mask is None else int(mask.sum())
        tally.value += float((scores if mask is None else scores[mask]).double().sum())
        probability = outputs.probabilities[resolved.index][local]
        tally.probability += float(
            (probability if mask is None else probability[mask]).double().sum()
        )
        if not tally.whole:
            whole = whole_shape(tile, outputs.predicted.shape, self._input.shape, steps)
            grid = self._input.whole_grid
            showing = trace.network.grid_of_output(grid, whole).showing(trace.prepared.image)
            tally.whole = math.prod(int(inside.sum()) for inside in showing)
        tally.resolved = resolved
        tally.name = trace.network.spec.class_name(resolved.index)
        tally.notes = list(dict.fromkeys([*tally.notes, *resolved.notes]))

    def _resolved(self, target: Target, tile: Tile, trace: Trace) -> ResolvedTarget:
        resolved = trace.resolve(replace(target, region="everywhere", reduce="sum"))
        region = target.region
        if target.is_everywhere:
            return resolved
        if target.is_default or (isinstance(region, str) and region == "predicted"):
            mask, words = trace.outputs.predicted == resolved.index, "predicted"
            mask = mask if resolved.mask is None else mask & resolved.mask
        else:
            mask, words = self._mask(region, tile, trace, resolved.index)
        notes = (*resolved.notes, *region.notes) if isinstance(region, Mask) else resolved.notes
        key = (*resolved.key, words, id(region))  # type: ignore[misc]
        return replace(resolved, mask=mask, region=words, key=key, notes=notes)

    def _mask(self, region: Any, tile: Tile, trace: Trace, index: int) -> tuple[Tensor, str]:
        """Return a region that was given on the image's grid, on a tile's output."""
        shape = self._input.image_shape
        predicted, output = trace.outputs.predicted, trace.output_grid
        if isinstance(region, Sequence) and not isinstance(region, str) and np.ndim(region) == 1:
            return _point(region, output, shape, predicted)
        words, array, chosen = self._given(region, index)
        if tuple(array.shape) != shape:
            raise NeuroscopeError(
                f"The {words} has shape {tuple(array.shape)}, but the image {shape}; they must be "
                f"equal."
            )
        first = [min(s, n - 1) for s, n in zip(tile.start, shape, strict=True)]
        last = [
            max(min(s + n, m), f + 1)
            for s, n, m, f in zip(tile.start, tile.shape, shape, first, strict=True)
        ]
        part = np.asarray(array[tuple(slice(*ends) for ends in zip(first, last, strict=True))])
        grid = Grid.of_image(shape).window(first, part.shape)
        mask = resample_nearest(chosen(part), grid, output)
        return torch.as_tensor(mask, device=predicted.device), words

    def _given(
        self, region: Any, index: int
    ) -> tuple[str, Any, Callable[[np.ndarray], np.ndarray]]:
        """Return a region's words, the array that it is of, and what tells its pixels in it."""
        if isinstance(region, Instance):
            label = region.label
            return f"instance {label}", region.labels, lambda part: part == label
        if isinstance(region, str):
            if self._ground_truth is None:
                raise NeuroscopeError(
                    "The region “ground_truth” needs ground truth: give ground_truth=, class "
                    "labels of the image's shape."
                )
            return region, self._ground_truth, lambda part: part == index
        if isinstance(region, Mask):
            return region.words, region.values, lambda part: part != 0
        return "mask", region, lambda part: part != 0


def steps_of_output(
    geometry: Geometry, shape: Sequence[int], whole: Sequence[int]
) -> tuple[Any, ...]:
    """Return the strides of the output of a shape, for an input of the shape `whole`."""
    return min(
        (geometry.steps[name] for name in geometry.outputs),
        key=lambda steps: sum(
            abs(n / step - m) for n, step, m in zip(whole, steps, shape, strict=True)
        ),
    )


def _point(
    point: Sequence[float], output: Grid, image: tuple[int, ...], like: Tensor
) -> tuple[Tensor, str]:
    """Return the position that a point of the image is at, if a tile's output has it."""
    words = f"point ({', '.join(f'{n:g}' for n in point)})"
    if len(point) != len(image):
        raise NeuroscopeError(
            f"The point has {len(point)} coordinates, but the image {len(image)} axes."
        )
    cell = np.floor(output.to_cells(np.asarray(point, float)) + 0.5).astype(int)
    mask = torch.zeros_like(like, dtype=torch.bool)
    inside = all(-0.5 <= p <= n - 0.5 for p, n in zip(point, image, strict=True))
    if inside and all(0 <= i < n for i, n in zip(cell, output.shape, strict=True)):
        mask[tuple(cell)] = True
    return mask, words

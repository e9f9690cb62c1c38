"""The explanations of the planes of a stack, put together as one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from napari_neuroscope.engine.errors import (
    EmptyRegionError,
    NeuroscopeError,
)
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.record import (
    PlanesRecord,
    Record,
    TargetRecord,
)
from napari_neuroscope.engine.explanation.request import Request
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.images.stack import Stack
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.target import Instance, Mask, Target

EACH = "top of each plane"
"""What the class of a target is called that is another on each plane."""
_MOST_NOTES = 12


class StackAssembly:
    """The maps of the planes of a stack that are done so far, and what is said of all."""

    def __init__(
        self,
        network: Network,
        stack: Stack,
        chosen: tuple[range, ...],
        target: Any,
        layer: Any,
        out: Any,
    ) -> None:
        self.network, self.stack, self.chosen = network, stack, chosen
        self.target, self.layer, self.out = target, layer, out
        self.space = len(network.spec.input.space)
        self.first: Explanation | None = None
        self.values: Any = None
        self.companions: dict[str, np.ndarray] = {}
        self.signed = False
        self.left_out: list[tuple[tuple[int, ...], tuple[int, ...], EmptyRegionError]] = []
        # Of each plane that is done: its index, and the class and the score of each target.
        self.indices: list[list[int]] = []
        self.classes: list[list[int]] = []
        self.scores: list[list[float | None]] = []
        self.sums: list[_TargetMean] = []
        self.probabilities = np.zeros(())
        self.notes: dict[str, list[tuple[int, ...]]] = {}
        self.channels: set[tuple[str, ...]] = set()
        self.digest = hashlib.blake2b(digest_size=16)

    # --- what is of one plane ---

    def target_of(self, index: tuple[int, ...]) -> Any:
        """Return the targets, their regions cut to a plane."""
        if isinstance(self.target, list | tuple):
            return [self._target_of(target, index) for target in self.target]
        return None if self.target is None else self._target_of(self.target, index)

    def _target_of(self, given: Any, index: tuple[int, ...]) -> Target:
        target = Target.of(given)
        region = target.region
        if isinstance(region, Instance):
            region = replace(region, labels=self.of_plane(region.labels, index))
        elif isinstance(region, Mask):
            region = replace(region, values=self.of_plane(region.values, index))
        elif hasattr(region, "shape"):
            region = self.of_plane(region, index)
        return replace(target, region=region)

    def of_plane(self, values: Any, index: tuple[int, ...]) -> Any:
        """Return a plane of what is as large as the stack; else the values, which are of each."""
        shape = np.shape(values)
        if index and len(shape) == len(index) + self.space:
            if shape[: len(index)] != self.stack.shape:
                raise NeuroscopeError(
                    f"The stack has {' × '.join(map(str, self.stack.shape))} planes, but the labels "
                    f"or the mask have the shape {shape}; give as many."
                )
            return np.asarray(values[index])
        return values

    # --- what is found ---

    def add(self, plane: Explanation, place: tuple[int, ...], index: tuple[int, ...]) -> None:
        """Take the explanation of a plane."""
        if self.first is None:
            self._begin(plane)
        assert self.first is not None
        if plane.values.shape != self.first.values.shape:
            raise NeuroscopeError(
                f"At {self.stack.named(index)} the map has the shape {plane.values.shape}, and "
                f"{self.first.values.shape} before; give all planes one shape."
            )
        self._put(self.values, place, plane.values)
        for name, labels in plane.companions.items():
            self._put(self.companions[name], place, labels)
        self.signed = self.signed or plane.signed
        self.channels.add(plane.labels.get("channel", ()))
        record = plane.record
        self.indices.append(list(index))
        self.classes.append([cast(int, target.index) for target in record.targets])
        self.scores.append([target.value for target in record.targets])
        self.sums = self.sums or [_TargetMean() for _ in record.targets]
        for of_target, target in zip(self.sums, record.targets, strict=True):
            of_target.add(target)
        if (probabilities := (record.table or {}).get("probability")) is not None:
            self.probabilities = self.probabilities + np.array(probabilities)
        for note in record.notes:
            self.notes.setdefault(note, []).append(index)
        self.digest.update(str(record.image_digest).encode())

    def leave_out(
        self, place: tuple[int, ...], index: tuple[int, ...], error: EmptyRegionError
    ) -> None:
        """Take note of a plane that a target's region has no position on."""
        self.left_out.append((place, index, error))
        if self.first is not None:
            self._clear(place)

    def _begin(self, plane: Explanation) -> None:
        self.first = plane
        counts = tuple(map(len, self.chosen))
        self.values = self._array(_with(plane.values.shape, counts, self._before(plane.values)))
        for name, labels in plane.companions.items():
            shape = _with(labels.shape, counts, self._before(labels))
            empty = 0 if name in plane.ordered else -1
            self.companions[name] = np.full(shape, empty, labels.dtype)
        for place, _, _ in self.left_out:
            self._clear(place)

    def _array(self, shape: tuple[int, ...]) -> Any:
        if self.out is None:
            return np.full(shape, np.nan, np.float32)
        array = self.out(shape) if callable(self.out) else self.out
        if tuple(array.shape) != shape:
            raise NeuroscopeError(
                f"The maps have the shape {shape}, but the array to write them to "
                f"{tuple(array.shape)}."
            )
        return array

    def _before(self, values: np.ndarray) -> int:
        """Return how many axes of a plane's values come before those of the stack."""
        assert self.first is not None
        return 0 if self.first.is_table else values.ndim - self.space

    def _put(self, array: Any, place: tuple[int, ...], values: Any) -> None:
        before = (slice(None),) * self._before(values)
        array[(*before, *place)] = values

    def _clear(self, place: tuple[int, ...]) -> None:
        assert self.first is not None
        self._put(self.values, place, np.full_like(self.first.values, np.nan))

    # --- all of it ---

    def explanation(
        self, ground_truth: Any, *, done: int | None = None, total: int = 0
    ) -> Explanation:
        """Return what there is so far; unfinished, where `done` says how many planes are."""
        first = self.first
        if first is None:
            raise self.left_out[0][2]
        record = self._record(first)
        axes = self.stack.axes
        labels = dict(first.labels)
        if len(self.channels) > 1:
            labels["channel"] = tuple(f"rank {n + 1}" for n in range(len(labels["channel"])))
        for axis in ("class", "target"):
            if axis in labels and len(record.targets) == len(labels[axis]):
                labels[axis] = tuple(target.class_ for target in record.targets)
        assembled = replace(
            first,
            values=self.values,
            axes=(*axes, *first.axes) if first.is_table else (*first.leading, *axes, *first.space),
            labels=labels,
            grid=self._of_stack(first.grid),
            image=self._of_stack(first.image),
            signed=self.signed,
            companions=dict(self.companions),
            record=record,
            request=self._request(first, ground_truth),
        )
        return assembled if done is None else assembled.so_far(done, total, "planes")

    def _of_stack(self, grid: Grid) -> Grid:
        return Grid(
            (*map(len, self.chosen), *grid.shape),
            (*(float(steps.step) for steps in self.chosen), *grid.scale),
            (*(float(steps.start) for steps in self.chosen), *grid.offset),
        )

    def _request(self, first: Explanation, ground_truth: Any) -> Request | None:
        if first.request is None:
            return None
        given = self.target if isinstance(self.target, list | tuple) else [self.target]
        asked = [
            # The top class may be another on each plane.
            replace(
                Target.of(wanted),
                class_=None if Target.of(wanted).class_ is None else resolved.class_,
            )
            for wanted, resolved in zip(given, first.request.targets, strict=False)
        ]
        planes = self.stack.in_words(self.chosen) if self.stack.axes else None
        return replace(
            first.request, targets=tuple(asked), ground_truth=ground_truth, planes=planes
        )

    def _record(self, first: Explanation) -> Record:
        record = first.record
        assert record.image is not None
        shape = list(map(int, self.stack.image.shape))
        if not self.stack.axes:
            return replace(record, image=replace(record.image, shape=shape))
        table = None
        if self.probabilities.size > 1:
            mean = (self.probabilities / len(self.indices)).tolist()
            table = {"class": (record.table or {})["class"], "probability": mean}
        return replace(
            record,
            image=replace(record.image, shape=shape, digest=self.digest.copy().hexdigest()),
            targets=tuple(
                of_planes.of_all(target)
                for target, of_planes in zip(record.targets, self.sums, strict=True)
            ),
            planes=PlanesRecord(
                list(self.stack.axes),
                [steps.start for steps in self.chosen],
                [len(steps) for steps in self.chosen],
                [steps.step for steps in self.chosen],
                list(self.indices),
                list(self.classes),
                list(self.scores),
            ),
            table=table,
            notes=tuple(self._notes()),
        )

    def _notes(self) -> list[str]:
        named, count = self.stack.named, len(self.indices)
        notes = []
        for note, where in list(self.notes.items())[:_MOST_NOTES]:
            more = f" and {len(where) - 1:,} more" if len(where) > 1 else ""
            notes.append(note if len(where) == count else f"{note} ({named(where[0])}{more})")
        if (rest := len(self.notes) - _MOST_NOTES) > 0:
            notes.append(f"{rest:,} more notes on single planes")
        if self.left_out:
            others = len(self.left_out) - 1
            which = named(self.left_out[0][1]) + (f" and {others:,} more planes" if others else "")
            notes.append(f"no map of {which}, where the region is empty")
        told = self.probabilities.size > 1 or any(self.classes)
        if told and count > 1:
            notes.append(f"what is told of the scores is the mean of {count:,} planes")
        return notes


class _TargetMean:
    """The classes of a target on the planes so far, and the mean of its scores."""

    def __init__(self) -> None:
        self.classes: set[int | None] = set()
        self.regions: set[str | None] = set()
        self.total, self.count = 0.0, 0
        self.probability, self.positions = 0.0, 0
        self.has_positions = False

    def add(self, target: TargetRecord) -> None:
        """Take those of one more plane."""
        self.classes.add(target.index)
        self.regions.add(target.region)
        self.has_positions = target.positions is not None
        positions = 1 if target.positions is None else target.positions
        self.probability += positions * (target.probability or 0)
        self.positions += positions
        if target.value is not None:
            self.total, self.count = self.total + target.value, self.count + 1

    def of_all(self, first: TargetRecord) -> TargetRecord:
        """Return the target of all planes, from that of the first."""
        value = self.total / self.count if self.count else None
        first = replace(
            first,
            probability=self.probability / max(self.positions, 1),
            positions=self.positions if self.has_positions else None,
        )
        if len(self.regions) > 1:
            # Of the planes where it is predicted nowhere a note tells.
            first = replace(first, region="predicted")
        if len(self.classes) > 1:
            return replace(first, class_=EACH, index=None, value=value)
        return replace(first, value=value)


def _with(shape: Sequence[int], counts: Sequence[int], before: int) -> tuple[int, ...]:
    return (*shape[:before], *counts, *shape[before:])

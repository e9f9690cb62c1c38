"""The maps of targets and layers as one explanation, with its notes and its record."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.map_notes import (
    are_zero,
    count_not_finite,
    likely_reason,
    not_finite_notes,
    zero_notes,
)
from napari_neuroscope.engine.explanation.record import (
    ImageRecord,
    NetworkRecord,
    Record,
    TargetRecord,
)
from napari_neuroscope.engine.explanation.request import Request
from napari_neuroscope.engine.explanation.versions import versions
from napari_neuroscope.engine.images.grid import Grid, resample
from napari_neuroscope.engine.methods.interface import Map, Method, Needs
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.model import Model
from napari_neuroscope.engine.passes.output_notes import chance_notes, output_notes
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.target_value import TargetScores
from napari_neuroscope.engine.passes.trace import Trace


def _stack(tensors: list[Tensor]) -> Tensor:
    # A stack of one is a view: a map is not copied for nothing.
    return tensors[0][None] if len(tensors) == 1 else torch.stack(tensors)


def _on_one_grid(rows: list[list[Map]], prepared: Grid, space: int) -> tuple[Tensor, Grid]:
    """Stack maps on the finest of their grids: (class, layer, ..., *space), and where that lies.

    Maps that lie alike keep their grid; others are brought to one that covers all of them, and are
    zero beside what they cover.
    """
    maps = [m.values for row in rows for m in row]
    grids = [m.lies_on(prepared) for row in rows for m in row]
    by_grid: dict[Grid, list[int]] = {}
    for number, grid in enumerate(grids):
        by_grid.setdefault(grid, []).append(number)
    onto = grids[0] if len(by_grid) == 1 else _common_grid(list(by_grid), prepared)
    stacked = None
    for grid, numbers in by_grid.items():
        # Maps of one shape are resampled together.
        block = _stack([maps[number] for number in numbers])
        if grid != onto:
            block = resample(block, grid, onto, outside=0.0)
        if len(numbers) == len(maps):
            stacked = block
        else:
            if stacked is None:
                stacked = block.new_empty(len(maps), *block.shape[1:])
            stacked[numbers] = block
    assert stacked is not None
    return stacked.reshape(len(rows), len(rows[0]), *stacked.shape[1:]), onto


def _common_grid(grids: list[Grid], prepared: Grid) -> Grid:
    """Return the grid that maps on several grids are brought to."""
    if all(grid.covers_like(prepared) for grid in grids):
        finest = tuple(max(sizes) for sizes in zip(*(grid.shape for grid in grids), strict=True))
        return prepared.divided(finest)
    return min(grids, key=lambda grid: math.prod(grid.scale)).widened(grids)


@dataclass(frozen=True)
class StackedMaps:
    """The maps of targets and layers as one.

    Attributes
    ----------
    values
        (class, layer, ..., *space), or a table; the first two as far as they were asked for.
    axes
        The names of its leading axes.
    labels
        What their steps are called, by axis.
    signed, unit, ordered
        As of an `Explanation`.
    companions
        Label maps beside it, by name.
    placed
        Whether it has positions.
    grid
        Where they lie; without positions, that of the network's input.
    """

    values: Tensor
    axes: tuple[str, ...]
    labels: dict[str, tuple[str, ...]]
    signed: bool
    unit: str
    companions: dict[str, Tensor]
    ordered: frozenset[str]
    placed: bool
    grid: Grid


def stacked(
    network: Model,
    chosen: Method,
    targets: list[ResolvedTarget | None],
    layers: Sequence[str],
    maps: list[list[Map]],
    options: dict[str, Any],
    prepared: Grid,
    *,
    class_axis: bool,
    layer_axis: bool,
) -> StackedMaps:
    """Stack the map of each target and layer, on the finest of their grids.

    Raises
    ------
    NeuroscopeError
        Where the layers have different numbers of channels.
    """
    first = maps[0][0]
    placed = first.values.ndim > len(first.axes)
    if not placed:
        # A table has all classes, whichever were asked for.
        maps, class_axis = [maps[0]], False
    if layer_axis and len({m.values.shape[: len(m.axes)] for m in maps[0]}) > 1:
        raise NeuroscopeError(
            "The chosen layers have different numbers of channels, so they make "
            "no stack; ask for the first few with channels=8, or one layer."
        )
    if placed:
        values, grid = _on_one_grid(maps, prepared, len(prepared.shape))
    else:
        grid = prepared
        values = _stack([_stack([m.values for m in row]) for row in maps])
    axes = ("class", "layer", *first.axes)
    labels = _channel_labels(maps)
    labels["class" if class_axis else "target"] = tuple(
        network.spec.class_name(target.index) for target in targets if target is not None
    )
    if layer_axis:
        labels["layer"] = tuple(layers)
    else:
        values, axes = values.squeeze(1), tuple(a for a in axes if a != "layer")
    if not class_axis:
        values, axes = values.squeeze(0), axes[1:]
    signed = (
        chosen.signed(options)
        if first.signed is None
        else any(m.signed for row in maps for m in row)
    )
    return StackedMaps(
        values,
        axes,
        {axis: names for axis, names in labels.items() if names},
        signed,
        first.unit or chosen.title,
        _companions(maps, class_axis=class_axis, layer_axis=layer_axis),
        first.ordered,
        placed,
        grid,
    )


def _channel_labels(maps: list[list[Map]]) -> dict[str, tuple[str, ...]]:
    """Return what maps say of their own axes; channels by rank where each map has others."""
    labels = dict(maps[0][0].labels)
    if len({made.labels.get("channel") for row in maps for made in row}) > 1:
        labels["channel"] = tuple(f"rank {n + 1}" for n in range(len(labels["channel"])))
    return labels


def assemble(
    network: Network,
    trace: Trace,
    chosen: Method,
    targets: list[ResolvedTarget | None],
    layers: list[str],
    maps: list[list[Map]],
    options: dict[str, Any],
    image: np.ndarray,
    request: Request,
    *,
    class_axis: bool,
    layer_axis: bool,
) -> Explanation:
    """Return the explanation that the maps of each target and layer make."""
    first = maps[0][0]
    made = stacked(
        network, chosen, targets, layers, maps, options, trace.prepared.grid,
        class_axis=class_axis, layer_axis=layer_axis,
    )  # fmt: skip
    # The one copy to the host.
    values = made.values.detach().to(torch.float32).cpu().contiguous().numpy()
    if sum(len(row) for row in maps) == 1:
        # It may be a part of what is kept for the next question.
        values = values.copy()
    record = record_of_maps(
        network,
        chosen,
        options,
        layers,
        [(target, trace.scores(target)) for target in targets if target is not None],
        ImageRecord(list(image.shape), str(image.dtype), trace.image_digest),
        _notes(network, trace, chosen, options, targets, layers, maps, made, values),
        digest=trace.network_digest,
        layer_shapes=[list(trace.activation(name).shape) for name in layers],
    )
    if first.table:
        record = replace(record, table={"class": network.class_names, **first.table})
    return Explanation(
        values=values,
        axes=(*made.axes, *network.spec.input.space) if made.placed else made.axes,
        labels=made.labels,
        grid=made.grid,
        image=trace.prepared.image,
        signed=made.signed,
        unit=made.unit,
        companions={
            name: labels.cpu().numpy().astype(np.int32) for name, labels in made.companions.items()
        },
        ordered=made.ordered,
        classes=tuple(zip(network.class_names, network.class_colours, strict=True)),
        record=record,
        request=request,
    )


def _notes(
    network: Network,
    trace: Trace,
    chosen: Method,
    options: dict[str, Any],
    targets: list[ResolvedTarget | None],
    layers: list[str],
    maps: list[list[Map]],
    made: StackedMaps,
    values: np.ndarray,
) -> list[str]:
    """Return what a reader of the maps should know, from the image to the values."""
    zero: tuple[str, ...] = ()
    if made.placed:
        zero = zero_notes(
            are_zero(values, made.axes), made.axes, made.labels,
            lambda at: why_zero(trace, chosen, options, targets, layers, dict(at)),
        )  # fmt: skip
    output_grid = trace.output_grid if network.spec.task == "segmentation" else None
    return [
        *trace.prepared.notes,
        *output_notes(network, output_grid, trace.prepared.grid),
        *chance_notes(network),
        *(note for target in targets if target is not None for note in target.notes),
        *layer_notes(network, chosen, options, layers),
        *(note for row in maps for of_map in row for note in of_map.notes),
        *zero,
        *not_finite_notes(count_not_finite(values), values.size),
    ]


def why_zero(
    trace: Trace,
    chosen: Method,
    options: dict[str, Any],
    targets: list[ResolvedTarget | None],
    layers: Sequence[str | None],
    at: dict[str, int],
) -> str:
    """Say why the map of a class and layer, by their places in those asked for, is zero."""
    target, layer = targets[at.get("class", 0)], layers[at.get("layer", 0)] if layers else None
    needs = chosen.needs_with(options)
    if layer is not None and needs & (Needs.GRADIENTS | Needs.RESUMED):
        if trace.layers_run.why_zero(layer) is not None:
            # Said with the layer's name.
            return ""
        if Needs.GRADIENTS in needs and target is not None and trace.vanishes(target, layer):
            return (
                ": small changes of the layer don't change the score, since its gradient "
                "vanishes; another score or class may"
            )
    return likely_reason(chosen, options)


def layer_notes(
    network: Model, chosen: Method, options: dict[str, Any], layers: Sequence[str]
) -> list[str]:
    """Say which of the layers can't tell anything, or nothing but the score."""
    # A map of activations alone is none the worse for it.
    if not chosen.needs_with(options) & (Needs.GRADIENTS | Needs.RESUMED):
        return []
    graph = network.layers
    notes = [graph.why_zero(name) or graph.why_score(name) for name in layers]
    return [note for note in notes if note]


def _companions(maps: list[list[Map]], *, class_axis: bool, layer_axis: bool) -> dict[str, Tensor]:
    """Return the label maps; of those that each class and layer has its own, stacks."""
    companions = {}
    first = maps[0][0]
    for name, of_first in first.companions.items():
        labels = of_first
        if name in first.ordered:
            labels = _stack([_stack([m.companions[name] for m in row]) for row in maps])
            labels = labels if layer_axis else labels.squeeze(1)
            labels = labels if class_axis else labels.squeeze(0)
        companions[name] = labels
    return companions


def record_of_maps(
    network: Network,
    chosen: Method,
    options: dict[str, Any],
    layers: Sequence[str],
    targets: Sequence[tuple[ResolvedTarget, TargetScores]],
    image: ImageRecord,
    notes: Sequence[str],
    *,
    digest: str,
    layer_shapes: Sequence[Sequence[int]],
) -> Record:
    """Return how maps were made; `targets` come with their scores."""
    choice = network.output_choice
    return Record(
        method=chosen.name,
        title=chosen.title,
        reference=chosen.reference,
        options={name: _plain(value) for name, value in options.items()},
        layers=tuple(layers),
        layer_shapes=[list(shape) for shape in layer_shapes],
        targets=tuple(
            TargetRecord(
                network.spec.class_name(t.index), t.index, t.region, t.score, t.reduce,
                _finite(scores.value), _finite(scores.probability), scores.positions,
            )
            for t, scores in targets
        ),
        network=NetworkRecord.from_json({
            "name": network.name,
            "framework": network.framework,
            "digest": digest,
            "device": str(network.device),
            **network.origin,
        }),
        output=None if choice is None else choice.as_record(),
        spec=network.spec.model_dump(mode="json", exclude_defaults=True),
        image=image,
        versions=versions(),
        notes=tuple(dict.fromkeys(notes)),
    )  # fmt: skip


def _finite(value: float) -> float | None:
    # JSON knows no infinity.
    return value if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    if hasattr(value, "__array__") and np.ndim(value):
        values = np.ascontiguousarray(value)
        return f"image {hashlib.blake2b(values.data, digest_size=16).hexdigest()}"
    return list(value) if isinstance(value, tuple) else value

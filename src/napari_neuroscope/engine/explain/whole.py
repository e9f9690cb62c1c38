"""explain(): the one way in."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial as with_arguments
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope.engine.errors import (
    CallbackError,
    Cancelled,
    NeuroscopeError,
    NotByTilesError,
    Progress,
    no_progress,
)
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
    Unfinished,
)
from napari_neuroscope.engine.explanation.request import Request
from napari_neuroscope.engine.explanation.versions import versions
from napari_neuroscope.engine.frameworks.base import OtherLayersError
from napari_neuroscope.engine.images.axes import in_read_order
from napari_neuroscope.engine.images.grid import Grid, resample
from napari_neuroscope.engine.images.preprocessing import as_array
from napari_neuroscope.engine.methods.interface import Map, Method, Needs, Step
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.target import ResolvedTarget, Target
from napari_neuroscope.engine.passes.trace import Trace
from napari_neuroscope.engine.tiles.geometry import by_tiles

# What is found so far is offered so rarely that making it takes a small part of the time.
_OFFER_EVERY_S = (0.2, 2.0)
_OFFER_SHARE = 0.1


Offer = Callable[[list[list[Map]], int, int], None]
"""Takes the maps of each target so far, and how many of how many passes they are of."""


def explain(
    network: Network,
    image: Any,
    method: str,
    target: Target | str | int | Sequence[Target | str | int] | None = None,
    layer: str | Sequence[str] | None = None,
    *,
    ground_truth: Any = None,
    keep: Literal["asked", "everything", "fit"] | None = None,
    progress: Progress = no_progress,
    partial: Callable[[Explanation], None] | None = None,
    **options: Any,
) -> Explanation:
    """Explain what a network says about an image.

    Parameters
    ----------
    network
        Made by `load` or `wrap`.
    image
        An array of axes as the spec's ``image_axes`` say, of any real type and size: it is
        resized and normalised as the spec says. Where that is tile by tile (``input.resize``), one
        larger than a tile is read window by window; see `explain_tiled`.
    method
        The name of a method; `methods` lists them.
    target
        The class by name or index, a `Target`, or a list of them: then the first axis of the
        values is "class". None: the top prediction of a classifier.
    layer
        A name, a pattern, ``"all"``, or a list of these (see `LayerGraph.select`): all but a
        single name give an axis "layer". None: the last layer with positions.
    ground_truth
        Classes of the image's pixels, for targets of the region "ground_truth".
    keep
        ``"asked"`` keeps the layers that are asked for and drops each gradient when it has been
        used; ``"everything"`` keeps all, so that other layers and methods take no pass;
        ``"fit"`` keeps everything where that takes a quarter of the cache at most. None: ``"fit"``
        where a single layer is asked for, else ``"asked"``.
    progress
        Called with (done, total, what) as the work goes on; it may raise `Cancelled`.
    partial
        Called a few times a second with what a method of many passes, such as RISE, has found so
        far; its `unfinished` says how far that is. Not where several layers are asked for.
    **options
        The method's own options.

    Returns
    -------
    Explanation

    Raises
    ------
    NeuroscopeError
        Where something asked for does not exist or does not go together: one sentence.
    """
    image = in_read_order(image, network.spec, network.channels)
    tiled = network if by_tiles(network, image) else network.tiled_for(image)
    if tiled is not None:
        from napari_neuroscope.engine.explain.tiled import explain_tiled

        by_itself = tiled is not network
        if not by_itself or methods[method].tiles is not None:
            with suppress(NotByTilesError) if by_itself else nullcontext():
                return explain_tiled(
                    tiled, image, method, target, layer,
                    ground_truth=ground_truth, partial=partial, progress=progress, **options,
                )  # fmt: skip
    # Passes turn gradients on where they need them; nothing else here is to be followed.
    with torch.inference_mode(False), torch.no_grad():
        ask = with_arguments(
            _explain, network, as_array(image), methods[method], target, layer,
            ground_truth=ground_truth, keep=keep, progress=passing_errors(progress),
            partial=partial, options=options,
        )  # fmt: skip
        try:
            try:
                return ask()
            except OtherLayersError:
                # The layers are now those of this image, and what is asked of them may be others.
                return ask()
        except CallbackError as stop:
            raise stop.reason from None


def passing_errors(progress: Progress) -> Progress:
    """Carry what a callback raises past all that tells of a network's own errors."""

    def passing(done: int, total: int, what: str) -> None:
        try:
            progress(done, total, what)
        except Cancelled:
            raise
        except Exception as error:
            raise CallbackError(error) from error

    return passing


def _explain(
    network: Network,
    array: np.ndarray,
    chosen: Method,
    target: Any,
    layer: str | Sequence[str] | None,
    *,
    ground_truth: Any,
    keep: Literal["asked", "everything", "fit"] | None,
    progress: Progress,
    partial: Callable[[Explanation], None] | None,
    options: dict[str, Any],
) -> Explanation:
    target, options = classes_as_option(chosen, target, options)
    several_targets = isinstance(target, list | tuple)
    _refuse(network, chosen, options)
    checked = chosen.check_options(options)

    network.discover(array, progress)
    # Now it is known what layers there are; of attention, a pass tells more than they.
    if Needs.LAYER in chosen.needs_with(checked):
        _refuse(network, chosen, checked)
    names = choose_layers(network, chosen, layer, checked)
    one_layer = layer is None or (isinstance(layer, str) and names == [layer])
    needed = network.layers.or_last(names)
    with network.frozen():
        trace = network.trace(
            array, needed, keep=keep or ("fit" if one_layer else "asked"), progress=progress
        )
        targets = _resolve_targets(trace, chosen, target, several_targets, ground_truth, checked)

        asked = as_asked(target, targets, names, checked, ground_truth, one_layer=one_layer)

        def assembled(maps: list[list[Map]]) -> Explanation:
            return _assemble(
                network, trace, chosen, targets, names, maps, checked, array, asked,
                class_axis=several_targets, layer_axis=bool(names) and not one_layer,
            )  # fmt: skip

        def offer(maps: list[list[Map]], done: int, total: int) -> None:
            assert partial is not None
            so_far = assembled(maps)
            partial(
                replace(so_far, record=replace(so_far.record, unfinished=Unfinished(done, total)))
            )

        maps = maps_of(
            trace, chosen, targets, names or [None], checked, progress,
            None if partial is None or len(names) > 1 else offer,
        )  # fmt: skip
        return assembled(maps)


def classes_as_option(
    chosen: Method, target: Any, options: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Return target and options; of a method of classes that has no target, it is its option."""
    if "classes" not in chosen.options or target is None or Needs.TARGET in chosen.needs:
        return target, options
    if "classes" in options:
        raise NeuroscopeError(
            f"{chosen.title} takes its classes from target or from the "
            f"option classes, not from both."
        )
    wanted = target if isinstance(target, list | tuple) else [target]
    classes = [t.class_ if isinstance(t, Target) else t for t in wanted]
    return None, {**options, "classes": classes}


def _refuse(network: Network, chosen: Method, options: dict[str, Any]) -> None:
    """Refuse a method that can't be used with the network."""
    if refusal := network.why_not(chosen, options):
        raise NeuroscopeError(refusal)


def as_asked(
    given: Any,
    targets: list[ResolvedTarget | None],
    names: list[str],
    options: dict[str, Any],
    ground_truth: Any,
    *,
    one_layer: bool,
) -> Request:
    """Return what was asked for, so that it can be asked again."""
    several = isinstance(given, list | tuple)
    wanted = given if several else [given]
    return Request(
        tuple(
            replace(Target.of(target), class_=found.index)
            for target, found in zip(wanted, targets, strict=True)
            if found is not None
        ),
        next(iter(names), None) if one_layer else list(names),
        dict(options),
        ground_truth,
        several,
    )


def choose_layers(
    network: Network,
    chosen: Method,
    layer: str | Sequence[str] | None,
    options: dict[str, Any],
) -> list[str]:
    """Return the names of the layers that a method is to look at; none where it looks at none."""
    needs = chosen.needs_with(options)
    if Needs.LAYER not in needs:
        if layer is not None:
            raise NeuroscopeError(f"{chosen.title} looks at no layer; leave layer out.")
        return []
    if layer is None:
        layer = network.layers.last_with_positions()
        if layer is None:
            raise NeuroscopeError(
                f"{chosen.title} needs a layer with positions, and this network has none."
            )
    return network.layers.select(
        layer,
        positions=Needs.POSITIONS in needs,
        gradient=Needs.GRADIENTS in needs,
        scored=Needs.TARGET in needs,
    )


def _resolve_targets(
    trace: Trace,
    chosen: Method,
    target: Any,
    several: bool,
    ground_truth: Any,
    options: dict[str, Any],
) -> list[ResolvedTarget | None]:
    if several:
        if not target:
            raise NeuroscopeError("The list of targets is empty; name at least one class.")
        return [trace.resolve(one, ground_truth) for one in target]
    if target is None and Needs.TARGET not in chosen.needs_with(options):
        return [None]
    return [trace.resolve(target, ground_truth)]


def maps_of(
    trace: Trace,
    chosen: Method,
    targets: list[ResolvedTarget | None],
    layers: Sequence[str | None],
    options: dict[str, Any],
    progress: Progress,
    offer: Offer | None = None,
) -> list[list[Map]]:
    """Return the map of each target and layer, each on its own grid.

    `offer` is called now and then with the maps so far, and how many of how many passes they are of.
    """
    if chosen.gradual:
        return _run_gradually(trace, chosen, targets, layers, options, progress, offer)
    return _run(trace, chosen, targets, layers, options, progress)


def _run(
    trace: Trace,
    chosen: Method,
    targets: list[ResolvedTarget | None],
    layers: Sequence[str | None],
    options: dict[str, Any],
    progress: Progress,
) -> list[list[Map]]:
    """Return the maps of each target and layer, each target by one backward pass."""
    total, done = len(targets) * len(layers), 0
    rows: list[list[Map]] = []

    def maps_of(target: ResolvedTarget | None) -> list[Map]:
        found: dict[str | None, Map] = {}

        def visit(layer: str | None) -> None:
            nonlocal done
            made = found[layer] = chosen(trace, target, layer, **options)
            # Only a map that is zero is asked why, which an accelerator tells in the end.
            may_be_zero = made.values.device.type != "cpu" or not made.values.any()
            if may_be_zero and target is not None and layer is not None:
                trace.remember_vanishing(target, layer)
            done += 1
            progress(done, total, chosen.title)

        if many and target is not None and gradients:
            if Needs.GUIDED in needs:
                trace.guided_gradient(target)
            trace.for_each_layer(target, many, visit)
        else:
            for layer in layers:
                visit(layer)
        return [found[layer] for layer in layers]

    needs = chosen.needs_with(options)
    gradients = Needs.GRADIENTS in needs
    many = [layer for layer in layers if layer is not None]
    given = [target for target in targets if target is not None]
    if many and given and gradients:
        for group in trace.together(given, many):
            rows.extend(maps_of(target) for target in group)
    else:
        rows.extend(maps_of(target) for target in targets)
    return rows


def _run_gradually(
    trace: Trace,
    chosen: Method,
    targets: list[ResolvedTarget | None],
    layers: Sequence[str | None],
    options: dict[str, Any],
    progress: Progress,
    offer: Offer | None,
) -> list[list[Map]]:
    """Return the maps of each target and layer, each layer's for all targets from its passes."""
    columns: list[list[Map]] = []
    next_offer = time.monotonic() + _OFFER_EVERY_S[0]
    for number, layer in enumerate(layers):
        step: Step | None = None
        for step in chosen.function(trace, targets, layer, **options):
            progress(number * step.total + step.done, len(layers) * step.total, chosen.title)
            begun = time.monotonic()
            if offer is not None and begun >= next_offer and step.done < step.total:
                offer([[one] for one in _maps(chosen, step, trace, layer)], step.done, step.total)
                ended = time.monotonic()
                low, high = _OFFER_EVERY_S
                next_offer = ended + min(max(low, (ended - begun) / _OFFER_SHARE), high)
        assert step is not None
        columns.append(_maps(chosen, step, trace, layer))
    return [list(row) for row in zip(*columns, strict=True)]


def _maps(chosen: Method, step: Step, trace: Trace, layer: str | None) -> list[Map]:
    return [chosen.placed(made, trace, layer) for made in step.maps()]


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
    network: Network,
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
    spec, first = network.spec, maps[0][0]
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
    axes, labels = ("class", "layer", *first.axes), dict(first.labels)
    if len({m.labels.get("channel") for row in maps for m in row}) > 1:
        labels["channel"] = tuple(f"rank {n + 1}" for n in range(len(labels["channel"])))
    labels["class" if class_axis else "target"] = tuple(
        spec.class_name(t.index) for t in targets if t is not None
    )
    if layer_axis:
        labels["layer"] = tuple(layers)
    if not layer_axis:
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


def _assemble(
    network: Network,
    trace: Trace,
    chosen: Method,
    targets: list[ResolvedTarget | None],
    layers: list[str],
    maps: list[list[Map]],
    options: dict[str, Any],
    image: np.ndarray,
    asked: Request,
    *,
    class_axis: bool,
    layer_axis: bool,
) -> Explanation:
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
    of_targets = (note for target in targets if target is not None for note in target.notes)
    of_maps = (note for row in maps for m in row for note in m.notes)
    zero: tuple[str, ...] = ()
    if made.placed:
        zero = zero_notes(
            are_zero(values, made.axes), made.axes, made.labels,
            lambda at: why_zero(trace, chosen, options, targets, layers, dict(at)),
        )  # fmt: skip
    output_grid = trace.output_grid if network.spec.task == "segmentation" else None
    notes = [
        *trace.prepared.notes,
        *network.notes_of_output(output_grid, trace.prepared.grid),
        *network.notes_of_chance(),
        *of_targets,
        *layer_notes(network, chosen, options, layers),
        *of_maps,
        *zero,
        *not_finite_notes(count_not_finite(values), values.size),
    ]
    notes = list(dict.fromkeys(notes))
    record = record_of_maps(
        network,
        chosen,
        options,
        layers,
        [(t, trace.value(t)) for t in targets if t is not None],
        ImageRecord(list(image.shape), str(image.dtype), trace.image_digest),
        notes,
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
            name: found.cpu().numpy().astype(np.int32) for name, found in made.companions.items()
        },
        ordered=made.ordered,
        classes=tuple(zip(network.class_names, network.class_colours, strict=True)),
        record=record,
        asked=asked,
    )


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
    network: Network, chosen: Method, options: dict[str, Any], layers: Sequence[str]
) -> list[str]:
    """Say which of the layers can't tell anything."""
    # A map of activations alone is none the worse for it.
    by_layer = chosen.needs_with(options) & (Needs.GRADIENTS | Needs.RESUMED)
    return [note for name in layers if by_layer and (note := network.layers.why_zero(name))]


def _companions(maps: list[list[Map]], *, class_axis: bool, layer_axis: bool) -> dict[str, Tensor]:
    """Return the label maps; of those that each class and layer has its own, stacks."""
    found = {}
    first = maps[0][0]
    for name, one in first.companions.items():
        labels = one
        if name in first.ordered:
            labels = _stack([_stack([m.companions[name] for m in row]) for row in maps])
            labels = labels if layer_axis else labels.squeeze(1)
            labels = labels if class_axis else labels.squeeze(0)
        found[name] = labels
    return found


def record_of_maps(
    network: Network,
    chosen: Method,
    options: dict[str, Any],
    layers: Sequence[str],
    targets: Sequence[tuple[ResolvedTarget, float]],
    image: ImageRecord,
    notes: Sequence[str],
    *,
    digest: str,
    layer_shapes: Sequence[Sequence[int]],
) -> Record:
    """Return how maps were made; `targets` come with their T."""
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
                _finite(value),
            )
            for t, value in targets
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

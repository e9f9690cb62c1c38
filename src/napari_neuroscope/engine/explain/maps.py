"""The maps of a method on one pass: of each target and layer, each on its own grid."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from napari_neuroscope.engine.errors import CallbackError, Cancelled, NeuroscopeError, Progress
from napari_neuroscope.engine.methods.interface import Map, Method, Needs, Step
from napari_neuroscope.engine.passes.model import Model
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace

# What is found so far is offered so rarely that making it takes a small part of the time.
_OFFER_EVERY_S = (0.2, 2.0)
_OFFER_SHARE = 0.1


Offer = Callable[[list[list[Map]], int, int], None]
"""Takes the maps of each target so far, and how many of how many passes they are of."""


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
        by_layer: dict[str | None, Map] = {}

        def visit(layer: str | None) -> None:
            nonlocal done
            made = by_layer[layer] = chosen(trace, target, layer, **options)
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
        return [by_layer[layer] for layer in layers]

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
                offer([[made] for made in _maps(chosen, step, trace, layer)], step.done, step.total)
                ended = time.monotonic()
                low, high = _OFFER_EVERY_S
                next_offer = ended + min(max(low, (ended - begun) / _OFFER_SHARE), high)
        assert step is not None
        columns.append(_maps(chosen, step, trace, layer))
    return [list(row) for row in zip(*columns, strict=True)]


def _maps(chosen: Method, step: Step, trace: Trace, layer: str | None) -> list[Map]:
    return [chosen.placed(made, trace, layer) for made in step.maps()]


def choose_layers(
    network: Model,
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

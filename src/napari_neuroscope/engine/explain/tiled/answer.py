"""The explanation of a whole image, of the map that its tiles were written to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from napari_neuroscope.engine.explain.assemble import layer_notes, record_of_maps
from napari_neuroscope.engine.explain.tiled.growing_map import GrowingMap
from napari_neuroscope.engine.explain.tiled.passes import TilePasses
from napari_neuroscope.engine.explain.tiled.question import TiledQuestion
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.map_notes import (
    likely_reason,
    not_finite_notes,
    zero_notes,
)
from napari_neuroscope.engine.explanation.record import ImageRecord, Record
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.passes.output_notes import chance_notes, output_notes
from napari_neuroscope.engine.tiles.geometry import Tile


def assembled(
    question: TiledQuestion,
    growing: GrowingMap,
    passes: TilePasses,
    tiles: Sequence[Tile],
    notes: Sequence[str],
    empty: np.ndarray | None = None,
) -> Explanation:
    """Return the explanation so far.

    Parameters
    ----------
    question, growing, passes
        What is asked, the map as far as it is written, and what was passed for it.
    tiles, notes
        The tiles, and what is to be said of them.
    empty
        What stands for the map before anything is written.
    """
    network, form, canvas = question.network, growing.form, growing.canvas
    assert form is not None
    values = canvas.values if empty is None else empty
    output_grid = network.grid_of_output(question.input.whole_grid, passes.output_shape)
    of_window = question.window is not None and question.weights is not None
    all_notes = [
        *notes,
        *output_notes(network, output_grid, question.input.whole_grid),
        *chance_notes(network),
        *(note for tally in question.targets.tallies for note in tally.notes),
        *layer_notes(network, question.method, question.options, question.layers),
        *growing.notes,
        *(_notes_of_values(question, growing) if empty is None else ()),
        *(("the channels' weights are of the window alone",) if of_window else ()),
    ]
    return Explanation(
        values=values,
        axes=(*form.axes, *network.spec.input.space),
        labels=form.labels,
        grid=growing.grid,
        image=Grid.of_image(question.input.image_shape),
        signed=form.signed,
        unit=form.unit,
        companions=canvas.companions,
        ordered=form.ordered,
        classes=tuple(zip(network.class_names, network.class_colours, strict=True)),
        record=_record(question, passes, tiles, all_notes),
        request=question.request,
    )


def _notes_of_values(question: TiledQuestion, growing: GrowingMap) -> tuple[str, ...]:
    form, canvas = growing.form, growing.canvas
    assert form is not None
    reason = likely_reason(question.method, question.options)
    return (
        *zero_notes(~canvas.nonzero, form.axes, form.labels, lambda place: reason),
        *not_finite_notes(canvas.not_finite, math.prod(canvas.values.shape)),
    )


def _record(
    question: TiledQuestion, passes: TilePasses, tiles: Sequence[Tile], notes: list[str]
) -> Record:
    spec, space = question.network.spec, len(question.input.shape)
    overlap = question.tiling.overlap
    if overlap is None:
        overlap = "receptive field" if spec.input.halo is None else spec.input.halo
    tiling: dict[str, Any] = {
        "tile": [max((tile.shape[axis] for tile in tiles), default=0) for axis in range(space)],
        "overlap": overlap,
        "weights": question.tiling.weights,
    }
    if question.window is not None:
        tiling["window"] = [list(ends) for ends in question.window]
    record = record_of_maps(
        question.network,
        question.method,
        question.options,
        question.layers,
        [
            (tally.resolved, tally.scores)
            for tally in question.targets.tallies
            if tally.resolved is not None
        ],
        ImageRecord.from_json(question.input.record),
        notes,
        digest=question.network.digest(),
        layer_shapes=passes.layer_shapes,
    )
    return replace(record, tiling=tiling)

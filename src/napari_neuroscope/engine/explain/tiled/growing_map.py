"""The map of a whole image, as it is written tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from napari_neuroscope.engine.errors import NotByTilesError
from napari_neuroscope.engine.explain.assemble import StackedMaps, stacked
from napari_neuroscope.engine.explain.tiled.question import TiledQuestion
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.methods.interface import Map
from napari_neuroscope.engine.passes.unit_placement import cells_of_layers, laid_out
from napari_neuroscope.engine.results.canvas import Canvas
from napari_neuroscope.engine.results.growing_folder import GrowingFolder
from napari_neuroscope.engine.tiles.geometry import Tile, kept, part_of, whole_shape
from napari_neuroscope.engine.tiles.targets import steps_of_output


class GrowingMap:
    """The map of a whole image, or of a window of it.

    Parameters
    ----------
    question
        What it answers.
    canvas, folder
        What it is written to, and the folder that is opened for it once its shape is known.

    Attributes
    ----------
    form
        What its maps are called, without their values; None before the first tile is written.
    notes
        What the maps of its tiles say.
    cut
        Which positions of the whole's map are written, a slice an axis.
    """

    def __init__(
        self, question: TiledQuestion, canvas: Canvas, folder: GrowingFolder | None
    ) -> None:
        self._question, self.canvas, self.folder = question, canvas, folder
        self.form: StackedMaps | None = None
        self.notes: list[str] = []
        self.cut: tuple[slice, ...] = ()
        self._whole: tuple[int, ...] = ()

    def begin(self) -> None:
        """Begin anew: nothing of it is written."""
        self.canvas.begin()
        self.form, self.notes = None, []

    def write(
        self,
        tile: Tile,
        rows: list[list[Map]],
        describe: Callable[[np.ndarray], Explanation],
    ) -> None:
        """Write what lies in a tile's core of the maps of each target and layer.

        `describe` makes the explanation of a map of no values yet, which a folder begins with.
        """
        question = self._question
        grid = Grid.of_image(question.input.image_shape).window(tile.start, tile.shape)
        maps = stacked(
            question.network, question.method, question.resolved, question.layers, rows,
            question.options, grid, class_axis=question.several,
            layer_axis=bool(question.layers) and not question.one_layer,
        )  # fmt: skip
        space = len(tile.shape)
        leading, shape = maps.values.shape[:-space], maps.values.shape[-space:]
        steps = self._steps(shape, tile, rows)
        local, placed = kept(tile, question.input.shape, steps, shape)
        if self.form is None:
            self._whole = whole_shape(tile, shape, question.input.shape, steps)
            window = question.window or tuple((0, n) for n in question.input.shape)
            self.cut = part_of(window, question.input.shape, steps, self._whole)
            self.form = replace(maps, values=torch.empty(0), companions={})
            if self.folder is not None:
                self._open_folder(self.folder, (*leading, *self._size), placed, describe)
        self.form = replace(self.form, signed=self.form.signed or maps.signed)
        self._take_notes(rows, maps)
        inside = (
            slice(ends.start - cut.start, ends.stop - cut.start)
            for ends, cut in zip(placed, self.cut, strict=True)
        )
        self.canvas.write(
            (*leading, *self._size),
            (*(slice(0, n) for n in leading), *inside),
            maps.values[(*(slice(None) for _ in leading), *local)].detach().float().cpu().numpy(),
            {name: labels[local].cpu().numpy() for name, labels in maps.companions.items()},
            own_axes=sum(axis in ("class", "layer") for axis in maps.axes),
        )

    @property
    def _size(self) -> tuple[int, ...]:
        return tuple(cut.stop - cut.start for cut in self.cut)

    def _take_notes(self, rows: list[list[Map]], maps: StackedMaps) -> None:
        notes = [note for row in rows for tile_map in row for note in tile_map.notes]
        if maps.companions and not self.canvas.in_memory:
            names = "”, “".join(maps.companions)
            notes.append(f"the label map “{names}” is left out where a map is not kept in memory")
        self.notes = list(dict.fromkeys([*self.notes, *notes]))

    def _open_folder(
        self,
        folder: GrowingFolder,
        shape: tuple[int, ...],
        first: Sequence[slice],
        describe: Callable[[np.ndarray], Explanation],
    ) -> None:
        """Make the folder, its chunks as large as the cores of the tiles, or parts of them."""
        empty = describe(np.broadcast_to(np.float32(np.nan), shape))
        array = folder.open(empty, [ends.stop - ends.start for ends in first])
        self.canvas.open(array, folder.written)

    def _steps(self, shape: Sequence[int], tile: Tile, rows: list[list[Map]]) -> tuple[Any, ...]:
        """Return how far apart the positions of the maps of a tile are, in pixels."""
        question = self._question
        steps = question.geometry.steps
        if question.positions == "output":
            return steps_of_output(question.geometry, shape, tile.shape)
        if question.positions == "input":
            return steps[""]
        if question.resamples:
            for name, layer_map in zip(question.layers, rows[0], strict=True):
                units = layer_map.values.shape[-len(shape) :]
                if any(m * s != n for m, s, n in zip(units, steps[name], tile.shape, strict=True)):
                    raise NotByTilesError(
                        f"The units of the layer “{name}” don't divide the image evenly, so its map "
                        f"can't be brought to another grid tile by tile; ask for one layer."
                    )
        each_axis = zip(*(steps[name] for name in question.layers), strict=True)
        return tuple(min(of_axis) for of_axis in each_axis)

    @property
    def grid(self) -> Grid:
        """Where the positions that are written lie."""
        question, shape = self._question, self._whole
        whole = question.input.whole_grid
        if question.positions == "output":
            grid = question.network.grid_of_output(whole, shape)
        elif question.positions == "layer":
            # Several layers are only taken together where they divide the image.
            layouts = cells_of_layers(question.network.layers)
            single = len(question.layers) == 1
            grid = laid_out(layouts.get(question.layers[0]) if single else None, whole, shape)
        else:
            grid = whole.divided(shape)
        return grid.window([cut.start for cut in self.cut], self._size)

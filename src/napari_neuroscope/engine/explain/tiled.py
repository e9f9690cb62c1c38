"""Explanations of images of any size: tile by tile, equal to those of the whole at once."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from napari_neuroscope.engine.errors import (
    CallbackError,
    NeuroscopeError,
    NeuroscopeWarning,
    NotByTilesError,
    OutOfMemoryError,
    Progress,
    no_progress,
)
from napari_neuroscope.engine.explain.assemble import (
    StackedMaps,
    layer_notes,
    record_of_maps,
    stacked,
)
from napari_neuroscope.engine.explain.maps import choose_layers, maps_of, passing_errors
from napari_neuroscope.engine.explain.tiled_weights import Visit, WeightedMaps
from napari_neuroscope.engine.explain.whole import with_classes_as_option
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.map_notes import (
    likely_reason,
    not_finite_notes,
    zero_notes,
)
from napari_neuroscope.engine.explanation.record import ImageRecord, Unfinished
from napari_neuroscope.engine.explanation.request import Request
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.images.spacing import Spacing
from napari_neuroscope.engine.methods.interface import ChannelWeights, Map, Method, Needs
from napari_neuroscope.engine.methods.interface.tiling import Positions
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.memory import give_back
from napari_neuroscope.engine.passes.target import ResolvedTarget, Target
from napari_neuroscope.engine.passes.trace import Trace
from napari_neuroscope.engine.passes.unit_placement import cells_of_layers, laid_out
from napari_neuroscope.engine.results.canvas import Canvas, Out, Part
from napari_neuroscope.engine.results.growing_folder import GrowingFolder
from napari_neuroscope.engine.tiles.check import check_by_noise
from napari_neuroscope.engine.tiles.geometry import (
    Geometry,
    Tile,
    Tiling,
    Window,
    kept,
    overlap_notes,
    part_of,
    whole_shape,
)
from napari_neuroscope.engine.tiles.reader import TiledInput
from napari_neuroscope.engine.tiles.targets import TiledTargets, steps_of_output

# What is finished so far is handed out a few times a second at most.
_OFFER_EVERY_S = 0.2


def explain_tiled(
    network: Network,
    image: Any,
    method: str,
    target: Target | str | int | Sequence[Target | str | int] | None = None,
    layer: str | Sequence[str] | None = None,
    *,
    tile: int | Sequence[int] | None = None,
    overlap: int | Literal["receptive field"] | None = None,
    weights: Literal["global", "tile"] = "global",
    window: Sequence[tuple[int, int]] | None = None,
    ground_truth: Any = None,
    out: Out | str | Path = None,
    spacing: Spacing | None = None,
    written: Callable[[Part], None] | None = None,
    partial: Callable[[Explanation], None] | None = None,
    progress: Progress = no_progress,
    **options: Any,
) -> Explanation:
    """Explain what a fully convolutional segmenter says about an image of any size.

    The result is that of `explain`, to the rounding of the network's numbers, but memory depends
    on the tile, and not on the image. Where it runs out the tiles are halved, and at last the
    network moves to the CPU for the rest; the record's notes say so.

    Parameters
    ----------
    network
        A segmenter, made by `load` or `wrap`.
    image
        What can be sliced, of NumPy, dask, zarr or h5py, of axes as the spec's ``image_axes``. It
        is read window by window. Or a `TiledInput` of it for this network, which already knows what
        hangs on all of it.
    method
        ``score_map``, ``fusion_score_map``, ``activation``, ``saliency``, ``input_x_gradient``,
        ``guided_backprop``, ``grad_cam``, ``guided_grad_cam``, ``grad_cam_plus_plus``,
        ``x_grad_cam``, ``hires_cam``, ``layer_cam`` or ``eigen_cam``.
    target
        The class by name or index, a `Target`, or a list of them, as `explain` takes it. Its region
        may be lazy too: a mask, or the labels of an `Instance`.
    layer
        A name, a pattern, ``"all"``, or a list of these, as `explain` takes it.
    tile
        The most pixels of a tile, one number or one an axis; None: the only size that the network
        takes, or 1024, or 128 of a volume.
    overlap
        How many pixels are thrown away on each side of a tile; ``"receptive field"``: as many as
        make the result that of the whole; None: the spec's ``input.halo``, or these.
    weights
        Channels are weighted by the gradient over the whole image (``"global"``, by two passes
        over the tiles, so that there are no seams), or over each tile.
    window
        (first, stop) an axis: only these pixels are explained, and those of whole units of the
        network about them. The map is that part of the whole's, but for the channels' weights of
        CAMs and the target's value, which are of the window alone.
    ground_truth
        Classes of the image's pixels, sliced likewise, for the region "ground_truth".
    out
        Where the map is written, tile by tile: an array of its shape; a function that takes the
        shape and returns one; or the name of an OME-Zarr folder, ``….ome.zarr``, which is not there
        yet. It can be looked at while it grows, with its coarser levels; until all is written its
        record says so. None: an array in memory.
    spacing
        How far apart the image's pixels are, for the folder.
    written
        Called with the part of the map that has just been written, a slice an axis of the map.
    partial
        Called a few times a second with the map so far, whose values are those that are written
        on; its `unfinished` says how many tiles there are of it.
    progress
        Called with (done, total, what) after each tile; it may raise `Cancelled`.
    **options
        The method's own options.

    Returns
    -------
    Explanation
        Its values are `out` where that was given, the map of a folder as an array of zarr.

    Raises
    ------
    NeuroscopeError
        Where the network or the method can't be run tile by tile, or the tile is too small.
    """
    size = tuple(tile) if isinstance(tile, Sequence) else tile
    how = Tiling(size, overlap, weights)
    folder = GrowingFolder(Path(out), spacing) if isinstance(out, str | Path) else None
    # Passes turn gradients on where they need them; nothing else here is to be followed.
    with torch.inference_mode(False), torch.no_grad():
        try:
            job = _Job(
                network, image, methods[method], target, layer, dict(options), how=how,
                window=window, ground_truth=ground_truth, canvas=Canvas(None if folder else out, written),  # type: ignore[arg-type]
                folder=folder,
                partial=partial, progress=passing_errors(progress),
            )  # fmt: skip
            with job.network.frozen():
                return job.run()
        except CallbackError as stop:
            raise stop.reason from None


Kind = Literal["forward", "gradients", "none"]


class _Pass(NamedTuple):
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


class _Job:
    """One question about one image, asked tile by tile."""

    def __init__(
        self,
        network: Network,
        image: Any,
        chosen: Method,
        target: Any,
        layer: str | Sequence[str] | None,
        options: dict[str, Any],
        *,
        how: Tiling,
        window: Sequence[tuple[int, int]] | None,
        ground_truth: Any,
        canvas: Canvas,
        folder: GrowingFolder | None,
        partial: Callable[[Explanation], None] | None,
        progress: Progress,
    ) -> None:
        if network.spec.task != "segmentation":
            raise NeuroscopeError(
                "A classifier answers once for the whole image, so it can't be run tile by tile; explain it as a whole."
            )
        refuse_method(chosen)
        request = with_classes_as_option(
            chosen, Request.of(chosen.name, target, layer, options, ground_truth)
        )
        options = dict(request.options)
        # Layers found anew, with a size whose divisions leave no rest, and no pass kept.
        self.network = network.with_spec(network.spec)
        self._refuse(chosen, options)
        self.chosen, self.options = chosen, chosen.check_options(options)
        if refusal := chosen.why_not_on_tiles(self.options):
            raise NeuroscopeError(refusal)
        graph = self.network.layers
        self._refuse(chosen, options)
        self.geometry = Geometry.of(graph, self.network.spec)
        self.layers = self._layers(graph, layer)
        self.one_layer = layer is None or (isinstance(layer, str) and self.layers == [layer])
        needs = chosen.needs_with(self.options)
        self.pulled = self._pulled(needs)
        # Where a method needs none, none is looked at.
        has_targets = Needs.TARGET in needs
        self.request = request if has_targets else replace(request, targets=(), several=False)
        self.several = self.request.several
        targets = list(request.targets or (Target(),)) if has_targets else []
        self.how, self.ground_truth = how, ground_truth
        self.canvas, self.folder = canvas, folder
        self.partial, self.progress = partial, progress
        self.tile = how.sizes(self.network.spec)
        if isinstance(image, TiledInput):
            self.input = image.again()
        else:
            self.input = TiledInput(
                image,
                self.network.spec,
                self.network.channels,
                self.tile,
                lambda: progress(0, 0, chosen.title),
                stride=self.geometry.block,
            )
        self.targets = TiledTargets(targets, self.geometry, self.input, ground_truth)
        self.window = None if window is None else self._window(window, targets)
        weighs = isinstance(chosen.tiles, ChannelWeights) and how.weights == "global"
        self.weighing = chosen.tiles if weighs else None
        self.notes: list[str] = []
        self.made: StackedMaps | None = None
        self.map_notes: list[str] = []
        self.layer_shapes: list[list[int]] = []
        self.output_shape: tuple[int, ...] = ()
        self.whole: tuple[int, ...] = ()
        self.cut: tuple[slice, ...] = ()

    def _refuse(self, chosen: Method, options: dict[str, Any]) -> None:
        if refusal := self.network.why_not(chosen, options):
            raise NeuroscopeError(refusal)

    def _layers(self, graph: LayerGraph, layer: str | Sequence[str] | None) -> list[str]:
        names = choose_layers(self.network, self.chosen, layer, self.options)
        for name in names:
            if name not in self.geometry.steps:
                raise NotByTilesError(
                    f"Of the layer “{name}” it is not known where its positions lie in a tile; "
                    f"choose one before it."
                )
        return names

    def _pulled(self, needs: Needs) -> list[str]:
        """Return the layers that gradients are pulled back to, "" the input."""
        if not needs & (Needs.GRADIENTS | Needs.GUIDED):
            return []
        own = self.layers if Needs.GRADIENTS in needs else []
        return [*own, ""] if Needs.GUIDED in needs or not self.layers else list(own)

    def _window(
        self, window: Sequence[tuple[int, int]], targets: Sequence[Target]
    ) -> Window | None:
        """Return the window in whole units of the network; None where it is the whole image."""
        shape = self.input.image_shape
        if len(window) != len(shape) or any(
            not 0 <= first < stop <= n for (first, stop), n in zip(window, shape, strict=True)
        ):
            raise NeuroscopeError(
                f"The window {tuple(window)} is no part of an image of {_by(shape)} pixels; give "
                f"(first, stop) of each axis."
            )
        if any(target.reduce == "mean" for target in targets):
            raise NeuroscopeError("The mean isn't known from a window alone; use reduce=“sum”.")
        # The padding goes with the pixels that it continues.
        ends = [
            (int(first), m if stop == n else int(stop))
            for (first, stop), n, m in zip(window, shape, self.input.shape, strict=True)
        ]
        found = self.geometry.snapped(tuple(ends), self.input.shape)
        return None if found == tuple((0, n) for n in self.input.shape) else found

    # --- memory ---

    def run(self) -> Explanation:
        """Run, with tiles of half the size where memory runs out, and on the CPU at last."""
        tile, asked = self.tile, self.tile
        while True:
            try:
                return self._explanation(tile)
            except (OutOfMemoryError, torch.OutOfMemoryError) as error:
                tile = tuple(-(-n // 2) for n in tile)
                try:
                    if self.geometry.fixed:
                        raise NeuroscopeError("The network takes one size alone.")
                    self._tiles(tile, self.pulled)
                except NeuroscopeError:
                    short = error
                    break
                self.notes = [
                    f"the memory was too small for tiles of {_by(asked)} pixels; they were made {_by(tile)}"
                ]
        device, moved = self.network.device, self.network.on_cpu()
        if moved is None:
            raise short
        self.notes = [
            f"the memory of {device} was too small for the smallest tiles, so the network ran on the "
            f"CPU"
        ]
        warnings.warn(
            f"{self.notes[0][0].upper()}{self.notes[0][1:]}.", NeuroscopeWarning, stacklevel=3
        )
        with moved:
            return self._explanation(asked)

    # --- passes ---

    def _tiles(self, tile: Sequence[int], pulled: Sequence[str]) -> list[Tile]:
        margins = self.how.margins(
            self.geometry, self.network.spec, pulled, more=int(self._resamples)
        )
        return self.geometry.tiles(self.input.shape, tile, margins, self.window)

    @property
    def _resamples(self) -> bool:
        """Whether maps are brought to a finer grid, for which their neighbours must be right."""
        return len({self.geometry.steps[name] for name in self.layers}) > 1 or (
            bool(self.layers) and self._positions == "input"
        )

    def _explanation(self, tile: tuple[int, ...]) -> Explanation:
        self.canvas.begin()
        self.input.begin()
        self.targets.begin()
        self.made, self.map_notes = None, []
        far = self._tiles(tile, self.pulled)
        near = self._tiles(tile, ()) if self.pulled else far
        notes = [*self.input.notes, *self.notes]
        if far[0].shape != self.input.shape:
            notes += self._sure()
        passes = self._passes(near, far)
        total, done = sum(len(one.tiles) for one in passes), 0
        offer = self._offer(far, notes)
        for number, one in enumerate(passes, 1):
            for place, cut in enumerate(one.tiles, 1):
                self._visit(one, cut)
                give_back()
                done += 1
                self.progress(done, total, self.chosen.title)
                if number == len(passes) and place < len(one.tiles):
                    offer(place, len(one.tiles))
            self.targets.end_of_pass()
            self.input.end_of_pass()
        found = self._assembled(far, notes)
        if self.folder is not None:
            self.folder.finish(found)
        return found

    def _visit(self, one: _Pass, tile: Tile) -> None:
        # A trace ends with this: the next one takes as much memory.
        if one.kind == "none":
            one.visit(tile, None, self._found())
            return
        trace = self._trace(tile, gradients=one.kind == "gradients")
        one.visit(tile, trace, self.targets.on(tile, trace))

    def _trace(self, tile: Tile, *, gradients: bool) -> Trace:
        prepared = self.input.window(tile.start, tile.shape)
        trace = Trace.of_part(self.network, prepared, self.layers, gradients=gradients)
        if not self.output_shape:
            own_shape = trace.outputs.predicted.shape
            steps = steps_of_output(self.geometry, own_shape, tile.shape)
            self.output_shape = whole_shape(tile, own_shape, self.input.shape, steps)
        if not self.layer_shapes:
            for name in self.layers:
                channels, *own = trace.activation(name).shape
                steps = self.geometry.steps[name]
                whole = whole_shape(tile, own, self.input.shape, steps)
                self.layer_shapes.append([channels, *whole])
        return trace

    def _passes(self, near: list[Tile], far: list[Tile]) -> list[_Pass]:
        """Return the ways over the tiles that it takes, the last of which writes the map."""
        weighing = self.weighing
        linear = weighing is not None and weighing.linear
        passes = []
        if self.pulled and not linear and any(t.must_be_counted for t in self.targets.tallies):
            passes.append(_Pass(near, "forward", lambda tile, trace, targets: None))
        if weighing is None:
            return [*passes, _Pass(far, "gradients" if self.pulled else "forward", self._map)]
        # Of a target that is counted, the first stage of a method that isn't linear has done so.
        passes = passes if weighing.sums[0].gradients else []
        weights = WeightedMaps(
            self.chosen, self.options, weighing, self.layers, self.geometry, self.input.shape,
            self.targets, keeps=self._kept(far), write=self.write,
        )  # fmt: skip
        for stage in weighing.sums:
            kind: Kind = "gradients" if stage.gradients else "forward"
            passes.append(_Pass(far, kind, weights.stage(stage)))
        if weighing.also:
            return [*passes, _Pass(far, "gradients", weights.map)]
        return [*passes, _Pass(far, "none" if weights.keeps else "forward", weights.map)]

    def _kept(self, tiles: list[Tile]) -> bool:
        """Whether the layers' outputs on all tiles are kept, so that the map takes no more pass.

        That is where they take no more memory than the pass of one tile.
        """
        graph = self.network.layers
        numbers = sum(
            graph[name].output_shape[0] * math.prod(
                n / step for n, step in zip(tile.shape, self.geometry.steps[name], strict=True)
            )
            for name in self.layers
            for tile in tiles
        )  # fmt: skip
        largest = [max(tile.shape[axis] for tile in tiles) for axis in range(len(tiles[0].shape))]
        one = torch.empty(self.network.channels, *largest, device="meta")
        least = min(self.network.bytes_of_pass(one), self.network.traces.limit)
        return not self.weighing.also and 4 * numbers <= least

    # --- maps ---

    def _map(
        self, tile: Tile, trace: Trace | None, targets: Sequence[ResolvedTarget | None]
    ) -> None:
        """Make the maps of a tile as of an image of its own, and write its core."""
        assert trace is not None
        rows = maps_of(
            trace, self.chosen, list(targets), self.layers or [None], self.options, no_progress
        )
        if self.pulled:
            rows = [
                [replace(made, values=made.values * tally.scale) for made in row]
                for row, tally in zip(rows, self.targets.tallies, strict=True)
            ]
        self.write(tile, rows)

    def write(self, tile: Tile, rows: list[list[Map]]) -> None:
        """Write what lies in a tile's core of the maps of each target and layer."""
        grid = Grid.of_image(self.input.image_shape).window(tile.start, tile.shape)
        made = stacked(
            self.network, self.chosen, self._found(), self.layers, rows, self.options, grid,
            class_axis=self.several, layer_axis=bool(self.layers) and not self.one_layer,
        )  # fmt: skip
        space = len(tile.shape)
        leading, shape = made.values.shape[:-space], made.values.shape[-space:]
        steps = self._steps(shape, tile, rows)
        local, placed = kept(tile, self.input.shape, steps, shape)
        if self.made is None:
            self.whole = whole_shape(tile, shape, self.input.shape, steps)
            window = self.window or tuple((0, n) for n in self.input.shape)
            self.cut = part_of(window, self.input.shape, steps, self.whole)
            self.made = replace(made, values=torch.empty(0), companions={})
            if self.folder is not None:
                self._open_folder((*leading, *(cut.stop - cut.start for cut in self.cut)), placed)
        self.made = replace(self.made, signed=self.made.signed or made.signed)
        notes = [note for row in rows for one in row for note in one.notes]
        if made.companions and not self.canvas.in_memory:
            names = "”, “".join(made.companions)
            notes.append(f"the label map “{names}” is left out where a map is not kept in memory")
        self.map_notes = list(dict.fromkeys([*self.map_notes, *notes]))
        inside = (
            slice(one.start - cut.start, one.stop - cut.start)
            for one, cut in zip(placed, self.cut, strict=True)
        )
        self.canvas.write(
            (*leading, *(cut.stop - cut.start for cut in self.cut)),
            (*(slice(0, n) for n in leading), *inside),
            made.values[(*(slice(None) for _ in leading), *local)].detach().float().cpu().numpy(),
            {name: labels[local].cpu().numpy() for name, labels in made.companions.items()},
            own_axes=sum(axis in ("class", "layer") for axis in made.axes),
        )

    def _open_folder(self, shape: tuple[int, ...], first: Sequence[slice]) -> None:
        """Make the folder, its chunks as large as the cores of the tiles, or parts of them."""
        assert self.folder is not None
        empty = self._assembled([], [], np.broadcast_to(np.float32(np.nan), shape))
        array = self.folder.open(empty, [one.stop - one.start for one in first])
        self.canvas.open(array, self.folder.written)

    def _found(self) -> list[ResolvedTarget | None]:
        return [tally.found for tally in self.targets.tallies] or [None]

    def _steps(self, shape: Sequence[int], tile: Tile, rows: list[list[Map]]) -> tuple[Any, ...]:
        """Return how far apart the positions of the maps of a tile are."""
        if self._positions == "layer" and self._resamples:
            for name, one in zip(self.layers, rows[0], strict=True):
                own = one.values.shape[-len(shape) :]
                steps = self.geometry.steps[name]
                if any(m * step != n for m, step, n in zip(own, steps, tile.shape, strict=True)):
                    raise NotByTilesError(
                        f"The units of the layer “{name}” don't divide the image evenly, so its map "
                        f"can't be brought to another grid tile by tile; ask for one layer."
                    )
        if self._positions == "layer":
            each = (self.geometry.steps[name] for name in self.layers)
            return tuple(min(steps) for steps in zip(*each, strict=True))
        if self._positions == "output":
            return steps_of_output(self.geometry, shape, tile.shape)
        return self.geometry.steps[""]

    def _output_grid(self) -> Grid:
        """Return where the positions of the output for the whole lie."""
        return self.network.grid_of_output(self.input.whole_grid, self.output_shape)

    def _whole_grid(self) -> Grid:
        """Return where the positions of the map of the whole lie."""
        grid, graph = self.input.whole_grid, self.network.layers
        if self._positions == "layer":
            # Several layers are only taken together where they divide the image.
            layout = cells_of_layers(graph).get(self.layers[0]) if len(self.layers) == 1 else None
            return laid_out(layout, grid, self.whole)
        if self._positions == "output":
            return self.network.grid_of_output(grid, self.whole)
        return grid.divided(self.whole)

    @property
    def _positions(self) -> Positions:
        """Where the positions of the map lie."""
        assert self.chosen.tiles is not None
        return self.chosen.tiles.positions or ("layer" if self.layers else "input")

    # --- the result ---

    def _sure(self) -> list[str]:
        """Refuse a network whose tiles differ from the whole; say so of an overlap that was given."""
        own = self.how.margins(self.geometry, self.network.spec, self.pulled)
        needed = self.geometry.margins(self.pulled)
        if own == needed:
            check_by_noise(self.network, self.geometry, self.input.shape, self.layers, self.pulled)
            return []
        return overlap_notes(self.how, self.geometry, self.network.spec, self.pulled)

    def _offer(self, tiles: list[Tile], notes: list[str]) -> Callable[[int, int], None]:
        """Return what hands out the map so far, now and then."""
        next_offer = time.monotonic() + _OFFER_EVERY_S

        def offer(done: int, total: int) -> None:
            nonlocal next_offer
            if self.partial is None or time.monotonic() < next_offer:
                return
            found = self._assembled(tiles, notes)
            unfinished = Unfinished(done, total, "tiles")
            self.partial(replace(found, record=replace(found.record, unfinished=unfinished)))
            next_offer = time.monotonic() + _OFFER_EVERY_S

        return offer

    def _assembled(
        self, tiles: list[Tile], notes: list[str], values: np.ndarray | None = None
    ) -> Explanation:
        """Return the explanation so far; of `values` where none are written yet."""
        made, spec, network = self.made, self.network.spec, self.network
        assert made is not None
        tallies = self.targets.tallies
        of_values: tuple[str, ...] = ()
        if values is None:
            values = self.canvas.values
            of_values = (
                *zero_notes(
                    ~self.canvas.nonzero,
                    made.axes,
                    made.labels,
                    lambda _: likely_reason(self.chosen, self.options),
                ),
                *not_finite_notes(self.canvas.not_finite, math.prod(values.shape)),
            )
        space = len(self.input.shape)
        grid = self._whole_grid().window([cut.start for cut in self.cut], values.shape[-space:])
        tiling: dict[str, Any] = {
            "tile": [max((t.shape[axis] for t in tiles), default=0) for axis in range(space)],
            "overlap": self._overlap,
            "weights": self.how.weights,
        }
        notes = [
            *notes,
            *network.notes_of_output(self._output_grid(), self.input.whole_grid),
            *network.notes_of_chance(),
            *(note for tally in tallies for note in tally.notes),
            *layer_notes(network, self.chosen, self.options, self.layers),
            *self.map_notes,
            *of_values,
        ]
        if self.window is not None:
            tiling["window"] = [list(ends) for ends in self.window]
            if self.weighing is not None:
                notes.append("the channels' weights are of the window alone")
        record = record_of_maps(
            network,
            self.chosen,
            self.options,
            self.layers,
            [(t.found, t.value * t.scale) for t in tallies if t.found is not None],
            ImageRecord.from_json(self.input.record),
            notes,
            digest=network.digest(),
            layer_shapes=self.layer_shapes,
        )
        record = replace(record, tiling=tiling)
        return Explanation(
            values=values,
            axes=(*made.axes, *spec.input.space),
            labels=made.labels,
            grid=grid,
            image=Grid.of_image(self.input.image_shape),
            signed=made.signed,
            unit=made.unit,
            companions=self.canvas.companions,
            ordered=made.ordered,
            classes=tuple(zip(network.class_names, network.class_colours, strict=True)),
            record=record,
            request=self._resolved_request(),
        )

    @property
    def _overlap(self) -> int | str:
        halo = self.network.spec.input.halo if self.how.overlap is None else None
        if halo is not None:
            return halo
        return "receptive field" if self.how.overlap is None else self.how.overlap

    def _resolved_request(self) -> Request:
        found = self.request.resolved(
            self._found(), self.layers, self.options, one_layer=self.one_layer
        )
        by_spec = self.how == Tiling() and self.network.spec.input.resize == "tile"
        return replace(found, tiling=None if by_spec else self.how, window=self.window)


def refuse_method(chosen: Method) -> None:
    """Refuse a method that can't be made tile by tile.

    Raises
    ------
    NeuroscopeError
        Which names those that can.
    """
    if chosen.tiles is None:
        able = ", ".join(name for name, method in methods.items() if method.tiles is not None)
        raise NeuroscopeError(f"{chosen.title} can't be made tile by tile; {able} can.")


def _by(shape: Sequence[int]) -> str:
    return " × ".join(str(n) for n in shape)

"""explain_tiled(): an image of any size, with memory for a tile of it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from napari_neuroscope.engine.errors import (
    CallbackError,
    NeuroscopeError,
    NeuroscopeWarning,
    OutOfMemoryError,
    Progress,
    no_progress,
)
from napari_neuroscope.engine.explain.maps import passing_errors
from napari_neuroscope.engine.explain.tiled.answer import assembled
from napari_neuroscope.engine.explain.tiled.growing_map import GrowingMap
from napari_neuroscope.engine.explain.tiled.passes import TilePasses
from napari_neuroscope.engine.explain.tiled.question import TiledQuestion, by
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.images.spacing import Spacing
from napari_neuroscope.engine.methods.interface import Map
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.memory import give_back
from napari_neuroscope.engine.passes.target import Target
from napari_neuroscope.engine.results.canvas import Canvas, Out, Part
from napari_neuroscope.engine.results.growing_folder import GrowingFolder
from napari_neuroscope.engine.tiles.check import check_by_noise
from napari_neuroscope.engine.tiles.geometry import Tile
from napari_neuroscope.engine.tiles.targets import PredictedNowhereError
from napari_neuroscope.engine.tiles.tiling import Tiling, overlap_notes

OFFER_EVERY_S = 0.2
"""What is finished so far is handed out a few times a second at most."""


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
        The name of a method that declares how it tiles (`Method.tiles`), such as ``score_map``,
        ``saliency`` or ``grad_cam``.
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
    tiling = Tiling(size, overlap, weights)
    if isinstance(out, str | Path):
        folder, canvas = GrowingFolder(Path(out), spacing), Canvas(None, written)
    else:
        folder, canvas = None, Canvas(out, written)
    # Passes turn gradients on where they need them; nothing else here is to be followed.
    with torch.inference_mode(False), torch.no_grad():
        try:
            progress = passing_errors(progress)
            question = TiledQuestion(
                network, image, methods[method], target, layer, dict(options), tiling=tiling,
                window=window, ground_truth=ground_truth, progress=progress,
            )  # fmt: skip
            with question.network.frozen():
                return _Run(question, GrowingMap(question, canvas, folder), partial, progress).run()
        except CallbackError as stop:
            raise stop.reason from None


class _Run:
    """One run of a question over its tiles, begun anew with smaller ones where memory runs out."""

    def __init__(
        self,
        question: TiledQuestion,
        growing: GrowingMap,
        partial: Callable[[Explanation], None] | None,
        progress: Progress,
    ) -> None:
        self._question, self._map = question, growing
        self._partial, self._progress = partial, progress
        self._passes = TilePasses(question, self._write)
        self._notes: list[str] = []
        self._memory_notes: list[str] = []
        self._tiles: list[Tile] = []

    def run(self) -> Explanation:
        """Run, with tiles of half the size where memory runs out, and on the CPU at last."""
        question = self._question
        size = question.tile
        while True:
            try:
                return self._run_with(size)
            except (OutOfMemoryError, torch.OutOfMemoryError) as error:
                size = tuple(-(-n // 2) for n in size)
                if not self._takes(size):
                    short = error
                    break
                self._memory_notes = [
                    f"the memory was too small for tiles of {by(question.tile)} pixels; they were "
                    f"made {by(size)}"
                ]
        device, moved = question.network.device, question.network.on_cpu()
        if moved is None:
            raise short
        note = (
            f"the memory of {device} was too small for the smallest tiles, so the network ran on the "
            f"CPU"
        )
        self._memory_notes = [note]
        warnings.warn(f"{note[0].upper()}{note[1:]}.", NeuroscopeWarning, stacklevel=3)
        with moved:
            return self._run_with(question.tile)

    def _takes(self, size: Sequence[int]) -> bool:
        """Whether the network can be run with tiles of a size."""
        if self._question.geometry.fixed:
            return False
        try:
            self._question.tiles(size, self._question.pulled)
        except NeuroscopeError:
            return False
        return True

    def _run_with(self, size: Sequence[int]) -> Explanation:
        try:
            return self._pass_over(size)
        except PredictedNowhereError:
            # All tiles had to be seen to know it.
            return self._pass_over(size)

    def _pass_over(self, size: Sequence[int]) -> Explanation:
        question = self._question
        self._map.begin()
        question.input.begin()
        question.targets.begin()
        self._tiles = question.tiles(size, question.pulled)
        self._notes = [*question.input.notes, *self._memory_notes]
        if self._tiles[0].shape != question.input.shape:
            self._notes += self._check_tiles()
        passes = self._passes.plan(size)
        total, done = sum(len(tile_pass.tiles) for tile_pass in passes), 0
        next_offer = time.monotonic() + OFFER_EVERY_S
        for tile_pass in passes:
            for number, tile in enumerate(tile_pass.tiles, 1):
                self._passes.visit(tile_pass, tile)
                give_back()
                done += 1
                self._progress(done, total, question.method.title)
                unfinished = tile_pass is passes[-1] and number < len(tile_pass.tiles)
                if unfinished and time.monotonic() >= next_offer:
                    self._offer(number, len(tile_pass.tiles))
                    next_offer = time.monotonic() + OFFER_EVERY_S
            question.targets.end_of_pass()
            question.input.end_of_pass()
        explanation = self._assembled()
        if self._map.folder is not None:
            self._map.folder.finish(explanation)
        return explanation

    def _check_tiles(self) -> list[str]:
        """Refuse a network whose tiles differ from the whole; say so of an overlap that was given."""
        question = self._question
        network, geometry, pulled = question.network, question.geometry, question.pulled
        margins = question.tiling.margins(geometry, network.spec, pulled)
        if margins != geometry.margins(pulled):
            return overlap_notes(question.tiling, geometry, network.spec, pulled)
        check_by_noise(network, geometry, question.input.shape, question.layers, pulled)
        return []

    def _write(self, tile: Tile, rows: list[list[Map]]) -> None:
        self._map.write(tile, rows, self._assembled)

    def _offer(self, done: int, total: int) -> None:
        """Hand out the map so far."""
        if self._partial is not None:
            self._partial(self._assembled().so_far(done, total, "tiles"))

    def _assembled(self, empty: np.ndarray | None = None) -> Explanation:
        """Return the explanation so far; of an array of its shape before anything is written."""
        if empty is not None:
            return assembled(self._question, self._map, self._passes, [], [], empty)
        return assembled(self._question, self._map, self._passes, self._tiles, self._notes)

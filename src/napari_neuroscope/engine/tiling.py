"""Explanations of images of any size: tile by tile, equal to those of the whole at once."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope.engine.errors import (
    NeuroscopeError,
    OutOfMemoryError,
    Progress,
    no_progress,
)
from napari_neuroscope.engine.explanation import Explanation
from napari_neuroscope.engine.grid import Grid, resample_nearest
from napari_neuroscope.engine.layers import LayerGraph
from napari_neuroscope.engine.methods.cams import weighted
from napari_neuroscope.engine.methods.registry import Map, Method, Needs, methods
from napari_neuroscope.engine.network import Network
from napari_neuroscope.engine.preprocessing import Prepared
from napari_neuroscope.engine.target import Instance, Mask, ResolvedTarget, Target
from napari_neuroscope.engine.tiled_input import TiledInput
from napari_neuroscope.engine.tiles import (
    Geometry,
    Margins,
    Tile,
    Window,
    kept,
    part_of,
    rounded_up,
    whole_shape,
)
from napari_neuroscope.engine.trace import Trace, TraceKey

# Each position of these maps hangs on what is seen from there alone.
_LOCAL = ("score_map", "activation", "saliency", "input_x_gradient", "guided_backprop",
          "hires_cam", "layer_cam")  # fmt: skip

_TILE = {1: 1 << 20, 2: 1024, 3: 128}
# What is finished so far is handed out a few times a second at most.
_OFFER_EVERY_S = 0.2


def _mean_gradient(sums: Tensor, count: int) -> Tensor:
    return sums[0] / count


def _share_of_activation(sums: Tensor, count: int) -> Tensor:
    return torch.where(sums[1] == 0, 0, sums[2] / torch.where(sums[1] == 0, 1, sums[1]))


# The weight of each channel, by the sums over the layer of gradient, activation and their product.
_WEIGHTS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "grad_cam": _mean_gradient,
    "x_grad_cam": _share_of_activation,
}


TILED = (*_LOCAL, *_WEIGHTS)
"""The methods that can be run tile by tile."""


def explain_tiled(
    network: Network,
    image: Any,
    method: str,
    target: Target | str | int | None = None,
    layer: str | None = None,
    *,
    tile: int | Sequence[int] | None = None,
    overlap: int | Literal["receptive field"] = "receptive field",
    weights: Literal["global", "tile"] = "global",
    window: Sequence[tuple[int, int]] | None = None,
    ground_truth: Any = None,
    out: Any = None,
    written: Callable[[tuple[slice, ...]], None] | None = None,
    partial: Callable[[Explanation], None] | None = None,
    progress: Progress = no_progress,
    **options: Any,
) -> Explanation:
    """Explain what a fully convolutional segmenter says about an image of any size.

    The result is that of `explain`, to the rounding of the network's numbers, but memory depends
    on the tile, and not on the image.

    Parameters
    ----------
    network
        A segmenter, made by `load` or `wrap`.
    image
        What can be sliced, of NumPy, dask, zarr or h5py, of axes as the spec's ``image_axes``. It
        is read window by window.
    method
        ``score_map``, ``activation``, ``saliency``, ``input_x_gradient``, ``guided_backprop``,
        ``hires_cam``, ``layer_cam``, ``grad_cam`` or ``x_grad_cam``.
    target
        The class by name or index, or a `Target`. Its region may be lazy too: a mask, or the labels
        of an `Instance`.
    layer
        A layer's name; None: the last with positions.
    tile
        The most pixels of a tile, one number or one an axis; None: 1024, or 128 of a volume.
    overlap
        How many pixels are thrown away on each side of a tile; ``"receptive field"``: as many as
        make the result that of the whole.
    weights
        Channels are weighted by the gradient over the whole image (``"global"``, by two passes
        over the tiles, so that there are no seams), or over each tile.
    window
        (first, stop) an axis: only these pixels are explained, and those of whole units of the
        network about them. The map is that part of the whole's, but for the channels' weights of
        Grad-CAM and X-Grad-CAM and the target's value, which are of the window alone.
    ground_truth
        Classes of the image's pixels, sliced likewise, for the region "ground_truth".
    out
        Where the map is written, tile by tile: an array of its shape, or a function that takes the
        shape and returns one. None: an array in memory.
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
        Its values are `out` where that was given.

    Raises
    ------
    NeuroscopeError
        Where the network or the method can't be run tile by tile, or the tile is too small.
    """
    space = len(network.spec.input.space)
    given = tile if tile is not None else _TILE[space]
    sizes = (given,) * space if isinstance(given, int) else tuple(given)
    if len(sizes) != space or any(n < 1 for n in sizes):
        raise NeuroscopeError(f"A tile has {space} sizes of 1 pixel at least, not {given}.")
    with torch.inference_mode(False), torch.no_grad():
        job = _Job(
            network, image, methods[method], Target.of(target), layer, options, tile=sizes,
            overlap=overlap, weights=weights, window=window, ground_truth=ground_truth, out=out,
            written=written, partial=partial, progress=progress,
        )  # fmt: skip
        with job.network.undisturbed():
            return job.run(sizes)


class _Job:
    """One question about one image, asked tile by tile."""

    def __init__(
        self,
        network: Network,
        image: Any,
        chosen: Method,
        target: Target,
        layer: str | None,
        options: dict[str, Any],
        *,
        tile: tuple[int, ...],
        overlap: int | Literal["receptive field"],
        weights: Literal["global", "tile"],
        window: Sequence[tuple[int, int]] | None,
        ground_truth: Any,
        out: Any,
        written: Callable[[tuple[slice, ...]], None] | None,
        partial: Callable[[Explanation], None] | None,
        progress: Progress,
    ) -> None:
        if network.spec.task != "segmentation":
            raise NeuroscopeError(
                "A classifier answers once for the whole image, so it can't be run tile by tile; use explain."
            )
        if isinstance(target.class_, list | tuple):
            raise NeuroscopeError("Tile by tile one target is explained at a time; name one.")
        if weights not in ("global", "tile"):
            raise NeuroscopeError(f"Weights are “global” or “tile”, not “{weights!s:.60}”.")
        stated = isinstance(overlap, int)
        if not (stated and overlap >= 0) and overlap != "receptive field":  # type: ignore[operator]
            raise NeuroscopeError(
                f"The overlap is a number of pixels or “receptive field”, not {overlap!r:.60}."
            )
        if chosen.name not in TILED:
            raise NeuroscopeError(
                f"{chosen.title} can't be made tile by tile; {', '.join(TILED)} can."
            )
        # Layers found anew, with a size whose divisions leave no rest, and no pass kept.
        self.network = network.with_spec(network.spec)
        if refusal := self.network.why_not(chosen, options):
            raise NeuroscopeError(refusal)
        self.chosen, self.options = chosen, chosen.check_options(options)
        if self.options.get("rank", "index") != "index":
            raise NeuroscopeError("Channels can't be ranked tile by tile; use rank=index.")
        graph = self.network.layers
        if refusal := self.network.why_not(chosen, options):
            raise NeuroscopeError(refusal)
        self.geometry = Geometry.of(graph, self.network.spec)
        self.layer = self._layer(graph, layer)
        self.needs = chosen.needs_with(self.options)
        self.pulled = bool(self.needs & (Needs.GRADIENTS | Needs.GUIDED))
        self.target = target if Needs.TARGET in self.needs else None
        everywhere = isinstance(target.region, str) and target.region == "everywhere"
        if self.target is not None and target.reduce == "mean" and not everywhere:
            raise NeuroscopeError(
                "The mean over a region isn't known before all tiles are; use reduce=“sum”."
            )
        self.overlap, self.weights = overlap, weights
        self.ground_truth, self.out, self.progress = ground_truth, out, progress
        self.written, self.partial = written, partial
        self.input = TiledInput(
            image,
            self.network.spec,
            self.network.channels,
            tile,
            lambda: progress(0, 0, chosen.title),
        )
        self.image = image
        self.window = None if window is None else self._window(window, target)
        self.notes: list[str] = []

    def _window(self, window: Sequence[tuple[int, int]], target: Target) -> Window | None:
        """Return the window in whole units of the network; None where it is the whole image."""
        shape = self.input.image_shape
        if len(window) != len(shape) or any(
            not 0 <= first < stop <= n for (first, stop), n in zip(window, shape, strict=True)
        ):
            raise NeuroscopeError(
                f"The window {tuple(window)} is no part of an image of {_by(shape)} pixels; give "
                f"(first, stop) of each axis."
            )
        if self.target is not None and target.reduce == "mean":
            raise NeuroscopeError("The mean isn't known from a window alone; use reduce=“sum”.")
        # The padding goes with the pixels that it continues.
        ends = [
            (int(first), m if stop == n else int(stop))
            for (first, stop), n, m in zip(window, shape, self.input.shape, strict=True)
        ]
        found = self.geometry.snapped(tuple(ends), self.input.shape)
        return None if found == tuple((0, n) for n in self.input.shape) else found

    def _layer(self, graph: LayerGraph, layer: str | None) -> str | None:
        if Needs.LAYER not in self.chosen.needs_with(self.options):
            if layer is not None:
                raise NeuroscopeError(f"{self.chosen.title} looks at no layer; leave layer out.")
            return None
        gradient = Needs.GRADIENTS in self.chosen.needs_with(self.options)
        names = graph.select(layer or graph.last_with_positions() or "", gradient=gradient)
        if len(names) > 1:
            raise NeuroscopeError("Tile by tile one layer is explained at a time; name one.")
        if names[0] not in self.geometry.steps:
            raise NeuroscopeError(
                f"Of the layer “{names[0]}” it is not known where its positions lie in a tile; "
                f"choose one before it."
            )
        return names[0]

    # --- passes ---

    def run(self, tile: tuple[int, ...]) -> Explanation:
        """Run with tiles of at most so many pixels, of half as many where memory runs out."""
        asked = tile
        while True:
            try:
                return self._explanation(tile)
            except (OutOfMemoryError, torch.OutOfMemoryError) as error:
                tile = tuple(-(-n // 2) for n in tile)
                try:
                    self._tiles(tile, gradients=self.pulled)
                except NeuroscopeError:
                    raise error from None
                self.notes = [
                    f"the memory was too small for tiles of {_by(asked)} pixels; they were made {_by(tile)}"
                ]

    def _tiles(self, tile: Sequence[int], *, gradients: bool) -> list[Tile]:
        margins = self.geometry.margins(gradients=gradients)
        if isinstance(self.overlap, int):
            margins = ((self.overlap, self.overlap),) * len(margins)
        return self.geometry.tiles(self.input.shape, tile, margins, self.window)

    def _explanation(self, tile: tuple[int, ...]) -> Explanation:
        gradients = self.pulled
        globally = self.chosen.name in _WEIGHTS and self.weights == "global"
        first = self._tiles(tile, gradients=gradients)
        second = self._tiles(tile, gradients=False) if globally else []
        total, done = len(first) + len(second), 0
        notes = [*self.input.notes, *self.notes]
        if first[0].shape != self.input.shape:
            notes += self._sure(gradients=gradients)
        summary = _Summary()
        next_offer = time.monotonic() + _OFFER_EVERY_S

        def offered(tiles: list[Tile], number: int) -> None:
            nonlocal next_offer
            if self.partial is None or number == len(tiles) or time.monotonic() < next_offer:
                return
            found = self._assembled(summary, first[0], notes)
            found.provenance["unfinished"] = {"done": number, "total": len(tiles), "of": "tiles"}
            self.partial(found)
            next_offer = time.monotonic() + _OFFER_EVERY_S

        def followed(tiles: list[Tile]) -> Iterator[Tile]:
            nonlocal done
            for one in tiles:
                yield one
                done += 1
                self.progress(done, total, self.chosen.title)

        if not globally:
            make: Callable[[Trace, ResolvedTarget | None], Tensor | Map]

            def make(trace: Trace, target: ResolvedTarget | None) -> Tensor | Map:
                return self.chosen(trace, target, self.layer, **self.options)

            for number, one in enumerate(followed(first), 1):
                self._map(one, make, summary, tell=True)
                offered(first, number)
        else:
            sums = torch.zeros(())
            for one in followed(first):
                sums = sums + self._sums(one, summary)
            self._check_region(summary)
            weights = _WEIGHTS[self.chosen.name](sums, summary.positions).float()
            weights = (weights * summary.scale).to(self.network.device)

            def make(trace: Trace, target: ResolvedTarget | None) -> Tensor | Map:
                assert self.layer is not None
                values = weighted(trace.activation(self.layer), weights)
                return values.relu() if self.options["relu"] else values

            for number, one in enumerate(followed(second), 1):
                self._map(one, make, summary, tell=False)
                offered(second, number)
        self._check_region(summary)
        return self._assembled(summary, first[0], notes)

    def _check_region(self, summary: _Summary) -> None:
        if summary.target is not None and not summary.region:
            raise NeuroscopeError(
                f"The region ({summary.target.region}) has no positions on the network's output; choose a "
                f"larger one, or “everywhere”."
            )

    def _trace(self, prepared: Prepared) -> Trace:
        layers = [self.layer] if self.layer else []
        run = self.network.passed(prepared.input[None], layers)
        key = TraceKey("", tuple(prepared.input.shape), "f4", self.network.spec, None)
        return Trace(self.network, prepared, run, key=key, everything=False)

    def _told(self, tile: Tile, trace: Trace, summary: _Summary) -> ResolvedTarget | None:
        """Return the target of a tile, and add what it comes to in its core."""
        if self.target is None:
            return None
        found = self._resolved(tile, trace)
        outputs = trace.outputs
        scores = outputs.value(outputs.raw.float(), found.score, found.index)
        local, _ = kept(tile, self.input.shape, self._steps_of_output(trace), scores.shape)
        scores, mask = scores[local], None if found.mask is None else found.mask[local]
        summary.region += scores.numel() if mask is None else int(mask.sum())
        summary.value += float((scores if mask is None else scores[mask]).double().sum())
        if self.target.reduce == "mean":
            summary.scale = 1 / math.prod(
                whole_shape(
                    tile, outputs.predicted.shape, self.input.shape, self._steps_of_output(trace)
                )
            )
        summary.target = found
        summary.notes.extend(found.notes)
        return found

    def _sums(self, tile: Tile, summary: _Summary) -> Tensor:
        """Return sums over a tile's core of gradient, activation and their product, by channel."""
        assert self.layer is not None
        trace = self._trace(self.input.window(tile.start, tile.shape))
        target = self._told(tile, trace, summary)
        assert target is not None
        activation = trace.activation(self.layer)
        local, _ = kept(tile, self.input.shape, self._steps_of_layer(), activation.shape[1:])
        core: tuple[slice, ...] = (slice(None), *local)
        own, gradient = activation[core], trace.gradient(target, self.layer)[core]
        summary.positions += own[0].numel()
        found = [values.flatten(1).sum(1) for values in (gradient, own, gradient * own)]
        # In double precision, which not all devices have.
        return torch.stack(found).cpu().double()

    def _map(
        self,
        tile: Tile,
        make: Callable[[Trace, ResolvedTarget | None], Tensor | Map],
        summary: _Summary,
        *,
        tell: bool,
    ) -> None:
        """Make a tile's map and write its core."""
        trace = self._trace(self.input.window(tile.start, tile.shape))
        target = self._told(tile, trace, summary) if tell else None
        made = make(trace, target)
        made = made if isinstance(made, Map) else Map(made)
        space = len(tile.shape)
        leading, shape = made.values.shape[:-space], made.values.shape[-space:]
        if self.layer is not None:
            steps = self._steps_of_layer()
        elif self.chosen.name == "score_map":
            steps = self._steps_of_output(trace)
        else:
            steps = self.geometry.steps[""]
        local, placed = kept(tile, self.input.shape, steps, shape)
        if summary.values is None:
            summary.whole = whole_shape(tile, shape, self.input.shape, steps)
            window = self.window or tuple((0, n) for n in self.input.shape)
            summary.cut = part_of(window, self.input.shape, steps, summary.whole)
            own = (cut.stop - cut.start for cut in summary.cut)
            summary.values = self._array((*leading, *own))
            summary.first = replace(made, values=torch.empty(0))
        channels = [slice(None)] * len(leading)
        values = made.values[(*channels, *local)]
        if tell and self.pulled:
            values = values * summary.scale
        inside = (
            slice(one.start - cut.start, one.stop - cut.start)
            for one, cut in zip(placed, summary.cut, strict=True)
        )
        part = (*(slice(0, n) for n in leading), *inside)
        summary.values[part] = values.detach().float().cpu().numpy()
        if self.written is not None:
            self.written(part)
        summary.signed = summary.signed or bool(made.signed)
        summary.notes.extend(made.notes)

    def _array(self, shape: tuple[int, ...]) -> Any:
        if self.out is None:
            return np.empty(shape, np.float32)
        if callable(self.out):
            self.out = self.out(shape)
        array = self.out
        if tuple(array.shape) != shape:
            raise NeuroscopeError(
                f"The map has the shape {shape}, but the array to write it to {tuple(array.shape)}."
            )
        return array

    def _steps_of_layer(self) -> tuple[Any, ...]:
        assert self.layer is not None
        return self.geometry.steps[self.layer]

    def _steps_of_output(self, trace: Trace) -> tuple[Any, ...]:
        """Return the strides of the chosen output, which its shape tells from other outputs'."""
        shape, whole = trace.outputs.predicted.shape, trace.prepared.input.shape[1:]
        return min(
            (self.geometry.steps[name] for name in self.geometry.outputs),
            key=lambda steps: sum(
                abs(n / step - m) for n, step, m in zip(whole, steps, shape, strict=True)
            ),
        )

    # --- targets ---

    def _resolved(self, tile: Tile, trace: Trace) -> ResolvedTarget:
        assert self.target is not None
        found = trace.resolve(replace(self.target, region="everywhere", reduce="sum"))
        region = self.target.region
        if isinstance(region, str) and region == "everywhere":
            return found
        if isinstance(region, str) and region == "predicted":
            mask, words = trace.outputs.predicted == found.index, region
        else:
            mask, words = self._mask(tile, trace, found.index)
        notes = (*found.notes, *region.notes) if isinstance(region, Mask) else found.notes
        return replace(found, mask=mask, region=words, key=(*found.key[:1], words), notes=notes)  # type: ignore[index]

    def _mask(self, tile: Tile, trace: Trace, index: int) -> tuple[Tensor, str]:
        """Return a region that was given on the image's grid, on a tile's output."""
        assert self.target is not None
        region, shape = self.target.region, self.input.image_shape
        steps, own = self._steps_of_output(trace), trace.outputs.predicted
        if any(m * step != n for m, step, n in zip(own.shape, steps, tile.shape, strict=True)):
            raise NeuroscopeError(
                "The network's output leaves out the image's border, so a region that was drawn "
                "has no place on tiles of it; use “everywhere” or “predicted”."
            )
        output = Grid.of_image(self.input.shape).window(tile.start, tile.shape).divided(own.shape)
        if isinstance(region, Sequence) and not isinstance(region, str) and np.ndim(region) == 1:
            return _point(region, output, shape, own)
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
        return torch.as_tensor(mask, device=own.device), words

    def _given(
        self, region: Any, index: int
    ) -> tuple[str, Any, Callable[[np.ndarray], np.ndarray]]:
        """Return a region's words, the array that it is of, and what tells its pixels in it."""
        if isinstance(region, Instance):
            label = region.label
            return f"instance {label}", region.labels, lambda part: part == label
        if isinstance(region, str):
            if self.ground_truth is None:
                raise NeuroscopeError(
                    "The region “ground_truth” needs ground truth: give ground_truth=, class "
                    "labels of the image's shape."
                )
            return region, self.ground_truth, lambda part: part == index
        if isinstance(region, Mask):
            return region.words, region.values, lambda part: part != 0
        return "mask", region, lambda part: part != 0

    # --- being sure ---

    def _sure(self, *, gradients: bool) -> list[str]:
        """Refuse a network whose tiles differ from the whole; say so of an overlap that was given.

        What the layers don't show, such as coordinates that a network makes itself, is found by
        two tiles of noise against the whole of them.
        """
        needed = self.geometry.margins(gradients=gradients)
        if isinstance(self.overlap, int):
            most = max(n for axis in needed for n in axis)
            if self.overlap >= most:
                return []
            return [
                f"tiles overlap by {self.overlap} pixels, as was asked; {most} make the result that "
                f"of the whole image"
            ]
        small = [
            n - max(0, (n - rounded_up(b, k) - a - k) // g) * g
            for n, (b, a), k, g in zip(
                self.input.shape, needed, self.geometry.block, self.geometry.spacing, strict=True
            )
        ]
        large = [
            n + g if n < m else n
            for n, g, m in zip(small, self.geometry.spacing, self.input.shape, strict=True)
        ]
        noise = torch.randn(
            self.network.channels, *large, generator=torch.Generator().manual_seed(0)
        )
        whole, eps = self._noticed(noise, gradients=gradients)
        for at_end in (False, True):
            start = tuple(n - m if at_end else 0 for n, m in zip(large, small, strict=True))
            cut = tuple(slice(s, s + m) for s, m in zip(start, small, strict=True))
            part, _ = self._noticed(noise[(slice(None), *cut)].contiguous(), gradients=gradients)
            for (values, steps, margins), (tiled, _, _) in zip(whole, part, strict=True):
                core = tuple(
                    (s + rounded_up(b, k) if s else 0, n if s + m == n else (s + m - a) // k * k)
                    for s, m, n, (b, a), k in zip(
                        start, small, large, margins, self.geometry.block, strict=True
                    )
                )
                tile = Tile(start, tuple(small), core)
                local, placed = kept(tile, large, steps, tiled.shape[1:])
                if not _alike(values[(slice(None), *placed)], tiled[(slice(None), *local)], eps):
                    raise NeuroscopeError(
                        "The network answers a part of an image otherwise than the whole, though "
                        "its layers don't show why, so it can't be run tile by tile; explain a part "
                        "of the image that fits the memory."
                    )
        return []

    def _noticed(
        self, x: Tensor, *, gradients: bool
    ) -> tuple[list[tuple[Tensor, tuple[Any, ...], Margins]], float]:
        """Return what must be alike in tiles and in the whole, with strides and margins.

        Also how finely the network's own numbers are rounded.
        """
        grid = Grid.of_image(x.shape[1:])
        one = torch.ones(len(x))
        trace = self._trace(Prepared(x, grid, grid, one, 0 * one, "n"))
        target, near = trace.resolve(Target(0)), self.geometry.margins(gradients=False)
        found = [(trace.outputs.scores, self._steps_of_output(trace), near)]
        if self.layer is not None:
            found.append((trace.activation(self.layer), self._steps_of_layer(), near))
        if gradients:
            far = self.geometry.margins(gradients=True)
            found.append((trace.input_gradient(target), self.geometry.steps[""], far))
            if self.layer is not None:
                found.append((trace.gradient(target, self.layer), self._steps_of_layer(), far))
        return found, torch.finfo(trace.outputs.raw.dtype).eps

    # --- the result ---

    def _assembled(self, summary: _Summary, tile: Tile, notes: list[str]) -> Explanation:
        first, space = summary.first, len(self.input.shape)
        assert first is not None
        spec, target = self.network.spec, summary.target
        labels = dict(first.labels)
        if target is not None:
            labels["target"] = (spec.class_name(target.index),)
        grid = Grid.of_image(self.input.image_shape).window((0,) * space, self.input.shape)
        grid = grid.divided(summary.whole).window(
            [cut.start for cut in summary.cut], summary.values.shape[-space:]
        )
        tiling: dict[str, Any] = {
            "tile": list(tile.shape),
            "overlap": self.overlap,
            "weights": self.weights,
        }
        if self.window is not None:
            tiling["window"] = [list(ends) for ends in self.window]
            if self.chosen.name in _WEIGHTS and self.weights == "global":
                notes = [*notes, "the channels' weights are of the window alone"]
        return Explanation(
            values=summary.values,
            axes=(*first.axes, *spec.input.space),
            labels=labels,
            grid=grid,
            image=Grid.of_image(self.input.image_shape),
            signed=self.chosen.signed(self.options) if first.signed is None else summary.signed,
            unit=first.unit or self.chosen.title,
            classes=tuple(zip(self.network.class_names, self.network.class_colours, strict=True)),
            provenance={
                "method": self.chosen.name,
                "title": self.chosen.title,
                "reference": self.chosen.reference,
                "options": {
                    name: list(value) if isinstance(value, tuple) else value
                    for name, value in self.options.items()
                },
                "layers": [self.layer] if self.layer else [],
                "targets": [] if target is None or self.target is None else [{
                    "class": spec.class_name(target.index),
                    "index": target.index,
                    "region": target.region,
                    "score": target.score,
                    "reduce": self.target.reduce,
                    "value": summary.value * summary.scale,
                }],
                "network": {
                    "name": self.network.name,
                    "framework": self.network.framework,
                    "digest": self.network.digest(),
                    "device": str(self.network.device),
                },
                "spec": spec.model_dump(mode="json", exclude_defaults=True),
                "image": {"shape": list(self.image.shape), "dtype": str(self.input.dtype)},
                "tiling": tiling,
                "versions": {
                    "napari-neuroscope": version("napari-neuroscope"),
                    "torch": str(torch.__version__),
                    "python": platform.python_version(),
                },
                "notes": list(dict.fromkeys([*notes, *summary.notes])),
            },
        )  # fmt: skip


@dataclass
class _Summary:
    """What the tiles come to.

    Attributes
    ----------
    values
        The map of the whole, or of the window.
    whole, cut
        The positions of the whole's map, and which of them `values` are.
    first
        The first tile's map, for what they have in common.
    signed, notes
        Of all tiles' maps.
    target, region, value
        The target of the last tile, how many positions it has in all, and the sum of its score.
    positions
        Over how many positions of the layer was summed.
    scale
        What a score's sum is multiplied by: for the mean, one by the number of positions.
    """

    values: Any = None
    whole: tuple[int, ...] = ()
    cut: tuple[slice, ...] = ()
    first: Map | None = None
    signed: bool = False
    notes: list[str] = field(default_factory=list)
    target: ResolvedTarget | None = None
    region: int = 0
    value: float = 0.0
    positions: int = 0
    scale: float = 1.0


def _alike(values: Tensor, tiled: Tensor, eps: float) -> bool:
    """Whether two parts of an answer are equal but for rounding, and gates that it may flip."""
    if values.shape != tiled.shape:
        return False
    return float((values - tiled).norm()) <= max(1e-4, 20 * eps) * float(values.norm())


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


def _by(shape: Sequence[int]) -> str:
    return " × ".join(str(n) for n in shape)

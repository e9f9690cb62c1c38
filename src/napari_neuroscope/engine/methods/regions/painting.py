"""How an attribution is painted over segments of what the network sees of the image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.images.grid import Grid, resample, resample_nearest
from napari_neuroscope.engine.images.segments import (
    Candidates,
    Segmentation,
    candidates_of_images,
    paint,
)
from napari_neuroscope.engine.methods.interface import Map
from napari_neuroscope.engine.methods.interface.catalogue import methods
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace


def image_part(trace: Trace) -> tuple[Grid, tuple[slice, ...]]:
    """Return the part of the network's input that is image and no padding, and where it is.

    Of a segmenter, as far as it answers for it.
    """
    grid, image = trace.prepared.grid, trace.prepared.image
    part = grid.within(image)
    if trace.network.spec.task == "segmentation":
        answered = grid.within(trace.output_grid)
        part = tuple(
            slice(max(a.start, b.start), min(a.stop, b.stop))
            for a, b in zip(part, answered, strict=True)
        )
    shape = [side.stop - side.start for side in part]
    return grid.window([side.start for side in part], shape), part


def segments_of(trace: Trace, how: Segmentation) -> Candidates:
    """Return the segments of the image as the network sees it, found once an image."""
    network, part = trace.network, image_part(trace)[1]
    # What the network takes, and of which image: its weights and classes don't matter here.
    image, shape, dtype, spec, _ = trace.key
    ends = tuple((side.start, side.stop) for side in part)
    key = (image, shape, dtype, spec.input, spec.image_axes, network.channels, how, ends)

    def find() -> Candidates:
        return Candidates.of_image(trace.prepared.displayable()[(slice(None), *part)], how)

    return candidates_of_images.of(key, find)


def attribution(trace: Trace, target: ResolvedTarget, layer: str | None, base: str) -> Map:
    """Return the base of a map over regions, (*space) on the part of the input that is image.

    Raises
    ------
    NeuroscopeError
        Where it is no map of one value a position.
    """
    if base == "probability":
        chosen, target = methods["score_map"], replace(target, score="probability")
    else:
        chosen = methods[base]
    options = chosen.check_options({})
    made = chosen(trace, target, layer, **options)
    if made.axes or made.values.ndim != trace.space:
        layout = f"an axis “{made.axes[0]}”" if made.axes else "no place on the image"
        raise NeuroscopeError(
            f"{chosen.title} can't be the base of a map over regions: it has {layout}; choose a "
            f"map of one value a position, such as score_map or grad_cam."
        )
    onto = image_part(trace)[0]
    values, grid = made.values.float(), made.lies_on(trace.prepared.grid)
    # A layer that leaves out a border is continued there.
    values = values if grid == onto else resample(values, grid, onto, outside=None)
    signed = chosen.signed(options) if made.signed is None else made.signed
    return replace(
        made, values=values, signed=signed, unit=made.unit or chosen.title, grid=onto,
        companions={}, ordered=frozenset(), table={},
    )  # fmt: skip


def predicted(trace: Trace) -> np.ndarray:
    """Return the predicted classes on the part of the input that is image, int (*space)."""

    def find() -> np.ndarray:
        labels = trace.outputs.predicted.cpu().numpy()
        return resample_nearest(labels, trace.output_grid, image_part(trace)[0])

    labels: np.ndarray = trace.once("predicted on the input", find)
    return labels


def painted(base: Map, segments: Candidates, min_new_area: int) -> Map:
    """Return the map that paints an attribution over segments, with their order beside it."""
    values, order = paint(base.values, segments, min_new_area)
    return replace(base, values=values, companions={"order": order}, ordered=frozenset({"order"}))

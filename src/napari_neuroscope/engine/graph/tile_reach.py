"""How a network that is run tile by tile places its units: their strides, and how far they see."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction

from napari_neuroscope.engine.errors import NotByTilesError
from napari_neuroscope.engine.graph.layer_graph import Layer, LayerGraph, derived_once
from napari_neuroscope.engine.graph.reach import ResampledReach
from napari_neuroscope.engine.graph.topology import block_output, lineage, sources, unit_counts
from napari_neuroscope.engine.graph.unit_ranges import UnitRange, follow_back, stride_through

Strides = tuple[Fraction, ...]
"""How far apart units are, in pixels of the input, one number an axis."""


def strides(graph: LayerGraph, placed: Collection[str] = ()) -> Mapping[str, Strides]:
    """Return how far apart the units of each layer are, in pixels of the input, one number an axis.

    For networks alone that answer a part of an image as they answer the whole, away from where it
    was cut. A final activation is left out; "" is the input.

    Parameters
    ----------
    graph
        The layers.
    placed
        Those of them that take what was moved, such as cut, of which it is known where it lies.

    Raises
    ------
    NeuroscopeError
        Where a layer sees the whole image, fits its output to a size, or is not known.
    """
    return _strides(graph, frozenset(placed))


@derived_once
def _strides(graph: LayerGraph, placed: frozenset[str]) -> Mapping[str, Strides]:
    end = graph.final_activation[0] if graph.final_activation else None
    by_layer = {"": (Fraction(1),) * graph.space}
    for name, layer in graph.items():
        if name == end:
            continue
        if layer.kind == "block":
            if (inner := block_output(graph, name)) in by_layer:
                by_layer[name] = by_layer[inner]
            continue
        _refuse_whole_image(layer, placed)
        of_sources = set()
        for source, shape in sources(graph, name):
            if source not in by_layer:
                raise _not_by_tiles(layer, "comes after the network's end")
            of_sources.add(_strides_behind(graph, layer, shape, by_layer[source]))
        if len(of_sources) > 1:
            raise _not_by_tiles(layer, "joins units of different sizes")
        by_layer[name] = of_sources.pop()
    return by_layer


def _refuse_whole_image(layer: Layer, placed: frozenset[str]) -> None:
    """Refuse a layer that answers a part of an image otherwise than the whole."""
    if layer.reach == "everywhere":
        raise _not_by_tiles(layer, "sees the whole image")
    if (
        layer.reach is None
        or (layer.moved and layer.name not in placed)
        or (layer.altered and layer.outputs and placed.isdisjoint(layer.outputs))
    ):
        raise _not_by_tiles(layer, "takes positions in a way that is not known")
    if isinstance(layer.reach, ResampledReach) and (
        layer.reach.align_corners or layer.reach.mode == "area"
    ):
        raise _not_by_tiles(layer, "fits its output to the size of the whole")


def _strides_behind(
    graph: LayerGraph, layer: Layer, shape: Sequence[int], before: Strides
) -> Strides:
    """Return the strides of a layer that takes `shape` units of a source with strides `before`."""
    units = unit_counts(graph, layer.name)
    steps = [
        stride_through(layer.reach, axis, shape[axis], units[axis], stride)
        for axis, stride in enumerate(before)
    ]
    behind = tuple(step for step in steps if step is not None)
    factors = [after / stride for after, stride in zip(behind, before, strict=False)]
    # Sizes that don't divide evenly are resampled by another factor in each part.
    if len(behind) < graph.space or any(1 not in f.as_integer_ratio() for f in factors):
        raise _not_by_tiles(layer, "resamples by no whole number")
    return behind


def beyond(
    graph: LayerGraph, layer: str, block: Sequence[int], of: str = ""
) -> tuple[tuple[int, int], ...]:
    """Return how far beyond a block of pixels the layer's units in it see, (before, after) an axis.

    Parameters
    ----------
    graph
        The layers, of a network that `strides` knows.
    layer
        Which of them.
    block
        The block's shape, a multiple of the stride of each layer.
    of
        What they see: a layer before it, whose units are counted as the pixels that they cover;
        "": the input.

    Raises
    ------
    NeuroscopeError
        Where they don't see the block itself, or see all of the image.
    """
    return _beyond(graph, layer, tuple(block), of)


@derived_once
def _beyond(
    graph: LayerGraph, layer: str, block: tuple[int, ...], of: str
) -> tuple[tuple[int, int], ...]:
    strides_of = strides(graph, [name for name, taken in graph.items() if taken.moved])
    units = tuple(
        (Fraction(0), Fraction(n) / stride - 1)
        for n, stride in zip(block, strides_of[layer], strict=True)
    )
    if not of:
        ranges = follow_back(graph, layer, units, bounded=False)
        return tuple(
            _beyond_pixels(graph[layer], n, pixels) for n, pixels in zip(block, ranges, strict=True)
        )
    source = block_output(graph, of)
    if source not in lineage(graph, layer):
        return ((0, 0),) * graph.space
    ranges = follow_back(graph, layer, units, bounded=False, to=source)
    return tuple(
        _beyond_units(graph[layer], n, stride, reached)
        for n, stride, reached in zip(block, strides_of[of], ranges, strict=True)
    )


def _beyond_pixels(layer: Layer, n: int, pixels: UnitRange | None) -> tuple[int, int]:
    if pixels is None or pixels[0] > 0 or pixels[1] < n - 1:
        raise _not_by_tiles(layer, "sees another part of the image")
    return int(-pixels[0]), int(pixels[1]) - n + 1


def _beyond_units(
    layer: Layer, n: int, stride: Fraction, units: UnitRange | None
) -> tuple[int, int]:
    if units is None:
        raise _not_by_tiles(layer, "sees the whole image")
    first, last = units
    return max(0, math.ceil(-first * stride)), max(0, math.ceil((last + 1) * stride) - n)


def _not_by_tiles(layer: Layer, why: str) -> NotByTilesError:
    return NotByTilesError(
        f"“{layer.name}” ({layer.operation}) {why}, so this network can't be run tile by tile; "
        f"explain a part of the image that fits the memory."
    )

"""The receptive field: which part of the network's input a unit of a layer can see.

Each layer says which units of the layer before it a unit of its own reaches (`Reach`); from there,
ranges of units are followed back to the input, joined where branches meet. The field is the
theoretical one: what can have an effect, not how much it has (Araujo et al., Distill 2019).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.graph.layer_graph import LayerGraph, derived_once
from napari_neuroscope.engine.graph.reach import ResampledReach, Window
from napari_neuroscope.engine.graph.topology import lineage, sources, unit_counts
from napari_neuroscope.engine.graph.unit_ranges import follow_back, stride_through
from napari_neuroscope.engine.plain_text import by_sides


@dataclass(frozen=True)
class ReceptiveField:
    """What the units of a layer see of the network's input, one number an axis.

    Attributes
    ----------
    size
        How many pixels of the input, away from its borders; None: all of them. Of a layer with
        finer units than the input's pixels, or whose units see parts of different sizes, the
        largest.
    stride
        How far the fields of neighbours are apart, in pixels of the input, on the average.
    offset
        The centre of the first unit's field, in pixels of the input, its first pixel's centre as 0;
        it may lie outside.
    """

    size: tuple[int | None, ...]
    stride: tuple[Fraction, ...]
    offset: tuple[float, ...]


@derived_once
def receptive_field(graph: LayerGraph, layer: str) -> ReceptiveField:
    """Return the receptive field of a layer's units.

    Raises
    ------
    NeuroscopeError
        Where the layer has no positions, or it is not known what a layer before it does.
    """
    _refuse_unknown(graph, layer)
    size: list[int | None] = []
    offset: list[float] = []
    strides = _strides_to_input(graph, layer)
    for axis, stride in enumerate(strides):
        # As many neighbours as it takes until finer units repeat.
        fields = [
            follow_back(graph, layer, _single_unit(graph, axis, unit), bounded=False)[axis]
            for unit in range(1 if stride is None else stride.denominator)
        ]
        bounds = [field for field in fields if field is not None]
        if len(bounds) < len(fields) or stride is None:
            size.append(None)
            offset.append((graph.input_shape[axis] - 1) / 2)
            continue
        size.append(int(max(last - first for first, last in bounds)) + 1)
        offset.append(float(sum(bounds[0])) / 2)
    return ReceptiveField(
        tuple(size), tuple(stride or Fraction(0) for stride in strides), tuple(offset)
    )


def box(graph: LayerGraph, layer: str, unit: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return the pixels of the input that a unit sees: (start, stop) an axis, stop left out.

    It is exact also at the borders, where padding is no pixel, for an input of the size that the
    layers were found with.

    Parameters
    ----------
    graph
        The layers.
    layer
        Which of them.
    unit
        The unit's position, one index an axis.

    Raises
    ------
    NeuroscopeError
        Where there is no such unit, the layer has no positions, or it is not known what a layer
        before it does.
    """
    _refuse_unknown(graph, layer)
    shape = graph.grid(layer)
    if len(unit) != len(shape) or any(not 0 <= i < n for i, n in zip(unit, shape, strict=True)):
        raise NeuroscopeError(
            f"The layer “{layer}” has {by_sides(shape)} positions; there is no {tuple(unit)}."
        )
    ranges = follow_back(graph, layer, tuple((Fraction(i),) * 2 for i in unit), bounded=True)
    return tuple(
        (0, n) if pixels is None else (int(pixels[0]), int(pixels[1]) + 1)
        for pixels, n in zip(ranges, graph.input_shape, strict=True)
    )


def box_on(
    graph: LayerGraph, layer: str, unit: Sequence[int], shape: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """Return the pixels that a unit sees of an input of any shape, (start, stop) an axis.

    As `box`; where the layers were found with an input of another shape, the size, stride and
    offset tell, cut at the borders.

    Raises
    ------
    NeuroscopeError
        As `box`, and where the shape is another and a layer before it makes its units finer or
        fits them to a size: where they lie then depends on the shape.
    """
    if tuple(shape) == graph.input_shape:
        return box(graph, layer, unit)
    for name in lineage(graph, layer):
        reach = graph[name].reach
        if isinstance(reach, ResampledReach) or (isinstance(reach, Window) and reach.transposed):
            raise NeuroscopeError(
                f"The layers were found with an image of another size, and “{name}” resamples: open "
                f"the network anew and look at this image first to see what its units see."
            )
    field = receptive_field(graph, layer)
    pixels = []
    for index, size, stride, offset, n in zip(
        unit, field.size, field.stride, field.offset, shape, strict=True
    ):
        if size is None:
            pixels.append((0, n))
            continue
        start = math.floor(offset + float(stride) * index - (size - 1) / 2 + 1e-6)
        pixels.append((min(max(start, 0), n - 1), max(min(start + size, n), 1)))
    return tuple(pixels)


def in_words(field: ReceptiveField) -> str:
    """Return a receptive field for a person."""
    if all(n is None for n in field.size):
        return "each position sees the whole input"
    sizes = " × ".join("all" if n is None else str(n) for n in field.size)
    strides = " × ".join(map(_as_text, field.stride))
    return f"each position sees {sizes} pixels of the input, {strides} from the next"


def _as_text(stride: Fraction) -> str:
    return str(stride) if stride.denominator <= 64 else f"{float(stride):.3g}"


def _refuse_unknown(graph: LayerGraph, layer: str) -> None:
    if not graph.has_positions(layer):
        if graph[layer].layout == "unknown":
            raise NeuroscopeError(
                f"Where the numbers of the layer “{layer}” lie is not known, so neither is what they "
                f"see."
            )
        raise NeuroscopeError(
            f"The layer “{layer}” has no positions: each of its numbers may see the whole image."
        )
    for name in lineage(graph, layer):
        is_known = graph[name].reach is not None and not graph[name].moved
        if not is_known or (graph[name].altered and name != layer):
            raise NeuroscopeError(
                f"What “{name}” ({graph[name].operation}) takes of the layer before it is not "
                f"known, so neither is the receptive field behind it."
            )


def _single_unit(graph: LayerGraph, axis: int, unit: int) -> tuple[tuple[Fraction, Fraction], ...]:
    return tuple((Fraction(unit if n == axis else 0),) * 2 for n in range(graph.space))


def _strides_to_input(graph: LayerGraph, layer: str) -> list[Fraction | None]:
    """Return how far apart a layer's units are on the input, an axis each; None where they see all."""
    order = lineage(graph, layer)
    waiting: dict[str, list[Fraction | None]] = {order[0]: [Fraction(1)] * graph.space}
    at_input: list[Fraction | None] | None = None
    for name in order:
        here, reach, units = waiting.pop(name), graph[name].reach, unit_counts(graph, name)
        for source, shape in sources(graph, name):
            strides = [
                None if s is None else stride_through(reach, axis, shape[axis], units[axis], s)
                for axis, s in enumerate(here)
            ]
            met = waiting.get(source) if source else at_input
            if met is not None:
                # Branches that meet go at the same pace, but for one that sees all.
                strides = [None if a is None or b is None else a
                           for a, b in zip(met, strides, strict=True)]  # fmt: skip
            if source:
                waiting[source] = strides
            else:
                at_input = strides
    return at_input if at_input is not None else [None] * graph.space

"""Ranges of units, followed back from a layer to the network's input, joined where branches meet."""

from __future__ import annotations

import math
from fractions import Fraction

from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.graph.reach import Reach, ResampledReach, Window
from napari_neuroscope.engine.graph.topology import lineage, sources, unit_counts

UnitRange = tuple[Fraction, Fraction]
"""The first and the last unit along an axis, both included."""
UnitRanges = tuple[UnitRange | None, ...]
"""A range along each axis; None: all of it."""


def follow_back(
    graph: LayerGraph, layer: str, ranges: UnitRanges, *, bounded: bool, to: str = ""
) -> UnitRanges:
    """Return what units of a layer reach of the input, or of a layer that it comes from.

    Parameters
    ----------
    graph, layer
        The layers, and which of them the units are of.
    ranges
        The units.
    bounded
        Whether padding is left out, which lies beyond the first and the last unit.
    to
        The layer that is reached; "" is the input.
    """
    order = lineage(graph, layer)
    waiting: dict[str, UnitRanges] = {order[0]: ranges}
    at_input: UnitRanges | None = None
    for name in order:
        here = waiting.pop(name)
        if name == to:
            return here
        for source, shape in sources(graph, name):
            reached = _reached(graph, name, here, shape, bounded=bounded)
            if source:
                waiting[source] = _joined(waiting.get(source), reached)
            else:
                at_input = _joined(at_input, reached)
    return at_input if at_input is not None else (None,) * graph.space


def _joined(first: UnitRanges | None, second: UnitRanges) -> UnitRanges:
    if first is None:
        return second
    return tuple(
        None if a is None or b is None else (min(a[0], b[0]), max(a[1], b[1]))
        for a, b in zip(first, second, strict=True)
    )


def _reached(
    graph: LayerGraph, name: str, ranges: UnitRanges, shape: tuple[int, ...], *, bounded: bool
) -> UnitRanges:
    """Return what a layer's units reach of a layer before it that has `shape` units."""
    reach = graph[name].reach
    reached: list[UnitRange | None] = []
    for axis, (units, n, m) in enumerate(zip(ranges, shape, unit_counts(graph, name), strict=True)):
        if reach == "everywhere" or units is None:
            reached.append(None)
        elif n == 1 and m > 1 and reach == "pointwise":
            # One value for all positions, such as a gate.
            reached.append((Fraction(0), Fraction(0)))
        else:
            first, last = _along(reach, units, axis, n, m, bounded=bounded)
            if bounded:
                low, high = Fraction(0), Fraction(n - 1)
                first, last = min(max(first, low), high), max(min(last, high), low)
            reached.append((first, last))
    return tuple(reached)


def _along(
    reach: Reach, units: UnitRange, axis: int, n: int, m: int, *, bounded: bool
) -> UnitRange:
    """Return the units reached along an axis of `n`, by those of a layer with `m`."""
    if isinstance(reach, ResampledReach):
        return _resampled(reach, units, n, m)
    if not isinstance(reach, Window):
        return units
    kernel, stride, dilation = reach.kernel[axis], reach.stride[axis], reach.dilation[axis]
    wide = (kernel - 1) * dilation
    if reach.before is not None:
        before = reach.before[axis]
    elif reach.transposed:
        before = max(wide + 1 - stride, 0) // 2
    else:
        before = max((m - 1) * stride + wide + 1 - n, 0) // 2

    def taps(unit: int) -> list[int]:
        if reach.transposed:
            # Those i with unit = i·stride − before + k·dilation for some k of the kernel.
            places = (unit + before - k * dilation for k in range(kernel))
            reached = [place // stride for place in places if place % stride == 0]
        else:
            reached = [unit * stride - before + k * dilation for k in range(kernel)]
        return [tap for tap in reached if 0 <= tap < n] if bounded else reached

    # Beyond so many units from its end nothing reaches further.
    first, last = int(units[0]), int(units[1])
    inside, enough = range(first, last + 1), wide + stride + 1
    lows = [min(reached) for unit in inside[:enough] if (reached := taps(unit))]
    highs = [max(reached) for unit in inside[-enough:] if (reached := taps(unit))]
    if not lows or not highs:
        # Nothing but padding, or a gap between strides.
        place = Fraction((first + before) // stride if reach.transposed else first * stride)
        return place, place
    return Fraction(min(lows)), Fraction(max(highs))


def _resampled(reach: ResampledReach, units: UnitRange, n: int, m: int) -> UnitRange:
    first, last = units
    ratio = Fraction(n, m)
    if reach.mode == "nearest":
        return Fraction(math.floor(first * ratio)), Fraction(math.floor(last * ratio))
    if reach.mode == "area":
        return Fraction(math.floor(first * ratio)), Fraction(math.ceil((last + 1) * ratio) - 1)
    half = Fraction(1, 2)
    if reach.align_corners:
        ratio = Fraction(n - 1, m - 1) if m > 1 else Fraction(0)
        low, high = first * ratio, last * ratio
    else:
        low, high = (first + half) * ratio - half, (last + half) * ratio - half
    if reach.mode == "cubic":
        return Fraction(math.floor(low) - 1), Fraction(math.floor(high) + 2)
    # What lies exactly on a unit is that unit alone.
    return Fraction(math.floor(low)), Fraction(math.ceil(high))


def stride_through(reach: Reach, axis: int, n: int, m: int, stride: Fraction) -> Fraction | None:
    """Return a stride along an axis multiplied by that of a layer; None where its units see all.

    The layer has `m` units, and takes `n`.
    """
    if reach == "everywhere" or (reach == "pointwise" and n == 1 and m > 1):
        return None
    if isinstance(reach, Window):
        along = reach.stride[axis]
        return stride / along if reach.transposed else stride * along
    if isinstance(reach, ResampledReach):
        return stride * Fraction(n, m)
    return stride

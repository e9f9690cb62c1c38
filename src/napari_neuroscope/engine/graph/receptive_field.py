"""The receptive field: which part of the network's input a unit of a layer can see.

Each layer says which units of the layer before it a unit of its own reaches (`Reach`); from there,
ranges of units are followed back to the input, joined where branches meet. The field is the
theoretical one: what can have an effect, not how much it has (Araujo et al., Distill 2019).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from napari_neuroscope.engine.errors import NeuroscopeError, NotByTilesError

if TYPE_CHECKING:
    from napari_neuroscope.engine.graph.layer_graph import LayerGraph


@dataclass(frozen=True)
class Window:
    """A window that slides, one number an axis.

    Attributes
    ----------
    kernel, stride, before, dilation
        Unit i reaches those from ``i·stride − before`` on, `kernel` of them, `dilation` apart.
        `before` is None where as much is added as keeps the size (“same” of TensorFlow).
    transposed
        The other way: units of the output that a unit of the input reaches, as a transposed
        convolution has it.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    before: tuple[int, ...] | None
    dilation: tuple[int, ...]
    transposed: bool = False


@dataclass(frozen=True)
class ResampledReach:
    """Another size: each unit reaches those that it is interpolated of.

    ``"area"`` is the mean or maximum of the units that it covers (adaptive pooling).
    """

    mode: Literal["nearest", "linear", "cubic", "area"]
    align_corners: bool = False


Reach = Window | ResampledReach | Literal["pointwise", "everywhere"] | None
"""What a unit sees of the layer before it; None where that is not known."""

# A range of units along each axis, both ends included; None: all of them.
_Range = tuple[Fraction, Fraction]
_Ranges = tuple[_Range | None, ...]


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


def receptive_field(graph: LayerGraph, layer: str) -> ReceptiveField:
    """Return the receptive field of a layer's units.

    Raises
    ------
    NeuroscopeError
        Where the layer has no positions, or it is not known what a layer before it does.
    """
    _check(graph, layer)
    size: list[int | None] = []
    stride: list[Fraction] = []
    offset: list[float] = []
    steps = _steps(graph, layer)
    for axis in range(graph.space):
        # As many neighbours as it takes until finer units repeat.
        step = steps[axis]
        fields = [
            _back(graph, layer, _at(graph, axis, unit), bounded=False)[axis]
            for unit in range(1 if step is None else step.denominator)
        ]
        stride.append(step or Fraction(0))
        known = [field for field in fields if field is not None]
        if len(known) < len(fields) or step is None:
            size.append(None)
            offset.append((graph.input_shape[axis] - 1) / 2)
            continue
        size.append(int(max(stop - start for start, stop in known)) + 1)
        offset.append(float(sum(known[0])) / 2)
    return ReceptiveField(tuple(size), tuple(stride), tuple(offset))


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
    _check(graph, layer)
    shape = graph.grid(layer)
    if len(unit) != len(shape) or any(not 0 <= i < n for i, n in zip(unit, shape, strict=True)):
        raise NeuroscopeError(
            f"The layer “{layer}” has {' × '.join(map(str, shape))} positions; there is no "
            f"{tuple(unit)}."
        )
    start: _Ranges = tuple((Fraction(i), Fraction(i)) for i in unit)
    found = _back(graph, layer, start, bounded=True)
    whole = graph.input_shape
    return tuple(
        (0, n) if field is None else (int(field[0]), int(field[1]) + 1)
        for field, n in zip(found, whole, strict=True)
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
    for name in _before(graph, layer):
        reach = graph[name].reach
        if isinstance(reach, ResampledReach) or (isinstance(reach, Window) and reach.transposed):
            raise NeuroscopeError(
                f"The layers were found with an image of another size, and “{name}” resamples: open "
                f"the network anew and look at this image first to see what its units see."
            )
    field = receptive_field(graph, layer)
    found = []
    for place, size, stride, offset, n in zip(
        unit, field.size, field.stride, field.offset, shape, strict=True
    ):
        if size is None:
            found.append((0, n))
            continue
        start = math.floor(offset + float(stride) * place - (size - 1) / 2 + 1e-6)
        found.append((min(max(start, 0), n - 1), max(min(start + size, n), 1)))
    return tuple(found)


def strides(graph: LayerGraph, placed: Collection[str] = ()) -> dict[str, tuple[Fraction, ...]]:
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
    end, placed = graph.final_activation[0] if graph.final_activation else None, frozenset(placed)
    found = {"": (Fraction(1),) * graph.space}
    for name, layer in graph.items():
        if name == end:
            continue
        if layer.kind == "block":
            if (inner := source_of(graph, name)) in found:
                found[name] = found[inner]
            continue
        reach, own = layer.reach, _shape(graph, name)
        if reach == "everywhere":
            raise _not_by_parts(name, layer.operation, "sees the whole image")
        if (
            reach is None
            or (layer.moved and name not in placed)
            or (layer.altered and layer.outputs and placed.isdisjoint(layer.outputs))
        ):
            raise _not_by_parts(name, layer.operation, "takes positions in a way that is not known")
        if isinstance(reach, ResampledReach) and (reach.align_corners or reach.mode == "area"):
            raise _not_by_parts(name, layer.operation, "fits its output to the size of the whole")
        paces = set()
        for source, shape in sources(graph, name):
            if source not in found:
                raise _not_by_parts(name, layer.operation, "comes after the network's end")
            steps = [
                _step(reach, axis, shape[axis], own[axis], step)
                for axis, step in enumerate(found[source])
            ]
            known = tuple(step for step in steps if step is not None)
            factors = [to / step for to, step in zip(known, found[source], strict=False)]
            # Sizes that don't divide evenly are resampled by another factor in each part.
            if len(known) < graph.space or any(1 not in f.as_integer_ratio() for f in factors):
                raise _not_by_parts(name, layer.operation, "resamples by no whole number")
            paces.add(known)
        if len(paces) > 1:
            raise _not_by_parts(name, layer.operation, "joins units of different sizes")
        found[name] = paces.pop()
    return found


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
    steps = _paces(graph)[layer]
    start = tuple(
        (Fraction(0), Fraction(n) / step - 1) for n, step in zip(block, steps, strict=True)
    )
    if of:
        if source_of(graph, of) not in _before(graph, layer):
            return ((0, 0),) * graph.space
        ranges = _back(graph, layer, start, bounded=False, of=source_of(graph, of))
        sees = []
        for n, step, seen in zip(block, _paces(graph)[of], ranges, strict=True):
            if seen is None:
                raise _not_by_parts(layer, graph[layer].operation, "sees the whole image")
            first, last = seen
            sees.append(
                (max(0, math.ceil(-first * step)), max(0, math.ceil((last + 1) * step) - n))
            )
        return tuple(sees)
    found = []
    for n, seen in zip(block, _back(graph, layer, start, bounded=False), strict=True):
        if seen is None or seen[0] > 0 or seen[1] < n - 1:
            raise _not_by_parts(layer, graph[layer].operation, "sees another part of the image")
        found.append((int(-seen[0]), int(seen[1]) - n + 1))
    return tuple(found)


def _paces(graph: LayerGraph) -> dict[str, tuple[Fraction, ...]]:
    """Return the strides of a network that is known to have them."""
    return strides(graph, [name for name, layer in graph.items() if layer.moved])


def _not_by_parts(name: str, operation: str, why: str) -> NotByTilesError:
    return NotByTilesError(
        f"“{name}” ({operation}) {why}, so this network can't be run tile by tile; explain a part "
        f"of the image that fits the memory."
    )


def _check(graph: LayerGraph, layer: str) -> None:
    if not graph.has_positions(layer):
        if graph[layer].layout == "unknown":
            raise NeuroscopeError(
                f"Where the numbers of the layer “{layer}” lie is not known, so neither is what they "
                f"see."
            )
        raise NeuroscopeError(
            f"The layer “{layer}” has no positions: each of its numbers may see the whole image."
        )
    for name in _before(graph, layer):
        known = graph[name].reach is not None and not graph[name].moved
        if not known or (graph[name].altered and name != layer):
            raise NeuroscopeError(
                f"What “{name}” ({graph[name].operation}) takes of the layer before it is not "
                f"known, so neither is the receptive field behind it."
            )


def _before(graph: LayerGraph, layer: str) -> list[str]:
    """Return a layer and all that it comes from, the last of the network first."""
    wanted = {source_of(graph, layer)}
    found = []
    for name in reversed(list(graph)):
        if name in wanted:
            found.append(name)
            wanted.update(graph[name].inputs)
    return found


def source_of(graph: LayerGraph, name: str) -> str:
    """Return the layer whose output a block's is; of a layer, itself."""
    if graph[name].kind != "block":
        return name
    names = list(graph)
    for inner in reversed(names[: names.index(name)]):
        if graph[inner].kind != "block":
            if inner.startswith(f"{name}.") or graph[inner].block == name:
                return inner
            break
    return name


def _at(graph: LayerGraph, axis: int, unit: int) -> _Ranges:
    places = [Fraction(unit if number == axis else 0) for number in range(graph.space)]
    return tuple((place, place) for place in places)


def _back(graph: LayerGraph, layer: str, start: _Ranges, *, bounded: bool, of: str = "") -> _Ranges:
    """Follow ranges of a layer's units back to the input, or to a layer `of` which it comes."""
    order = _before(graph, layer)
    ranges: dict[str, _Ranges] = {order[0]: start}
    at_input: _Ranges | None = None
    for name in order:
        here = ranges.pop(name)
        if name == of:
            return here
        for source, shape in sources(graph, name):
            found = _reached(graph, name, here, shape, bounded=bounded)
            if source:
                ranges[source] = _joined(ranges.get(source), found)
            else:
                at_input = _joined(at_input, found)
    return at_input if at_input is not None else (None,) * graph.space


def sources(graph: LayerGraph, name: str) -> list[tuple[str, tuple[int, ...]]]:
    """Return what a layer takes, with its positions; "" is the network's input."""
    found = [(source, _shape(graph, source)) for source in graph[name].inputs]
    if graph[name].takes_input or not found:
        found.append(("", graph.input_shape))
    return found


def _shape(graph: LayerGraph, name: str) -> tuple[int, ...]:
    # What has no positions is one unit that stands for all of them.
    return graph.grid(name) or (1,) * graph.space


def _joined(one: _Ranges | None, other: _Ranges) -> _Ranges:
    if one is None:
        return other
    return tuple(
        None if a is None or b is None else (min(a[0], b[0]), max(a[1], b[1]))
        for a, b in zip(one, other, strict=True)
    )


def _reached(
    graph: LayerGraph, name: str, here: _Ranges, shape: tuple[int, ...], *, bounded: bool
) -> _Ranges:
    """Return what a layer's units reach of a layer before it that has `shape` units."""
    layer = graph[name]
    own = _shape(graph, name)
    found: list[_Range | None] = []
    for axis in range(graph.space):
        field, n, m = here[axis], shape[axis], own[axis]
        if layer.reach == "everywhere" or field is None:
            found.append(None)
        elif n == 1 and m > 1 and layer.reach == "pointwise":
            # One value for all positions, such as a gate.
            found.append((Fraction(0), Fraction(0)))
        else:
            field = _along(layer.reach, field, axis, n, m, bounded=bounded)
            if bounded:
                low, high = Fraction(0), Fraction(n - 1)
                field = (min(max(field[0], low), high), max(min(field[1], high), low))
            found.append(field)
    return tuple(found)


def _along(reach: Reach, field: _Range, axis: int, n: int, m: int, *, bounded: bool) -> _Range:
    """Return the units reached along an axis of `n`, by those of a layer with `m`."""
    first, last = field
    if isinstance(reach, ResampledReach):
        return _resampled(reach, field, n, m)
    if not isinstance(reach, Window):
        return field
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
            found = [place // stride for place in places if place % stride == 0]
        else:
            found = [unit * stride - before + k * dilation for k in range(kernel)]
        return [tap for tap in found if 0 <= tap < n] if bounded else found

    # Beyond so many units from its end nothing reaches further.
    units = range(int(first), int(last) + 1)
    enough = wide + stride + 1
    lows = [min(found) for unit in units[:enough] if (found := taps(unit))]
    highs = [max(found) for unit in units[-enough:] if (found := taps(unit))]
    if not lows or not highs:
        # Nothing but padding, or a gap between strides.
        place = (int(first) + before) // stride if reach.transposed else int(first) * stride
        return Fraction(place), Fraction(place)
    return Fraction(min(lows)), Fraction(max(highs))


def _resampled(reach: ResampledReach, field: _Range, n: int, m: int) -> _Range:
    first, last = field
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
    more = 1 if reach.mode == "cubic" else 0
    # What lies exactly on a unit is that unit alone.
    if more == 0:
        return Fraction(math.floor(low)), Fraction(math.ceil(high))
    return Fraction(math.floor(low) - 1), Fraction(math.floor(high) + 2)


def _steps(graph: LayerGraph, layer: str) -> list[Fraction | None]:
    """Return the stride along each axis, None where a unit sees all of it."""
    order = _before(graph, layer)
    steps: dict[str, list[Fraction | None]] = {order[0]: [Fraction(1)] * graph.space}
    at_input: list[Fraction | None] | None = None
    for name in order:
        here, reach, own = steps.pop(name), graph[name].reach, _shape(graph, name)
        for source, shape in sources(graph, name):
            found = [
                None if step is None else _step(reach, axis, shape[axis], own[axis], step)
                for axis, step in enumerate(here)
            ]
            known = steps.get(source) if source else at_input
            if known is not None:
                # Branches that meet go at the same pace, but for one that sees all.
                found = [None if a is None or b is None else a
                         for a, b in zip(known, found, strict=True)]  # fmt: skip
            if source:
                steps[source] = found
            else:
                at_input = found
    return at_input if at_input is not None else [None] * graph.space


def _step(reach: Reach, axis: int, n: int, m: int, step: Fraction) -> Fraction | None:
    if reach == "everywhere" or (reach == "pointwise" and n == 1 and m > 1):
        return None
    if isinstance(reach, Window):
        stride = reach.stride[axis]
        return step / stride if reach.transposed else step * stride
    if isinstance(reach, ResampledReach):
        return step * Fraction(n, m)
    return step


def in_words(field: ReceptiveField) -> str:
    """Return a receptive field for a person."""
    if all(n is None for n in field.size):
        return "each position sees the whole input"
    sizes = " × ".join("all" if n is None else str(n) for n in field.size)
    steps = " × ".join(_plain(step) for step in field.stride)
    return f"each position sees {sizes} pixels of the input, {steps} from the next"


def _plain(step: Fraction) -> str:
    return str(step) if step.denominator <= 64 else f"{float(step):.3g}"

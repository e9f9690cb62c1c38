"""Where the outputs and layers of a network lie on its input: the one place that decides it.

A unit of a layer stands for a cell of the input, as large as the units are apart. Followed forward
from the input, windows, poolings and resamplings say where the cells begin. Where they cover the
input, as with the usual padding, they are taken to divide it evenly; where a part of it is left
out, as behind unpadded convolutions, or more than it is covered, they lie where they lie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from napari_neuroscope.engine.graph.layer_graph import LayerGraph, derived_once
from napari_neuroscope.engine.graph.reach import ResampledReach, Window
from napari_neuroscope.engine.graph.topology import block_output, sources
from napari_neuroscope.engine.images.grid import Grid

How = Literal["evenly", "receptive field", "stated", "measured"]
"""How it is known where an output lies."""


@dataclass(frozen=True)
class Cells:
    """Where the cells of units lie along one axis of the input, in its pixels.

    Attributes
    ----------
    start
        The edge of the first cell; the input begins at 0.
    pitch
        How large each cell is.
    left_out
        How much of the input no cell covers because of missing padding; below zero where there is
        more of it than it takes. What is left over by rounding does not count.
    sure
        Whether nothing before is but taken to be centred.
    """

    start: Fraction = Fraction(0)
    pitch: Fraction = Fraction(1)
    left_out: Fraction = Fraction(0)
    sure: bool = True

    def on(self, pixels: int, units: int) -> tuple[float, float] | None:
        """Return scale and offset of `units` on an axis of `pixels`; None where they divide it."""
        if units == pixels or self._covers(pixels, units):
            return None
        return float(self.pitch), float(self.start + (self.pitch - 1) / 2)

    def _covers(self, pixels: int, units: int) -> bool:
        rounded = pixels - units * self.pitch - self.left_out
        return -self.pitch < self.left_out <= 0 and abs(rounded) < self.pitch


Layout = tuple[Cells, ...]
"""The cells along each axis."""


def cells_of_layers(graph: LayerGraph) -> dict[str, Layout]:
    """Return where the units of each layer with positions lie, for the input it was found with."""
    return _cells_of_layers(graph) if graph.input_shape else {}


@derived_once
def _cells_of_layers(graph: LayerGraph) -> dict[str, Layout]:
    layouts: dict[str, Layout] = {"": (Cells(),) * graph.space}
    for name, layer in graph.items():
        if layer.kind == "block":
            inner = block_output(graph, name)
            if inner != name and inner in layouts and graph.grid(inner) == graph.grid(name):
                layouts[name] = layouts[inner]
            continue
        units = graph.grid(name)
        if not units:
            continue
        candidates = [
            _behind(graph, name, layouts[source], shape, units)
            for source, shape in sources(graph, name)
            if source in layouts and (max(shape) > 1 or max(units) == 1)
        ]
        if candidates:
            # Of what is joined, what comes as it is tells where it lies.
            layouts[name] = max(candidates, key=lambda layout: all(cells.sure for cells in layout))
    return layouts


def surely_cut(graph: LayerGraph) -> list[str]:
    """Return the layers that take what was cut or moved beside what lies as they do."""
    layouts = cells_of_layers(graph)
    return [
        name
        for name, layer in graph.items()
        if layer.moved and all(cells.sure for cells in layouts.get(name, ())) and name in layouts
    ]


def _behind(
    graph: LayerGraph, name: str, before: Layout, shape: Sequence[int], units: Sequence[int]
) -> Layout:
    """Return where units of a layer lie that takes a source of `shape` units."""
    layer = graph[name]
    layout = []
    if layer.cut is not None:
        cut = [_cut_out(*taken) for taken in zip(before, shape, layer.cut, strict=True)]
        before, shape = tuple(cells for cells, _ in cut), [n for _, n in cut]
    for axis, (cells, n, m) in enumerate(zip(before, shape, units, strict=True)):
        if isinstance(layer.reach, Window):
            window = _through(layer.reach, cells, axis, n, m)
            centred = layer.moved and layer.cut is None
            layout.append(_cut(window, layer.reach, axis, n, m) if centred else window)
        elif isinstance(layer.reach, ResampledReach):
            layout.append(_resampled(layer.reach, cells, n, m))
        else:
            layout.append(_unknown(cells, n, m))
    return tuple(layout)


def _through(reach: Window, cells: Cells, axis: int, n: int, m: int) -> Cells:
    """Return the cells behind a window that slides, of `m` positions on `n` units."""
    wide = (reach.kernel[axis] - 1) * reach.dilation[axis] + 1
    stride = reach.stride[axis]
    if reach.transposed:
        before = max(wide - stride, 0) // 2 if reach.before is None else reach.before[axis]
        pitch = cells.pitch / stride
        centre = cells.start + cells.pitch / 2 + pitch * (before - Fraction(wide - 1, 2))
        left_out = cells.left_out + pitch * (n * stride - m)
        return replace(cells, start=centre - pitch / 2, pitch=pitch, left_out=left_out)
    needed = (m - 1) * stride + wide
    before = max(needed - n, 0) // 2 if reach.before is None else reach.before[axis]
    shift = Fraction(wide - stride, 2) - before
    after = needed - before - n
    # What a window does not reach behind the last is left over by rounding, but where it cuts.
    missing = wide - stride - before - (after if after > 0 or before < 0 else 0)
    return replace(
        cells,
        start=cells.start + cells.pitch * shift,
        pitch=cells.pitch * stride,
        left_out=cells.left_out + cells.pitch * missing,
    )


def _cut_out(cells: Cells, n: int, cut: tuple[float, float, int]) -> tuple[Cells, int]:
    """Return the cells of what was cut from `n` units, and how many there are, by `Layer.cut`."""
    first, step, count = cut
    pace, middle = Fraction(round(2 * step * n), 2), Fraction(round(2 * first * n), 2)
    start = cells.start + cells.pitch * (middle - pace / 2)
    left_out = cells.left_out + cells.pitch * (n - count * pace)
    return Cells(start, cells.pitch * pace, left_out, cells.sure and count * pace == n), count


def _cut(cells: Cells, reach: Window, axis: int, n: int, m: int) -> Cells:
    """Return the cells where something of the source was cut off or moved before the window."""
    if reach.transposed or reach.before is None:
        return replace(cells, sure=False)
    wide = (reach.kernel[axis] - 1) * reach.dilation[axis] + 1
    whole = (n + 2 * reach.before[axis] - wide) // reach.stride[axis] + 1
    gone = cells.pitch * max(0, whole - m)
    return replace(cells, start=cells.start + gone / 2, sure=cells.sure and not gone)


def _resampled(reach: ResampledReach, cells: Cells, n: int, m: int) -> Cells:
    if not reach.align_corners or m == 1 or n == 1:
        return replace(cells, pitch=cells.pitch * Fraction(n, m))
    pitch = cells.pitch * Fraction(n - 1, m - 1)
    start = cells.start + (cells.pitch - pitch) / 2
    return replace(cells, start=start, pitch=pitch)


def _unknown(cells: Cells, n: int, m: int) -> Cells:
    """Return the cells behind what keeps its positions, cuts them, pads them or resamples them."""
    if n == m:
        return cells
    if n % m == 0 or m % n == 0 or not n / 2 < m < 2 * n:
        return replace(cells, pitch=cells.pitch * Fraction(n, m), sure=False)
    gone = cells.pitch * (n - m)
    return replace(cells, start=cells.start + gone / 2, left_out=cells.left_out + gone, sure=False)


def laid_out(layout: Layout | None, onto: Grid, shape: Sequence[int]) -> Grid:
    """Return the grid of units of a shape on the grid of the network's input.

    Parameters
    ----------
    layout
        Where they lie; None: they divide the input evenly.
    onto
        Where the pixels of the input lie on the image.
    shape
        How many units there are along each axis.
    """
    even = onto.divided(shape)
    if layout is None:
        return even
    scales, offsets = list(even.scale), list(even.offset)
    for axis, (cells, n, m) in enumerate(zip(layout, onto.shape, shape, strict=True)):
        place = cells.on(n, m)
        if place is not None:
            scales[axis] = onto.scale[axis] * place[0]
            offsets[axis] = onto.offset[axis] + onto.scale[axis] * place[1]
    return Grid(tuple(shape), tuple(scales), tuple(offsets))


def output_layer(
    graph: LayerGraph, cells: Mapping[str, Layout], shape: Sequence[int]
) -> str | None:
    """Return the layer that an output of `shape` positions is of; None where none is so."""
    end = {graph.final_activation[0]} if graph.final_activation else set()
    leaves = [
        name
        for name, layer in graph.items()
        if name in cells and layer.kind != "block" and set(layer.outputs) <= end
    ]
    fitting = [name for name in leaves if graph.grid(name) == tuple(shape)]
    return fitting[-1] if fitting else None

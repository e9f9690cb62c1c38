"""Which output of a network is explained, how its axes lie, and where it lies on the input."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TypeVar

import torch
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.frameworks.base import Framework
from napari_neuroscope.engine.frameworks.output_choice import OutputChoice, choose
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.passes.output.outputs import Outputs
from napari_neuroscope.engine.passes.output.probing import measured_layout
from napari_neuroscope.engine.passes.unit_placement import (
    Cells,
    How,
    Layout,
    cells_of_layers,
    laid_out,
    output_layer,
)
from napari_neuroscope.engine.spec.answer_shape import (
    Answer,
    grid_of,
    keeps_aspect,
    larger,
    read_answers,
)
from napari_neuroscope.engine.spec.model_spec import ModelSpec

T = TypeVar("T")

# What is less than a pixel is rounding of sizes that are divided.
_LEAST_SAID = 1.0
_HOW: dict[How, str] = {
    "evenly": "as its size says",
    "receptive field": "as its layers' receptive fields say",
    "stated": "as the spec's output.crop says",
    "measured": "as was measured",
}

_LABELS = (
    "The network's output holds whole numbers alone, as labels that an argmax or a threshold leaves; "
    "scores are needed: set the spec's output.index to the output that holds them, or give the "
    "network without its last step."
)


class OutputFinder:
    """Asks a network about its output.

    Parameters
    ----------
    adapter
        The model, as its framework sees it.

    Attributes
    ----------
    choice
        Which of several outputs is explained; None where there is one, or it was stated.
    how
        How it is known where the output lies.
    shape
        The output's positions for the input that the layers were found with; () where it has none.
    """

    def __init__(self, adapter: Framework) -> None:
        self._adapter = adapter
        self.choice: OutputChoice | None = None
        self.how: How = "evenly"
        self.shape: tuple[int, ...] = ()
        self._looked = False
        self._measured: Layout | None = None
        self._layer: str | None = None
        self._row: Layout | None = None

    # --- which output ---

    def ask_of_chosen(
        self, x: Tensor, spec: ModelSpec, ask: Callable[[ModelSpec], T]
    ) -> tuple[ModelSpec, T]:
        """Return what `ask` answers of `x`, and the spec with the output that it was asked about.

        Where the network turns out to have several outputs, one is chosen and asked about.
        """
        spec = self._with_choice(spec)
        try:
            answer = ask(spec)
        except NeuroscopeError:
            # Of a tensor beside nothing, the place is to be told.
            chosen = self._chosen(x, spec, least=1)
            if chosen == spec:
                raise
            return chosen, ask(chosen)
        chosen = self._chosen(x, spec)
        return (spec, answer) if chosen == spec else (chosen, ask(chosen))

    def _chosen(self, x: Tensor, spec: ModelSpec, least: int = 2) -> ModelSpec:
        if spec.output.index is None and not self._looked:
            self._looked = True
            if self._adapter.offers_several:
                offered = self._adapter.outputs(x, spec)
                self.choice = choose(offered, spec, x.shape[2:]) if len(offered) >= least else None
        return self._with_choice(spec)

    def _with_choice(self, spec: ModelSpec) -> ModelSpec:
        if spec.output.index is not None or self.choice is None:
            return spec
        return spec.with_output(index=self.choice.key)

    # --- how its axes lie ---

    def with_axes(self, x: Tensor, output: Tensor, spec: ModelSpec) -> ModelSpec:
        """Return the spec with the order of the output's axes, where it is not the usual one.

        Raises
        ------
        NeuroscopeError
            Where the output is of another kind, which must be stated: it says what.
        """
        self._refuse_labels(x, output, spec)
        pixels = tuple(x.shape[2:])
        if spec.output.axes is not None or _is_usual(output.shape, pixels, spec):
            return spec
        reading = read_answers(self._answers(x, output, spec), spec)
        if reading.doubt:
            raise NeuroscopeError(reading.doubt)
        if spec.task == "segmentation" and reading.axes is not None:
            return spec.with_output(axes=reading.axes)
        return spec

    def _answers(self, x: Tensor, output: Tensor, spec: ModelSpec) -> list[Answer]:
        """Return the shapes of answers to an input and to larger ones."""
        pixels = tuple(x.shape[2:])
        answers = [Answer(pixels, tuple(output.shape))]
        for shape in larger(pixels, spec):
            answer = self._try(torch.zeros(1, x.shape[1], *shape), spec)
            if answer is not None:
                answers.append(Answer(shape, tuple(answer.shape)))
        return answers

    def _refuse_labels(self, x: Tensor, output: Tensor, spec: ModelSpec) -> None:
        space = len(spec.input.space)
        body = output.shape[1:] if "b" in spec.input.axes else output.shape
        is_one_channel = spec.output.axes is None and (
            output.numel() == 1 or len(body) == space or body[:1] == (1,)
        )
        if not is_one_channel or not _are_whole(output):
            return
        # An image of one colour may be answered by whole numbers by chance.
        noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
        answer = self._try(noise, spec)
        if answer is not None and _are_whole(answer) and bool(answer.any()):
            raise NeuroscopeError(_LABELS)

    def _try(self, x: Tensor, spec: ModelSpec) -> Tensor | None:
        try:
            return self._adapter.output(x, spec, LayerGraph([], x.ndim - 2))[0]
        except NeuroscopeError:
            return None

    # --- its positions ---

    def locate(self, output: Tensor, spec: ModelSpec, layers: LayerGraph) -> None:
        """Take which layer the output is of, once the layers were found."""
        cells, self._measured, self._row = cells_of_layers(layers), None, None
        grid = self.grid_of_row(output, spec, layers, layers.input_shape)
        if grid is not None and spec.output.order is not None:
            self._row = next(
                (cells[n] for n in reversed(list(cells)) if n and layers.grid(n) == grid), None
            )
        if spec.task == "segmentation":
            self.shape = tuple(Outputs(output, None, spec, None, grid).predicted.shape)
            self._layer = output_layer(layers, cells, self.shape)

    def grid_of_row(
        self, output: Tensor, spec: ModelSpec, layers: LayerGraph, pixels: Sequence[int]
    ) -> tuple[int, ...] | None:
        """Return the shape of positions that are in a row; None where they are not, or unknown."""
        order = spec.output.order
        row = [n for n, part in zip(output.shape, order or (), strict=False) if len(part) > 1]
        if not row or len(order or ()) != output.ndim:
            return None
        (length,) = row
        if (even := grid_of(length, pixels)) is not None:
            return even
        if tuple(pixels) == layers.input_shape:
            for name in reversed(list(layers)):
                grid = layers.grid(name)
                if math.prod(grid) == length and len(grid) == len(pixels) and min(grid) > 1:
                    return grid
        if self._row is not None:
            grid = tuple(
                max(1, round((n - cells.left_out) / cells.pitch))
                for n, cells in zip(pixels, self._row, strict=True)
            )
            if math.prod(grid) == length:
                return grid
        return None

    # --- where it lies ---

    def grid(self, onto: Grid, shape: Sequence[int], spec: ModelSpec, layers: LayerGraph) -> Grid:
        """Return where the output's positions lie, from where the input's pixels do."""
        return laid_out(self._layout(onto.shape, shape, spec, layers), onto, shape)

    def notes_of_place(self, grid: Grid, onto: Grid) -> tuple[str, ...]:
        """Say how much of the input an output leaves out, and how that is known."""
        sides = []
        for axis, scale in enumerate(onto.scale):
            first = grid.offset[axis] - grid.scale[axis] / 2 - (onto.offset[axis] - scale / 2)
            whole = onto.shape[axis] * scale
            last = whole - first - grid.shape[axis] * grid.scale[axis]
            sides.append((first / scale, last / scale))
        if max(side for ends in sides for side in ends) < _LEAST_SAID:
            return ()
        each = ", ".join(f"{first:g} and {last:g}" for first, last in sides)
        return (
            f"the network answers for a part of its input alone: it leaves out {each} pixels before "
            f"and after it along each axis ({_HOW[self.how]}), which have no score",
        )

    def _layout(
        self, pixels: Sequence[int], shape: Sequence[int], spec: ModelSpec, layers: LayerGraph
    ) -> Layout | None:
        if spec.output.crop is not None:
            self.how = "stated"
            return _cropped(spec.output.crop, pixels, shape)
        if tuple(pixels) == tuple(shape):
            return None
        layout = cells_of_layers(layers).get(self._layer) if self._layer else None
        if layout is not None and all(cells.sure for cells in layout):
            self.how = "receptive field"
            return layout
        if self._measured is None:
            self._measured = self._measure(pixels, spec, layers) or layout
            self.how = "measured"
        return self._measured

    def _measure(self, pixels: Sequence[int], spec: ModelSpec, layers: LayerGraph) -> Layout | None:
        def ask(x: Tensor) -> Tensor | None:
            try:
                output, scores = self._adapter.output(x[None], spec, layers)
            except NeuroscopeError:
                return None
            grid = self.grid_of_row(output, spec, layers, x.shape[1:])
            return Outputs(output, scores, spec, None, grid).arranged.float().cpu()

        channels = self._adapter.channels_of(spec)
        with self._adapter.frozen():
            return measured_layout(ask, channels, pixels, larger(tuple(pixels), spec))


def _cropped(crop: float | Sequence[float], pixels: Sequence[int], shape: Sequence[int]) -> Layout:
    each = crop if isinstance(crop, Sequence) else (crop,) * len(pixels)
    layout = []
    for out, n, m in zip(each, pixels, shape, strict=True):
        start = Fraction(out).limit_denominator(64)
        if 2 * start >= n:
            raise NeuroscopeError(
                f"The spec's output.crop leaves nothing of an input of {n} pixels: it says {out:g} on "
                f"each side."
            )
        layout.append(Cells(start, (n - 2 * start) / m, 2 * start))
    return tuple(layout)


def _is_usual(shape: Sequence[int], pixels: Sequence[int], spec: ModelSpec) -> bool:
    """Whether an output is as it is taken to be where its axes are not stated."""
    body = tuple(shape[1:] if "b" in spec.input.axes and len(shape) > 1 else shape)
    if spec.task == "classification":
        return bool(body) and math.prod(body) == body[0]
    space = len(pixels)
    if len(body) not in (space, space + 1):
        return False
    positions = body[-space:]
    return min(positions) < 2 or keeps_aspect(positions, tuple(pixels))


def _are_whole(values: Tensor) -> bool:
    return bool((values == values.round()).all()) and bool((values >= 0).all())

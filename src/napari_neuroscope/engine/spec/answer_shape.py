"""What the shape of a network's answer says: scores of an image, scores of its positions, or else.

Along which axis of the image a dimension of the answer lies is seen by changing the image's size;
of a network of one size alone, by what fits it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from napari_neuroscope.engine.plain_text import by_sides
from napari_neuroscope.engine.spec.input_spec import SizeRule
from napari_neuroscope.engine.spec.model_spec import ModelSpec

Shape = tuple[int, ...]
# How far apart, in pixels of the input, detectors place their boxes.
_STRIDES_OF_BOXES = (4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class Answer:
    """The shape of an answer to an image of some pixels, each along the spatial axes."""

    pixels: Shape
    shape: Shape


@dataclass(frozen=True)
class OutputReading:
    """What an answer is.

    Attributes
    ----------
    task
        None: neither scores of the image nor of its positions.
    axes
        The order of its axes, where it is not the usual one; else None.
    doubt
        What must be stated before it can be explained, a sentence; "" where nothing must.
    """

    task: Literal["classification", "segmentation"] | None
    axes: str | None = None
    doubt: str = ""


def read_answers(answers: Sequence[Answer], spec: ModelSpec) -> OutputReading:
    """Return what the answers to images of one or more sizes are.

    Parameters
    ----------
    answers
        The first counts; others, to images of which one axis alone is larger, show what follows it.
    spec
        What is stated of the network; its task counts where it is stated.
    """
    first, space = answers[0], spec.input.space
    batch = "b" if "b" in spec.input.axes and len(first.shape) > 1 else ""
    body = first.shape[len(batch) :]
    stated = spec.task if "task" in spec.model_fields_set else None
    if sum(n > 1 for n in body) <= 1 and not (
        stated == "segmentation" and max(body, default=1) > 1
    ):
        return OutputReading("classification")
    follows = _followed(answers, len(batch))
    order = _order(body, first.pixels, space, follows)
    if order is not None:
        axes = batch + order
        usual = (f"{batch}c{space}", f"{batch}{space}")
        return OutputReading("segmentation", None if axes in usual else axes)
    flat = _flat(body, first.pixels, space, follows)
    if flat is None:
        return OutputReading(None, None, _neither(first.shape, space))
    order, length, grid = flat
    axes, others = batch + order, math.prod(body) // length
    if grid is not None and (length == math.prod(first.pixels) or stated == "segmentation"):
        return OutputReading("segmentation", axes)
    if grid is None and _are_boxes(length, first.pixels):
        return OutputReading(None, None, _BOXES.format(places=length, numbers=others))
    return OutputReading(None, None, _TABLE.format(shape=by_sides(body), axes=axes, places=length,
                                             numbers=others))  # fmt: skip


_BOXES = (
    "The network answers {numbers} numbers for each of {places} places, as detectors do for boxes; "
    "it gives boxes, and no classes of the image or of its pixels, which are explained here."
)
_TABLE = (
    "The network answers a table of {shape}: {numbers} numbers for each of {places} places, which "
    "may be boxes, as of a detector, or a segmentation whose positions are in a row; if it is that, "
    "state the spec's task: segmentation and output.axes: {axes}."
)


def larger(pixels: Shape, spec: ModelSpec) -> list[tuple[int, ...]]:
    """Return shapes that a network may take too, one for each axis along which it is larger."""
    rule = spec.input.size
    shapes: list[tuple[int, ...]] = []
    if isinstance(rule, tuple):
        return []
    for axis, n in enumerate(pixels):
        more = 2 * n
        if isinstance(rule, SizeRule):
            more = rule.smallest_at_least(more, axis)
        if more > n:
            shapes.append((*pixels[:axis], more, *pixels[axis + 1 :]))
    return shapes


def grid_of(length: int, pixels: Sequence[int]) -> Shape | None:
    """Return the only grid of `length` positions that divides an image evenly; None without.

    Along all axes by the same whole number, sides rounded in the same way.
    """
    step = (math.prod(pixels) / length) ** (1 / len(pixels))
    # As far off as rounding to fewer or more of few positions takes it.
    steps = [Fraction(1, round(1 / step))] if step < 1 else [
        Fraction(n) for n in range(max(1, math.floor(step * 0.8)), math.ceil(step * 1.25) + 1)
    ]  # fmt: skip
    grids = {
        tuple(rounded(n / side) for n in pixels)
        for side in steps
        for rounded in (math.floor, math.ceil)
    }
    fitting = [grid for grid in grids if math.prod(grid) == length and min(grid) > 1]
    return fitting[0] if len(fitting) == 1 else None


def _followed(answers: Sequence[Answer], batch: int) -> list[frozenset[int]] | None:
    """Return which axes of the image each dimension follows; None where only one size is known."""
    first = answers[0]
    moved = [
        (axis, larger_answer)
        for larger_answer in answers[1:]
        for axis in range(len(first.pixels))
        if len(larger_answer.shape) == len(first.shape)
        and _differing(first.pixels, larger_answer.pixels) == [axis]
    ]
    if {axis for axis, _ in moved} != set(range(len(first.pixels))):
        return None
    return [
        frozenset(axis for axis, answer in moved if answer.shape[place] != first.shape[place])
        for place in range(batch, len(first.shape))
    ]


def _differing(pixels: Shape, others: Shape) -> list[int]:
    """Return the axes along which two images are of other sizes."""
    return [axis for axis, n in enumerate(pixels) if n != others[axis]]


def _order(
    body: Shape, pixels: Shape, space: str, follows: list[frozenset[int]] | None
) -> str | None:
    """Return the axes of an answer with one dimension for each axis of the image; None if not so."""
    usual, last = f"c{space}", f"{space}c"
    if len(body) not in (len(space), len(space) + 1):
        return None
    if follows is not None:
        letters = [
            space[next(iter(axes))] if len(axes) == 1 else "c" if not axes else "?"
            for axes in follows
        ]
        order = "".join(letters)
        return order if sorted(order.replace("c", "", 1)) == sorted(space) else None
    if len(body) == len(space):
        return space if keeps_aspect(body, pixels) else None
    for order in (usual, last):
        positions = body[1:] if order == usual else body[:-1]
        if keeps_aspect(positions, pixels):
            return order
    # Volumes may be cut by another factor along each axis, and borders may be of two widths.
    least = 0.0 if len(space) == 3 else 0.5
    alike = all(m > 1 and least * n < m <= n for m, n in zip(body[1:], pixels, strict=True))
    return usual if alike else None


def keeps_aspect(positions: Shape, pixels: Shape) -> bool:
    """Whether positions are as the pixels are, but for a factor or a border of one width."""
    if min(positions) < 2:
        return False
    ratios = [m / n for m, n in zip(positions, pixels, strict=True)]
    within = max((m + 1) / n for m, n in zip(positions, pixels, strict=True)) - max(ratios)
    if max(ratios) - min(ratios) <= within + 1e-9:
        return True
    steps = (1, 2, 4, 8, 16, 32)
    return any(
        len({n - step * m for m, n in zip(positions, pixels, strict=True)}) == 1 for step in steps
    )


def _flat(
    body: Shape, pixels: Shape, space: str, follows: list[frozenset[int]] | None
) -> tuple[str, int, Shape | None] | None:
    """Return the axes of an answer with all positions in one dimension, their number and grid."""
    wide = [place for place, n in enumerate(body) if n > 1]
    if len(body) not in (1, 2) or not wide:
        return None
    every = frozenset(range(len(pixels)))
    if follows is not None:
        along = [place for place in wide if follows[place] == every]
        if len(along) != 1 or any(follows[place] for place in wide if place not in along):
            return None
    else:
        fitting = [place for place in wide if grid_of(body[place], pixels) is not None]
        full = [place for place in wide if body[place] == math.prod(pixels)]
        # There are more places than numbers of each, unless one alone makes a grid.
        along = full or [max(fitting or wide, key=lambda place: body[place])]
    place = along[0]
    letters = ["c"] * len(body)
    letters[place] = f"({space})"
    return "".join(letters), body[place], grid_of(body[place], pixels)


def _are_boxes(length: int, pixels: Shape) -> bool:
    """Whether so many places are those of several grids, with the usual strides."""
    if len(pixels) != 2:
        return False
    sizes = [math.prod(-(-n // step) for n in pixels) for step in _STRIDES_OF_BOXES]
    for first, last in itertools.combinations(range(len(sizes) + 1), 2):
        total = sum(sizes[first:last])
        if last - first > 1 and any(length == total * of_each for of_each in (1, 2, 3, 4, 6, 9)):
            return True
    return False


def _neither(shape: Shape, space: str) -> str:
    return (
        f"The network's output has shape {shape}, which is no list of class scores and does not keep "
        f"the image's axes {', '.join(space)}; set the spec's task or output.axes, or choose another "
        f"output by output.index."
    )

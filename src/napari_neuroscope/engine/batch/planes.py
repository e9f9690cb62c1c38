"""The planes of one image of a batch: most images are one plane, and stacks have many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.images.source import Source
from napari_neuroscope.engine.images.stack import Stack
from napari_neuroscope.engine.networks.network import Network


@contextmanager
def opened(source: Source, network: Network) -> Iterator[Stack]:
    """Open an image as a network takes it; a stack is read plane by plane, all else once.

    Raises
    ------
    NeuroscopeError
        Where it can't be read.
    """
    with source.in_memory() if source.plane else source.open() as image:
        stack = Stack.of(image, network)
        if not stack.axes:
            stack = Stack.of(replace(image, levels=(image[...],)), network)
        yield stack


def planes_of(
    explanation: Explanation, stack: Stack
) -> Iterator[tuple[tuple[int, ...], Explanation]]:
    """Yield the explanation of each plane of a stack that has one, and the plane's index."""
    record = explanation.record
    if not stack.axes:
        yield (), explanation
        return
    planes, count = record.planes, len(stack.axes)
    assert planes is not None
    for steps, classes, values in zip(
        planes.indices or (), planes.classes or (), planes.values or (), strict=True
    ):
        index = tuple(steps)
        place = tuple(
            (n - first) // step
            for n, first, step in zip(index, planes.first or (), planes.step or (), strict=True)
        )
        targets = tuple(
            replace(target, index=which, class_=explanation.classes[which][0], value=value)
            for target, which, value in zip(record.targets, classes, values, strict=True)
        )
        before = 0 if explanation.is_table else len(explanation.leading)
        part: tuple[slice | int, ...] = (*(slice(None),) * before, *place)
        axes = explanation.axes[:before] + explanation.axes[before + count :]
        yield (
            index,
            replace(
                explanation,
                values=np.asarray(explanation.values[part]),
                axes=axes,
                grid=_of_plane(explanation.grid, count),
                image=_of_plane(explanation.image, count),
                companions={},
                record=replace(record, targets=targets),
            ),
        )


def _of_plane(grid: Grid, count: int) -> Grid:
    return Grid(grid.shape[count:], grid.scale[count:], grid.offset[count:])

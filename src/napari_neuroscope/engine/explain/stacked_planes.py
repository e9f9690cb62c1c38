"""Explanations of stacks: plane by plane along the axes that a network does not look along."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial as partially
from typing import Any, Literal

import numpy as np

from napari_neuroscope.engine.errors import (
    EmptyRegionError,
    NeuroscopeError,
    OutOfMemoryError,
    Progress,
    no_progress,
    within,
)
from napari_neuroscope.engine.explain.explain import explain
from napari_neuroscope.engine.explain.stack_assembly import StackAssembly
from napari_neuroscope.engine.explain.tiled import explain_tiled
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.images.stack import Planes, Stack
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.target import Target
from napari_neuroscope.engine.tiles.tiling import Tiling, by_tiles


def explain_stack(
    network: Network,
    image: Any,
    method: str,
    target: Target | str | int | Sequence[Target | str | int] | None = None,
    layer: str | Sequence[str] | None = None,
    *,
    planes: Planes = None,
    axes: Sequence[str] | None = None,
    ground_truth: Any = None,
    keep: Literal["asked", "everything", "fit"] | None = None,
    tiling: Tiling | None = None,
    out: Any = None,
    progress: Progress = no_progress,
    partial: Callable[[Explanation], None] | None = None,
    **options: Any,
) -> Explanation:
    """Explain the planes of a stack one by one: along time, depth, channels, positions.

    Each plane is read when it is its turn, and explained as `explain` does.

    Parameters
    ----------
    network
        Made by `load` or `wrap`.
    image
        What can be sliced, of NumPy, dask, zarr, xarray or h5py, or what `open_image` returns; or
        a `Stack`, which says itself what its axes are.
    method, target, layer
        As `explain` takes them. Without a target each plane of a classifier is explained for its
        own top prediction. Masks and labels as regions may be of one plane, and then hold for all,
        or of the stack.
    planes
        Which: ``"all"``; ``"0:10"`` along the one axis; ``"t=0:10, z=3"``; or a mapping from the
        axes to indices, ranges and slices. Axes that are not named are taken whole.
    axes
        The names of the image's axes, such as "tczyx"; None: its own, where it has such, else what
        its shape tells.
    ground_truth
        Classes of the pixels of the stack, or of one plane, for the region "ground_truth".
    keep
        As `explain` takes it; None: ``"asked"`` for the planes of a stack.
    tiling
        How each plane is cut into tiles, to be explained as by `explain_tiled`; None: as `explain`
        does. An image that is no stack is then read window by window.
    out
        Where the maps are written, plane by plane: an array of their shape, such as of zarr, or a
        function that takes the shape and returns one. None: an array in memory.
    progress
        Called with (done, total, what) as the work goes on; it may raise `Cancelled`.
    partial
        Called after each plane but the last with what there is so far: its values are the same
        array, NaN where no plane is done.
    **options
        The method's own options.

    Returns
    -------
    Explanation
        Its grid has the stack's axes before those of the network: float32 (..., *stack, *space).
        A table, such as of a classifier's scores, has them first: (*stack, class). The record holds
        the planes and the score of each; planes on which a target's region is empty are NaN.

    Raises
    ------
    NeuroscopeError
        Where a plane can't be explained: it is named.
    """
    stack = image if isinstance(image, Stack) else Stack.of(image, network, axes)
    chosen = stack.chosen(planes)
    if grows(network, stack, tiling):
        return explain_tiled(
            network, stack.lazily, method, target, layer, ground_truth=ground_truth, out=out,
            spacing=getattr(stack.image, "spacing", None), progress=progress, partial=partial,
            **asdict(tiling or Tiling()), **options,
        )  # fmt: skip
    # Of one plane of many no more is asked.
    kept = keep or ("asked" if stack.axes else None)
    ask: Callable[..., Explanation] = partially(explain, keep=kept)
    if tiling is not None:
        ask = partially(explain_tiled, **asdict(tiling))
    so_far = StackAssembly(network, stack, chosen, target, layer, out)
    total = math.prod(map(len, chosen))
    title = methods[method].title
    for number, place in enumerate(np.ndindex(*map(len, chosen))):
        index = tuple(steps[n] for steps, n in zip(chosen, place, strict=True))
        try:
            plane = ask(
                network,
                stack.read(index),
                method,
                so_far.target_of(index),
                layer,
                ground_truth=so_far.of_plane(ground_truth, index),
                progress=within(progress, number, total, title),
                partial=None if stack.axes else partial,
                **options,
            )
        except EmptyRegionError as error:
            if not stack.axes:
                raise
            so_far.leave_out(place, index, error)
        except OutOfMemoryError as error:
            raise OutOfMemoryError(_at(stack, index, error)) from error
        except NeuroscopeError as error:
            raise NeuroscopeError(_at(stack, index, error)) from error
        else:
            so_far.add(plane, place, index)
        if partial is not None and number < total - 1 and so_far.first is not None:
            partial(so_far.explanation(ground_truth, done=number + 1, total=total))
    return so_far.explanation(ground_truth)


def grows(network: Network, image: Any, tiling: Tiling | None) -> bool:
    """Whether an image is no stack and explained tile by tile, so that its map can grow in a folder."""
    stack = image if isinstance(image, Stack) else Stack.of(image, network)
    return not stack.axes and (tiling is not None or by_tiles(network, stack.lazily))


def _at(stack: Stack, index: Sequence[int], error: Exception) -> str:
    return f"At {stack.named(index)}: {error}" if stack.axes else str(error)

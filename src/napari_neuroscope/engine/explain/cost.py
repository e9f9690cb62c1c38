"""How many passes a map takes, and about how long they take: told before they begin."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.methods.interface import Method, Workload
from napari_neuroscope.engine.networks.network import Network

# The first pass prepares things, so a second one is timed; but not where it is itself long.
_LONG_S = 5.0
# A batch is over so soon that the work can be watched and stopped, and fits the memory.
_BATCH_S, _BATCH_BYTES, _MOST = 0.5, 1 << 30, 64
# A way back takes about two ways forward.
_BACK = 2


@dataclass(frozen=True)
class Pace:
    """What is known of one pass of an image before anything is explained.

    Attributes
    ----------
    seconds
        How long it takes.
    shape
        The positions of the network's input.
    batch
        How many inputs at once are over soon, and fit the memory: a power of two.
    """

    seconds: float
    shape: tuple[int, ...]
    batch: int


def pace_of(network: Network, image: np.ndarray, first: float) -> Pace:
    """Return the pace of an image's passes, timing one.

    Parameters
    ----------
    network, image
        What is asked of what.
    first
        How long the first pass of the image took, in seconds.
    """
    x = network.prepare(image).input[None]
    seconds = first
    if first < _LONG_S:
        begun = time.perf_counter()
        # The copy waits for a device.
        network.forward(x).cpu()
        seconds = time.perf_counter() - begun
    most = min(
        _BATCH_S / seconds, _BATCH_BYTES / network.bytes_of_pass(x), network.most_at_once or _MOST
    )
    batch = 2 ** int(math.log2(min(max(most, 1), _MOST)))
    return Pace(seconds, tuple(x.shape[2:]), batch)


@dataclass(frozen=True)
class Cost:
    """What a map takes beside the one pass of the image.

    Attributes
    ----------
    forward, behind, backward
        How many passes forward, forward from the layer on, and backward.
    work
        The same in passes forward that take as long.
    """

    forward: int
    behind: int
    backward: int
    work: float

    @property
    def passes(self) -> int:
        """How many inputs go through the network, or through what is behind the layer."""
        return self.forward + self.behind


def cost_of(
    method: Method,
    options: Mapping[str, Any],
    graph: LayerGraph,
    shape: Sequence[int],
    *,
    steps: Sequence[float] = (),
    layers: Sequence[str] = (),
    targets: int = 1,
) -> Cost | None:
    """Return what an explanation takes, as the method declares.

    Parameters
    ----------
    method, options
        How is explained.
    graph
        The network's layers.
    shape
        The positions of the network's input.
    steps
        How far apart they are along each axis, the closest at 1; none: the same along all.
    layers
        Those that are asked about, where the method looks at one.
    targets
        How many targets: passes forward serve all.

    Returns
    -------
    Cost or None
        None where the method doesn't say, or what it depends on is not known.
    """
    if method.passes is None:
        return None
    try:
        checked = method.check_options(options)
        asked: Sequence[str | None] = layers or [None]
        numbers = [
            method.passes.numbers(
                Workload(checked, graph, layer, shape, steps or (1.0,) * len(shape))
            )
            for layer in asked
        ]
    except NeuroscopeError:
        return None
    forward = sum(number.forward for number in numbers)
    behind = sum(number.behind for number in numbers)
    backward = sum(number.backward for number in numbers) * targets
    work = float(forward + _BACK * backward)
    for layer, number in zip(layers, numbers, strict=False):
        work += number.behind * share_behind(graph, layer)
    return Cost(forward, behind, backward, work)


def share_behind(graph: LayerGraph, layer: str) -> float:
    """Return about what share of a network's work comes after a layer."""
    after: set[str] = set()
    waiting = [layer]
    while waiting:
        new = set(graph[waiting.pop()].outputs) - after
        after |= new
        waiting += new
    work = {
        name: math.prod(entry.output_shape[1:]) * (entry.output_shape[0] + entry.parameters)
        for name, entry in graph.items()
        if entry.kind != "block" and entry.output_shape
    }
    return sum(work[name] for name in after & set(work)) / max(sum(work.values()), 1)

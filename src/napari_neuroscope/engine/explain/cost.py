"""How many passes a map takes, and about how long they take: told before they begin."""

from __future__ import annotations

import ast
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.methods.options import lengths
from napari_neuroscope.engine.methods.registry import Method
from napari_neuroscope.engine.networks.network import Network

# The first pass prepares things, so a second one is timed; but not where it is itself long.
_LONG_S = 5.0
# A batch is over so soon that the work can be watched and stopped, and fits the memory.
_BATCH_S, _BATCH_BYTES, _MOST = 0.5, 1 << 30, 64
# A way back takes about two ways forward.
_BACK = 2

_KIND = re.compile(r"(Forward passes|Passes behind the layer|Backward passes): ([^.,;]+)[.,;]")


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
    """Return what an explanation takes, from the method's card.

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
        None where the card does not say it in numbers.
    """
    asked: Sequence[str | None] = layers or [None]
    steps = steps or (1.0,) * len(shape)
    found = [_of_layer(method, options, graph, shape, steps, layer) for layer in asked]
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return None
    forward, behind, backward = (sum(part) for part in zip(*known, strict=True))
    work = forward + _BACK * backward * targets
    for layer, (_, some, _) in zip(layers, known, strict=False):
        work += some * share_behind(graph, layer)
    return Cost(forward, behind, backward * targets, work)


def _of_layer(
    method: Method,
    options: Mapping[str, Any],
    graph: LayerGraph,
    shape: Sequence[int],
    steps: Sequence[float],
    layer: str | None,
) -> tuple[int, int, int] | None:
    """Return the passes forward, behind the layer and backward of one target and layer."""
    try:
        quantities = dict(method.check_options(options))
        if layer is not None and graph[layer].output_shape:
            quantities["channels"] = graph[layer].output_shape[0]
        if {"window", "stride"} <= set(quantities):
            sides, strides = (lengths(key, quantities[key], steps) for key in ("window", "stride"))
            quantities["windows"] = math.prod(
                math.ceil(max(size - side, 0) / stride) + 1
                for size, side, stride in zip(shape, sides, strides, strict=True)
            )
        said = {kind: _number(text, quantities) for kind, text in _KIND.findall(method.cost)}
        return (
            said["Forward passes"],
            said.get("Passes behind the layer", 0),
            said["Backward passes"],
        )
    except (KeyError, NeuroscopeError, SyntaxError, TypeError, ValueError):
        return None


def _number(text: str, quantities: Mapping[str, Any]) -> int:
    """Return the value of a sum or product of quantities, as a card writes it."""

    def value(node: ast.expr) -> int:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mult):
            left, right = value(node.left), value(node.right)
            return left + right if isinstance(node.op, ast.Add) else left * right
        found = quantities[node.id] if isinstance(node, ast.Name) else ast.literal_eval(node)
        if not isinstance(found, int):
            raise TypeError(f"“{text}” is no number of passes")
        return found

    written = text.replace("``", "").replace("·", "*")
    return value(ast.parse(written, mode="eval").body)


def share_behind(graph: LayerGraph, layer: str) -> float:
    """Return about what share of a network's work comes after a layer."""
    after: set[str] = set()
    waiting = [layer]
    while waiting:
        new = set(graph[waiting.pop()].outputs) - after
        after |= new
        waiting += new
    work = {
        name: math.prod(one.output_shape[1:]) * (one.output_shape[0] + one.parameters)
        for name, one in graph.items()
        if one.kind != "block" and one.output_shape
    }
    return sum(work[name] for name in after & set(work)) / max(sum(work.values()), 1)

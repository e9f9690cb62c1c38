"""The architecture of a network as a diagram: blocks folded or open, layers from top to bottom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import fast_sugiyama

from napari_neuroscope.engine.files.csv_table import write_csv
from napari_neuroscope.engine.graph.layer_graph import Kind, LayerGraph

INPUT, OUTPUT = "<input>", "<output>"
"""The names of the nodes of the network's input and output; no layer is called like that."""

WIDTH, HEIGHT = 230.0, 44.0
"""The size of a node."""

Point = tuple[float, float]
Direction = Literal["up", "down", "left", "right"]

_ROW, _COLUMN = HEIGHT + 34.0, WIDTH + 30.0
# How wide a line that passes a row is, as a part of a node.
_LINE = 0.25
_MARGIN, _TITLE = 10.0, 18.0
_SHOWN_AT_FIRST = 50


@dataclass(frozen=True)
class Node:
    """A layer, a folded block, the input or the output, and the centre of its place.

    Attributes
    ----------
    name
        The layer's, or `INPUT` or `OUTPUT`.
    kind
        What it does.
    x, y
        Where it lies; y grows downwards, along the network.
    """

    name: str
    kind: Kind | Literal["input", "output"]
    x: float
    y: float


@dataclass(frozen=True)
class Edge:
    """A line from a node's lower side to the upper side of one after it.

    Attributes
    ----------
    source, target
        The names of the nodes.
    points
        Its corners, ends included; a line that passes rows of nodes has one more for each.
    """

    source: str
    target: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Frame:
    """An open block: the rectangle about what is in it."""

    name: str
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Diagram:
    """What is shown of a network, and where.

    Attributes
    ----------
    nodes
        By name, in the order of execution, from the input to the output.
    edges
        The lines between them.
    frames
        The open blocks, the outer ones first.
    """

    nodes: dict[str, Node]
    edges: tuple[Edge, ...]
    frames: tuple[Frame, ...]
    _before: dict[str, list[str]] = field(init=False, repr=False, compare=False)
    _after: dict[str, list[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        before: dict[str, list[str]] = {name: [] for name in self.nodes}
        after: dict[str, list[str]] = {name: [] for name in self.nodes}
        for edge in self.edges:
            before[edge.target].append(edge.source)
            after[edge.source].append(edge.target)
        object.__setattr__(self, "_before", before)
        object.__setattr__(self, "_after", after)

    def step(self, name: str, direction: Direction) -> str:
        """Return the node one comes to from another along the edges, or itself.

        Up and down go to the nearest before and after; left and right to the other branches,
        which share a node before or after.
        """
        here = self.nodes[name]
        if direction in ("up", "down"):
            neighbours = (self._before if direction == "up" else self._after)[name]
            near = min(
                (self.nodes[neighbour] for neighbour in neighbours),
                key=lambda node: (abs(node.y - here.y), abs(node.x - here.x)),
                default=here,
            )
            return near.name
        beside = {n for before in self._before[name] for n in self._after[before]}
        beside |= {n for after in self._after[name] for n in self._before[after]}
        row = sorted((self.nodes[n] for n in beside | {name}), key=lambda n: (n.x, n.y))
        at = row.index(here) + (1 if direction == "right" else -1)
        return row[min(max(at, 0), len(row) - 1)].name


def around(graph: LayerGraph, name: str) -> Iterator[str]:
    """Go through the blocks that a layer is in, from the inmost outwards."""
    block = graph[name].block
    while block in graph:
        yield block
        block = graph[block].block


def holder(graph: LayerGraph, name: str, unfolded: Set[str]) -> str:
    """Return the node that shows a layer: itself, or the outermost folded block around it."""
    if name not in graph:
        return name
    for block in around(graph, name):
        if block not in unfolded:
            name = block
    return name


def opened(graph: LayerGraph, limit: int = _SHOWN_AT_FIRST) -> frozenset[str]:
    """Return the blocks that are open at first: whole levels, as long as few nodes are shown."""
    layers = [name for name in graph if graph[name].kind != "block"]
    levels: dict[int, set[str]] = defaultdict(set)
    for name in graph:
        if graph[name].kind == "block":
            levels[len(list(around(graph, name)))].add(name)
    unfolded: frozenset[str] = frozenset()
    for _, level in sorted(levels.items()):
        more = unfolded | level
        if len({holder(graph, name, more) for name in layers}) > limit:
            break
        unfolded = more
    return unfolded


def connections(graph: LayerGraph, unfolded: Set[str]) -> list[tuple[str, str]]:
    """Return the edges between the nodes that are shown, each once."""
    edges: dict[tuple[str, str], None] = {}
    for layer in graph.values():
        if layer.kind == "block":
            continue
        here = holder(graph, layer.name, unfolded)
        for before in layer.inputs or (INPUT,):
            there = holder(graph, before, unfolded)
            if there != here:
                edges[there, here] = None
        if not layer.outputs:
            edges[here, OUTPUT] = None
    return list(edges) or [(INPUT, OUTPUT)]


def lay_out(graph: LayerGraph, unfolded: Set[str]) -> Diagram:
    """Place the nodes in rows, each below all that it reads.

    Parameters
    ----------
    graph
        The layers.
    unfolded
        The blocks whose layers are shown; the others are one node each.
    """
    edges = connections(graph, unfolded)
    ends = {end for edge in edges for end in edge}
    shown = {holder(graph, n, unfolded): None for n in graph if graph[n].kind != "block"}
    names = [INPUT, *(name for name in shown if name in ends), OUTPUT]
    number = {name: i for i, name in enumerate(names)}
    layouts = fast_sugiyama.from_edges(
        [(number[a], number[b]) for a, b in edges],
        vertex_spacing=1,
        dummy_vertices=True,
        dummy_size=_LINE,
        check_layout=False,
    )
    places: dict[int, Point] = {}
    pieces: list[tuple[int, int]] = []
    for positions, _, height, between in layouts:
        places |= {int(n): (x * _COLUMN, (height - y) * _ROW) for n, (x, y) in positions}
        pieces += [(int(a), int(b)) for a, b in between or ()]
    end_kinds: dict[str, Literal["input", "output"]] = {INPUT: "input", OUTPUT: "output"}
    nodes = {
        name: Node(name, end_kinds.get(name) or graph[name].kind, *places[number[name]])
        for name in names
    }
    lines = _lines(pieces, len(names))
    return Diagram(
        nodes,
        tuple(
            Edge(
                a,
                b,
                (
                    (nodes[a].x, nodes[a].y + HEIGHT / 2),
                    *(places[n] for n in lines.get((number[a], number[b]), ())),
                    (nodes[b].x, nodes[b].y - HEIGHT / 2),
                ),
            )
            for a, b in edges
        ),
        _frames(graph, nodes, unfolded),
    )


def _lines(pieces: Iterable[tuple[int, int]], count: int) -> dict[tuple[int, int], list[int]]:
    """Return what lies on each edge between two of the first `count` vertices."""
    after: dict[int, list[int]] = defaultdict(list)
    for a, b in pieces:
        after[a].append(b)
    lines = {}
    for start in range(count):
        for there in after[start]:
            end, passed = there, []
            while end >= count:
                passed.append(end)
                (end,) = after[end]
            lines[start, end] = passed
    return lines


def _frames(graph: LayerGraph, nodes: dict[str, Node], unfolded: Set[str]) -> tuple[Frame, ...]:
    boxes: dict[str, list[Frame]] = defaultdict(list)
    for node in nodes.values():
        if node.name in graph:
            box = Frame(
                node.name,
                node.x - WIDTH / 2,
                node.y - HEIGHT / 2,
                node.x + WIDTH / 2,
                node.y + HEIGHT / 2,
            )
            boxes[graph[node.name].block].append(box)
    depth = {name: len(list(around(graph, name))) for name in unfolded if name in graph}
    frames: list[Frame] = []
    # From the inside, so that a block's frame has those of the blocks in it within.
    for name in sorted(depth, key=lambda name: (-depth[name], name)):
        inside = boxes[name]
        if not inside:
            continue
        frame = Frame(
            name,
            min(box.left for box in inside) - _MARGIN,
            min(box.top for box in inside) - _TITLE,
            max(box.right for box in inside) + _MARGIN,
            max(box.bottom for box in inside) + _MARGIN / 2,
        )
        boxes[graph[name].block].append(frame)
        frames.insert(0, frame)
    return tuple(frames)


def write_table(graph: LayerGraph, path: Path) -> None:
    """Write the layers as CSV, a line each; an existing file is replaced.

    Raises
    ------
    NeuroscopeError
        Where it can't be written.
    """
    header = ["name", "kind", "operation", "block", "output_shape", "parameters"]
    rows = (
        [
            layer.name,
            layer.kind,
            layer.operation,
            layer.block,
            "x".join(map(str, layer.output_shape)),
        ]
        + [layer.parameters, " ".join(layer.inputs), " ".join(layer.outputs), layer.description]
        for layer in graph.values()
    )
    write_csv(path, [[*header, "inputs", "outputs", "description"], *rows], overwrite=True)

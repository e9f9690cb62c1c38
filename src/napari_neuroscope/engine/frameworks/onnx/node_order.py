"""The order of an ONNX graph's nodes: each behind what it takes.

The format asks for it, but converters put their casts at the end, and ONNX Runtime sorts them.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush

import onnx


def inputs_of(node: onnx.NodeProto) -> Iterator[str]:
    """Yield what a node takes, also what the graphs inside of it take from outside."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            inside = {value.name for value in (*graph.input, *graph.initializer)}
            inside |= {name for inner in graph.node for name in inner.output}
            for inner in graph.node:
                yield from (name for name in inputs_of(inner) if name not in inside)


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Put the nodes of a graph in order, each as early as it stands; what goes in rings is left."""
    makers = {name: number for number, node in enumerate(graph.node) for name in node.output}
    before = [{makers[name] for name in inputs_of(node) if name in makers} for node in graph.node]
    if all(not makers_of or max(makers_of) < number for number, makers_of in enumerate(before)):
        return
    followers: list[list[int]] = [[] for _ in before]
    for number, makers_of in enumerate(before):
        for maker in makers_of:
            followers[maker].append(number)
    missing = [len(makers_of) for makers_of in before]
    ready = [number for number, count in enumerate(missing) if not count]
    order = []
    while ready:
        number = heappop(ready)
        order.append(number)
        for follower in followers[number]:
            missing[follower] -= 1
            if not missing[follower]:
                heappush(ready, follower)
    if len(order) == len(before):
        nodes = [graph.node[number] for number in order]
        # Copies: the nodes themselves end with the list that they are taken from.
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)

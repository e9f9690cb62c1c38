"""Graphs of layers as they are written by hand, to be compared with those that are found."""

from __future__ import annotations

from inspect import cleandoc

from napari_neuroscope.engine.graph.layer_graph import LayerGraph


def assert_graph(graph: LayerGraph, written: str) -> None:
    """Compare all nodes, their order, their blocks and all edges, from both of their ends.

    A line of `written` is a layer, in the order of execution: ``name < what it reads``. What is in
    a block is indented, and the block itself, which ends there, is a line ``name >``.
    """
    names: list[str] = []
    edges: set[tuple[str, str]] = set()
    blocks: dict[str, str] = {}
    inside: list[tuple[int, str]] = []
    for line in cleandoc(written).splitlines():
        depth = len(line) - len(line.lstrip())
        name, sign, before = line.partition(" >" if line.endswith(" >") else " <")
        assert sign, f"what does “{line}” say?"
        name = name.strip()
        names.append(name)
        if sign == " >":
            # It is written after all that is in it.
            for other in [other for at, other in inside if at > depth]:
                blocks.setdefault(other, name)
            inside = [(at, other) for at, other in inside if at <= depth]
        else:
            edges.update((source, name) for source in before.split())
        inside.append((depth, name))
    assert list(graph) == names
    layers = [layer for layer in graph.values() if layer.kind != "block"]
    assert {(a, layer.name) for layer in layers for a in layer.inputs} == edges
    assert {(layer.name, b) for layer in layers for b in layer.outputs} == edges
    assert {name: layer.block for name, layer in graph.items()} == {
        name: blocks.get(name, "") for name in names
    }
    assert {name for name, layer in graph.items() if layer.kind == "block"} == set(blocks.values())

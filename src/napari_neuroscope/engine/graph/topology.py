"""How layers follow each other: what a layer takes, and all that it comes from."""

from __future__ import annotations

from napari_neuroscope.engine.graph.layer_graph import LayerGraph, derived_once


@derived_once
def block_output(graph: LayerGraph, name: str) -> str:
    """Return the layer whose output a block's is; of a layer, itself."""
    if graph[name].kind != "block":
        return name
    names = list(graph)
    for inner in reversed(names[: names.index(name)]):
        if graph[inner].kind != "block":
            if inner.startswith(f"{name}.") or graph[inner].block == name:
                return inner
            break
    return name


@derived_once
def lineage(graph: LayerGraph, layer: str) -> tuple[str, ...]:
    """Return a layer and all that it comes from, the last of the network first."""
    wanted = {block_output(graph, layer)}
    names: list[str] = []
    for name in reversed(list(graph)):
        if name in wanted:
            names.append(name)
            wanted.update(graph[name].inputs)
    return tuple(names)


@derived_once
def sources(graph: LayerGraph, name: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return what a layer takes, with its positions; "" is the network's input."""
    taken = [(source, unit_counts(graph, source)) for source in graph[name].inputs]
    if graph[name].takes_input or not taken:
        taken.append(("", graph.input_shape))
    return tuple(taken)


def unit_counts(graph: LayerGraph, name: str) -> tuple[int, ...]:
    """Return how many units a layer has along each axis."""
    # What has no positions is one unit that stands for all of them.
    return graph.grid(name) or (1,) * graph.space

"""Layers that are looked for by a part of their name or operation."""

from __future__ import annotations

from napari_neuroscope.engine.graph.layer_graph import Layer, LayerGraph
from napari_neuroscope.widgets.architecture.search import LayerSearch

GRAPH = LayerGraph(
    [
        Layer("block.conv1", "convolution", (4, 8, 8), 10, (), ("pool",), "Conv2d", ""),
        Layer("pool", "pooling", (4, 4, 4), 0, ("block.conv1",), ("conv2",), "MaxPool2d", ""),
        Layer("conv2", "convolution", (4, 4, 4), 10, ("pool",), (), "Conv2d", ""),
    ],
    2,
)


def test_matches_are_gone_through_one_by_one() -> None:
    search = LayerSearch()
    assert search.current is None
    assert search.look_for(" CONV ", GRAPH)
    assert search.current == "block.conv1"
    assert search.in_words("block") == "1 of 2: block.conv1, inside block: Enter opens it"
    search.go_on()
    assert search.in_words("conv2") == "2 of 2: conv2"
    search.go_on()
    assert search.current == "block.conv1"


def test_operations_match_and_nothing_is_said_so() -> None:
    search = LayerSearch()
    assert search.look_for("maxpool", GRAPH)
    assert search.current == "pool"
    assert search.look_for("lstm", GRAPH)
    assert search.in_words("") == "No layer is called like that."
    assert not search.look_for("  ", GRAPH)
    assert not search.look_for("pool", None)
    assert search.current is None

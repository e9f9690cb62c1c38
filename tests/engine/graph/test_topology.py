"""How layers follow each other: what a layer takes, and all that it comes from."""

from __future__ import annotations

from graphs import layer_by_hand, skipping_graph
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.graph.topology import block_output, lineage, sources, unit_counts


def test_a_layer_comes_from_all_branches_before_it() -> None:
    graph = skipping_graph()
    assert lineage(graph, "add") == ("add", "up", "middle", "pool", "down.conv")
    assert lineage(graph, "pool") == ("pool", "down.conv")


def test_a_block_answers_what_its_last_layer_does() -> None:
    graph = skipping_graph()
    assert block_output(graph, "down") == "down.conv"
    assert block_output(graph, "pool") == "pool"
    assert lineage(graph, "down") == ("down.conv",)


def test_what_a_layer_takes_has_its_positions() -> None:
    graph = skipping_graph()
    assert sources(graph, "add") == (("up", (16, 16)), ("down.conv", (16, 16)))
    assert sources(graph, "middle") == (("pool", (8, 8)),)
    assert sources(graph, "down.conv") == (("", (16, 16)),)


def test_what_has_no_positions_is_one_unit() -> None:
    pooled = layer_by_hand("pooled", "everywhere", ())
    assert unit_counts(LayerGraph([pooled], space=2), "pooled") == (1, 1)


def test_an_input_of_another_size_is_taken_anew() -> None:
    graph = skipping_graph()
    assert sources(graph, "down.conv") == (("", (16, 16)),)
    graph.input_shape = (32, 32)
    assert sources(graph, "down.conv") == (("", (32, 32)),)

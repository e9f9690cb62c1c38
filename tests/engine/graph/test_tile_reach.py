"""Networks that can be run tile by tile: their strides, how far they see, and what can't be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import napari_neuroscope as ns
from graphs import graph_by_hand, layer_by_hand, skipping_graph, window
from napari_neuroscope.engine.graph.reach import ResampledReach
from napari_neuroscope.engine.graph.tile_reach import beyond, strides


def test_strides_are_those_of_the_way_to_a_layer() -> None:
    along = {name: stride[0] for name, stride in strides(skipping_graph()).items()}
    assert along == {
        "": 1, "down.conv": 1, "down": 1, "pool": 2, "middle": 2, "up": 1, "add": 1,
    }  # fmt: skip


def test_a_block_of_pixels_sees_as_far_as_its_widest_branch() -> None:
    graph = skipping_graph()
    assert beyond(graph, "add", [4, 4]) == ((3, 3), (3, 3))
    assert beyond(graph, "add", [4, 4], of="down.conv") == ((2, 2), (2, 2))
    # A layer that comes after sees nothing of it.
    assert beyond(graph, "pool", [4, 4], of="up") == ((0, 0), (0, 0))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"reach": "everywhere"}, "sees the whole image"),
        ({"reach": None}, "in a way that is not known"),
        ({"moved": True}, "in a way that is not known"),
        ({"reach": ResampledReach("area")}, "fits its output to the size"),
        ({"reach": ResampledReach("linear", align_corners=True)}, "fits its output to the size"),
        ({"reach": ResampledReach("nearest"), "output_shape": (4, 5, 5)}, "by no whole number"),
    ],
)
def test_what_answers_a_part_otherwise_is_refused(changes: dict[str, Any], says: str) -> None:
    graph = skipping_graph()
    layers = [
        replace(layer, **changes) if layer.name == "middle" else layer for layer in graph.values()
    ]
    with pytest.raises(ns.NeuroscopeError, match=says):
        strides(graph_by_hand(layers, (16, 16)))


def test_branches_of_several_strides_are_refused() -> None:
    graph = graph_by_hand(
        [
            layer_by_hand("fine", window(1), (8, 8)),
            layer_by_hand("coarse", window(1, 2), (4, 4), ["fine"]),
            layer_by_hand("sum", "pointwise", (4, 4), ["fine", "coarse"]),
        ],
        (8, 8),
    )
    with pytest.raises(ns.NeuroscopeError, match="joins units of different sizes"):
        strides(graph)


def test_what_is_known_to_lie_where_it_was_cut_is_allowed() -> None:
    graph = skipping_graph()
    layers = [replace(layer, moved=layer.name == "middle") for layer in graph.values()]
    assert "middle" in strides(graph_by_hand(layers, (16, 16)), ["middle"])

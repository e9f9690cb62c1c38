"""Choosing layers of a graph by name, pattern and list."""

from __future__ import annotations

from typing import Any

import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.graph.layer_graph import Layer, LayerGraph


def layer(name: str, kind: Any = "convolution", shape: tuple[int, ...] = (4, 8, 8)) -> Layer:
    return Layer(name, kind, shape, 0, (), (), "Conv2d", name.rpartition(".")[0])


GRAPH = LayerGraph(
    [
        layer("enc1.conv1"),
        layer("enc1.relu1", "activation"),
        layer("enc1", "block"),
        layer("enc2.block.conv1"),
        layer("enc2.block", "block"),
        layer("enc2", "block"),
        layer("relu", "activation"),
        layer("relu:2", "activation"),
        layer("pool", "pooling", (4, 1, 1)),
        layer("head", "dense", (10,)),
        layer("tokens", "other", (17, 4)),
    ],
    space=2,
)


def test_the_graph_is_an_ordered_mapping() -> None:
    assert next(iter(GRAPH)) == "enc1.conv1"
    assert len(GRAPH) == 11
    assert GRAPH["head"].output_shape == (10,)
    assert "head" in GRAPH
    assert "tail" not in GRAPH


@pytest.mark.parametrize(
    ("which", "names"),
    [
        ("enc1.conv1", ["enc1.conv1"]),
        ("enc1", ["enc1"]),
        ("enc*", ["enc1", "enc2"]),
        ("enc?", ["enc1", "enc2"]),
        ("enc*.*", ["enc1.conv1", "enc1.relu1", "enc2.block"]),
        ("enc2.**", ["enc2.block.conv1", "enc2.block"]),
        ("**", list(GRAPH)[:8]),
        ("**.conv1", ["enc1.conv1", "enc2.block.conv1"]),
        ("relu*", ["relu", "relu:2"]),
        (["relu:2", "enc1.conv1"], ["enc1.conv1", "relu:2"]),
        (["relu", "relu", "rel*"], ["relu", "relu:2"]),
        ("all", ["enc1.conv1", "enc1.relu1", "enc2.block.conv1", "relu", "relu:2"]),
        (
            ("all", "enc1"),
            ["enc1.conv1", "enc1.relu1", "enc1", "enc2.block.conv1", "relu", "relu:2"],
        ),
    ],
)
def test_names_patterns_and_lists(which: Any, names: list[str]) -> None:
    assert GRAPH.select(which) == names


def test_the_inside_alone_of_what_a_pattern_fits() -> None:
    """`enc*` is enc1 and enc2, and `enc*.**` what is inside of them."""
    inside = ["enc1.conv1", "enc1.relu1", "enc2.block.conv1", "enc2.block"]
    assert GRAPH.select("enc*.**") == inside


def test_layers_without_positions_count_where_none_are_needed() -> None:
    assert GRAPH.select("head", positions=False) == ["head"]
    assert "head" in GRAPH.select("all", positions=False)
    assert "head" not in GRAPH.select("all")


@pytest.mark.parametrize(
    ("which", "says"),
    [
        ("enc1.conv2", "“enc1.conv1”"),
        ("relu:3", "“relu:2”"),
        ("ENC1", "“enc1”"),
        ("zzz*", "No layer fits “zzz*”"),
        ("hea*", "none of them has positions"),
        ("head", "has no positions: its output is (10,)"),
        ("head", "such as “relu:2”"),
        ("pool", "has no positions"),
        ("tokens", "has no positions"),
        ([], 'layer="all"'),
        (["enc1", "heda"], "“head”"),
    ],
)
def test_what_does_not_fit_is_said(which: Any, says: str) -> None:
    with pytest.raises(ns.NeuroscopeError) as refusal:
        GRAPH.select(which)
    assert says in str(refusal.value)
    assert "None" not in str(refusal.value)


def test_a_network_without_layers_says_so() -> None:
    for which in ("conv", "all", "conv*"):
        with pytest.raises(ns.NeuroscopeError, match="has no layers"):
            LayerGraph([], 2).select(which)


def test_a_network_without_positions_offers_none() -> None:
    graph = LayerGraph([layer("head", "dense", (10,))], 2)
    with pytest.raises(ns.NeuroscopeError) as refusal:
        graph.select("head")
    assert "None" not in str(refusal.value)


def test_a_name_of_any_length_makes_a_short_sentence() -> None:
    for which in ("x" * 20_000, "x*" * 10_000):
        with pytest.raises(ns.NeuroscopeError) as refusal:
            GRAPH.select(which)
        assert len(str(refusal.value)) < 500


def test_a_pattern_cannot_stall() -> None:
    deep = LayerGraph([layer(".".join(["a"] * 25))], 2)
    with pytest.raises(ns.NeuroscopeError):
        deep.select(".".join(["**", "a"] * 12 + ["b"]))


def test_kinds_in_order() -> None:
    assert GRAPH.of_kind("activation", "dense") == ["enc1.relu1", "relu", "relu:2", "head"]


def test_the_last_layer_with_positions_is_no_block() -> None:
    assert GRAPH.last_with_positions() == "relu:2"
    assert LayerGraph([layer("head", "dense", (10,))], 2).last_with_positions() is None

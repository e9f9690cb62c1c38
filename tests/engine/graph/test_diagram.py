"""The diagram of a network: its nodes and edges, blocks folded and open, and where all lies."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from torch import Tensor, nn

import napari_neuroscope as ns
from napari_neuroscope.engine.graph.diagram import (
    HEIGHT,
    INPUT,
    OUTPUT,
    WIDTH,
    Diagram,
    connections,
    holder,
    lay_out,
    opened,
    write_table,
)
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from networks import ResNet, UNet, Vgg, as_network, settled


class Again(nn.Module):
    """A block that is used twice, and layers in a list, which is no block."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())
        self.more = nn.ModuleList([nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        x = self.body(x) + x
        for layer in self.more:
            x = layer(x)
        return x


def graph_of(model: nn.Module, task: str = "segmentation") -> LayerGraph:
    return as_network(settled(model), task, size=(16, 16)).layers


def blocks(graph: LayerGraph) -> frozenset[str]:
    return frozenset(graph.of_kind("block"))


NETWORKS = {
    "vgg": lambda: graph_of(Vgg(), "classification"),
    "resnet": lambda: graph_of(ResNet(), "classification"),
    "unet": lambda: graph_of(UNet()),
    "again": lambda: graph_of(Again()),
}


@pytest.fixture(params=NETWORKS)
def graph(request) -> LayerGraph:
    return NETWORKS[request.param]()


def reached(edges: list[tuple[str, str]]) -> dict[str, set[str]]:
    after: dict[str, set[str]] = {}
    for a, b in edges:
        after.setdefault(a, set()).add(b)

    def below(name: str, seen: set[str]) -> set[str]:
        for other in after.get(name, ()):
            if other not in seen:
                seen.add(other)
                below(other, seen)
        return seen

    return {name: below(name, set()) for name in {end for edge in edges for end in edge}}


def test_the_open_diagram_is_the_layer_graph(graph: LayerGraph) -> None:
    diagram = lay_out(graph, blocks(graph))
    leaves = [name for name in graph if graph[name].kind != "block"]
    assert list(diagram.nodes) == [INPUT, *leaves, OUTPUT]
    inner = {(e.source, e.target) for e in diagram.edges if e.source != INPUT if e.target != OUTPUT}
    assert inner == {(a, b) for b in leaves for a in graph[b].inputs}
    assert {e.target for e in diagram.edges if e.source == INPUT} == {leaves[0]}
    assert {e.source for e in diagram.edges if e.target == OUTPUT} == {leaves[-1]}


def test_a_folded_u_net_keeps_its_skips() -> None:
    graph = graph_of(UNet())
    assert set(connections(graph, frozenset())) == {
        (INPUT, "enc1"),
        ("enc1", "max_pool2d"),
        ("max_pool2d", "enc2"),
        ("enc2", "max_pool2d_2"),
        ("max_pool2d_2", "bottom"),
        ("bottom", "up2"),
        ("up2", "cat"),
        ("enc2", "cat"),
        ("cat", "dec2"),
        ("dec2", "interpolate"),
        ("interpolate", "cat_2"),
        ("enc1", "cat_2"),
        ("cat_2", "dec1"),
        ("dec1", "head"),
        ("head", OUTPUT),
    }


def test_a_block_that_is_used_twice_is_two_nodes() -> None:
    assert connections(graph_of(Again()), frozenset()) == [
        (INPUT, "body"),
        ("body", "body:2"),
        ("body:2", "add"),
        ("body", "add"),
        ("add", "more.0"),
        ("more.0", "more.1"),
        ("more.1", OUTPUT),
    ]


def test_blocks_open_at_any_depth() -> None:
    graph = graph_of(ResNet(), "classification")
    assert holder(graph, "layer1.0.conv1", frozenset()) == "layer1"
    assert holder(graph, "layer1.0.conv1", {"layer1"}) == "layer1.0"
    assert holder(graph, "layer1.0.conv1", {"layer1", "layer1.0"}) == "layer1.0.conv1"
    # What is in a folded block stays folded away, open or not.
    assert holder(graph, "layer1.0.conv1", {"layer1.0"}) == "layer1"
    diagram = lay_out(graph, {"layer1", "layer1.0"})
    assert {"layer1.0.conv1", "layer1.1", "layer2"} <= set(diagram.nodes)
    assert [frame.name for frame in diagram.frames] == ["layer1", "layer1.0"]
    outer, inner = diagram.frames
    assert outer.left < inner.left < inner.right < outer.right
    assert outer.top < inner.top < inner.bottom < outer.bottom


def test_folding_keeps_what_reaches_what(graph: LayerGraph) -> None:
    whole = reached(connections(graph, blocks(graph)))
    for unfolded in (frozenset(), opened(graph, 12), *({name} for name in blocks(graph))):
        folded = reached(connections(graph, unfolded))
        for a, below in whole.items():
            for b in below:
                here, there = holder(graph, a, unfolded), holder(graph, b, unfolded)
                assert here == there or there in folded[here]
        assert not [name for name, below in folded.items() if name in below]


def test_layers_lie_below_what_they_read_and_none_on_another(graph: LayerGraph) -> None:
    for unfolded in (frozenset(), blocks(graph)):
        diagram = lay_out(graph, unfolded)
        places = diagram.nodes
        for edge in diagram.edges:
            heights = [y for _, y in edge.points]
            assert heights == sorted(set(heights))
            assert edge.points[0] == (places[edge.source].x, places[edge.source].y + HEIGHT / 2)
            assert edge.points[-1] == (places[edge.target].x, places[edge.target].y - HEIGHT / 2)
        nodes = list(places.values())
        for i, a in enumerate(nodes):
            for b in nodes[:i]:
                assert abs(a.x - b.x) >= WIDTH or abs(a.y - b.y) >= HEIGHT
        assert min(nodes, key=lambda node: node.y).name == INPUT
        assert max(nodes, key=lambda node: node.y).name == OUTPUT


def test_a_skip_passes_beside_the_layers_that_it_skips() -> None:
    diagram = lay_out(graph_of(UNet()), frozenset())
    (skip,) = [e for e in diagram.edges if (e.source, e.target) == ("enc1", "cat_2")]
    passed = [
        node for node in diagram.nodes.values() if skip.points[0][1] < node.y < skip.points[-1][1]
    ]
    assert len(passed) >= 7
    assert len(skip.points) == 2 + len({node.y for node in passed})
    for x, y in skip.points[1:-1]:
        assert all(abs(node.x - x) > WIDTH / 2 for node in passed if node.y == y)


def test_few_nodes_are_shown_at_first() -> None:
    graph = ns.load("demo:nuclei").layers
    assert opened(graph) == frozenset()
    assert opened(graph, 60) == blocks(graph)
    graph = graph_of(ResNet(), "classification")
    assert opened(graph, 8) == frozenset()
    assert opened(graph, 12) == {"layer1", "layer2"}
    assert opened(graph) == blocks(graph)


def test_the_same_network_is_drawn_the_same_in_every_run() -> None:
    program = (
        "import napari_neuroscope as ns\n"
        "from napari_neuroscope.engine.graph.diagram import lay_out\n"
        "graph = ns.load('demo:nuclei').layers\n"
        "print(lay_out(graph, {'enc1', 'dec2'}))"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(answers) == 1
    assert "enc1.conv1" in answers.pop()


def test_steps_follow_the_edges() -> None:
    diagram: Diagram = lay_out(graph_of(UNet()), frozenset())
    assert diagram.step(INPUT, "down") == "enc1"
    assert diagram.step(INPUT, "up") == INPUT
    assert diagram.step("enc1", "down") == "max_pool2d"
    assert diagram.step("cat_2", "up") == "interpolate"
    sides = {diagram.step("max_pool2d", side) for side in ("left", "right")}
    # The other branch from enc1 is the skip, and another way into cat_2 begins there.
    assert "cat_2" in sides


def test_a_network_that_is_one_piece_has_an_input_and_an_output() -> None:
    diagram = lay_out(LayerGraph([], 2), frozenset())
    assert list(diagram.nodes) == [INPUT, OUTPUT]
    assert [(e.source, e.target) for e in diagram.edges] == [(INPUT, OUTPUT)]


def test_the_table_has_all_layers(tmp_path: Path) -> None:
    graph = graph_of(UNet())
    write_table(graph, tmp_path / "layers.csv")
    with (tmp_path / "layers.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == list(graph)
    (cat,) = [row for row in rows if row["name"] == "cat"]
    assert cat["inputs"] == "up2 enc2.4"
    assert cat["output_shape"] == "16x8x8"
    assert sum(int(row["parameters"]) for row in rows if row["kind"] != "block") == sum(
        p.numel() for p in UNet().parameters()
    )
    with pytest.raises(ns.NeuroscopeError, match="can't be written"):
        write_table(graph, tmp_path / "nowhere" / "layers.csv")

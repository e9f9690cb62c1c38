"""The dock “Architecture”: folded, searched, walked, chosen from, saved, closed."""

from __future__ import annotations

import csv
import threading
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QImage
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.graph.diagram import INPUT, OUTPUT
from napari_neuroscope.session.network_summary import NetworkSummary
from napari_neuroscope.viewer.layers.thumbnails import layer_maps
from napari_neuroscope.widgets.architecture.dock import Architecture

LEFT = Qt.MouseButton.LeftButton
NO_KEY = Qt.KeyboardModifier.NoModifier
CTRL = Qt.KeyboardModifier.ControlModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def dock(opened, open_dock, qtbot) -> Architecture:
    """The dock beside the inspector, with the U-Net of the demo."""
    inspector, made = opened(), open_dock("Architecture")
    made.inspector = inspector
    settled(made, qtbot)
    made.resize(700, 900)
    return made


def settled(dock: Architecture, qtbot) -> None:
    qtbot.waitUntil(lambda: not dock.jobs.busy, timeout=30_000)


def place(dock: Architecture, name: str, dx: float = 0.0) -> QPoint:
    """Bring a node or frame into sight, and return where it is in the window."""
    dock.view.go_to(name)
    item = dock.scene.item_of(name)
    box = item.sceneBoundingRect()
    at = item.pos() if name in dock.scene.nodes else box.topLeft() + QPointF(20, 10)
    at.setX(at.x() + dx)
    return dock.view.mapFromScene(at)


def click(dock: Architecture, name: str, key: Qt.KeyboardModifier = NO_KEY) -> None:
    QTest.mouseClick(dock.view.viewport(), LEFT, key, place(dock, name))


def key(dock: Architecture, pressed: Qt.Key, held: Qt.KeyboardModifier = NO_KEY) -> None:
    QTest.keyClick(dock.view, pressed, held)


def test_the_network_is_shown_folded_and_its_layers_chosen(dock: Architecture) -> None:
    nodes = list(dock.scene.nodes)
    assert nodes[:4] == [INPUT, "enc1", "pool1", "enc2"]
    assert nodes[-1] == OUTPUT
    assert "enc1.conv1" not in nodes
    # The inspector chose the last layer before the head that gives the scores.
    assert dock.session.layers == ("dec1.relu2",)
    assert dock.scene.marks.chosen == {"dec1.relu2"}
    assert "52 layers, 1 chosen" in dock.message.text()


def test_the_inspector_opens_it(opened, viewer, qtbot) -> None:
    inspector = opened()
    inspector.form.layers.graph_button.click()
    made = viewer.window.dock_widgets["Architecture (napari-neuroscope)"]
    made = getattr(made, "__wrapped__", made)
    qtbot.waitUntil(lambda: "enc1" in made.scene.nodes, timeout=30_000)
    assert made.session is inspector.session
    made.close_work()


def test_without_a_network_it_says_what_to_do(open_dock, qtbot, tmp_path: Path) -> None:
    made = open_dock("Architecture")
    assert "Choose a network" in made.message.text()
    assert not made.toolbar.save.isEnabled()
    with pytest.raises(ns.NeuroscopeError, match="no network to save"):
        made.save(tmp_path / "graph.svg")
    QTest.keyClick(made.view, Qt.Key.Key_Down)
    assert made.session.layers == ()
    # Of a function nothing can be seen but its scores.
    network = ns.wrap(lambda images: images[:, :2], {"task": "segmentation", "classes": ["a", "b"]})
    made.session.network = network
    made.session.network_summary = NetworkSummary(network, None, ())
    settled(made, qtbot)
    assert list(made.scene.nodes) == [INPUT, OUTPUT]
    assert "it is one piece" in made.message.text()


def test_what_is_chosen_is_one_and_the_same_in_both_docks(dock: Architecture) -> None:
    changes: list[tuple[str, ...]] = []
    dock.session.events.layers.connect(changes.append)
    click(dock, "enc2")
    assert dock.session.layers == ("enc2",)
    assert dock.inspector.form.layers.chosen() == ("enc2",)
    click(dock, "dec1", CTRL)
    click(dock, "enc1", SHIFT)
    assert dock.session.layers == ("enc1", "enc2", "dec1")
    assert dock.inspector.form.layers.chosen() == ("enc1", "enc2", "dec1")
    click(dock, "enc2", CTRL)
    assert dock.session.layers == ("enc1", "dec1")
    dock.inspector.choose_layers(["up1", "enc3.conv1"])
    assert dock.scene.marks.chosen == {"up1", "enc3.conv1"}
    assert dock.scene.marks.holding == {"enc3"}
    # One change each: nothing goes round in circles.
    assert len(changes) == 5


def test_a_map_is_made_of_what_was_chosen_in_the_graph(
    dock: Architecture, viewer, explained
) -> None:
    click(dock, "enc3")
    click(dock, "dec2", CTRL)
    explained(dock.inspector)
    assert viewer.layers[-1].name == "nucleus · Grad-CAM · 2 layers"
    assert set(dock.scene.pictures) == {"enc3", "dec2"}
    dock.toolbar.maps.setChecked(False)
    assert dock.scene.pictures == {}
    dock.toolbar.maps.setChecked(True)
    dock.inspector.form.networks.box.setCurrentIndex(0)
    assert dock.scene.pictures == {}
    assert not dock.toolbar.maps.isEnabled()


def test_shift_and_dragging_chooses_several(dock: Architecture) -> None:
    dock.session.layers = ()
    dock.view.fit()
    box = dock.scene.nodes["pool1"].sceneBoundingRect()
    box = box.united(dock.scene.nodes["enc2"].sceneBoundingRect())
    # Grown by less than a half of the way to the next row.
    start = dock.view.mapFromScene(box.topLeft() + QPointF(-2, 6))
    end = dock.view.mapFromScene(box.bottomRight() + QPointF(2, -6))
    inside = dock.view.viewport()
    QTest.mousePress(inside, LEFT, SHIFT, start)
    QTest.mouseMove(inside, (start + end) / 2)
    QTest.mouseMove(inside, end)
    QTest.mouseRelease(inside, LEFT, SHIFT, end)
    assert dock.session.layers == ("pool1", "enc2")


def test_dragging_moves_the_view_and_chooses_nothing(dock: Architecture) -> None:
    start = place(dock, "dec3")
    before = dock.view.mapToScene(start)
    inside = dock.view.viewport()
    QTest.mousePress(inside, LEFT, NO_KEY, start)
    QTest.mouseMove(inside, start + QPoint(0, 30))
    QTest.mouseMove(inside, start + QPoint(0, 80))
    QTest.mouseRelease(inside, LEFT, NO_KEY, start + QPoint(0, 80))
    assert dock.session.layers == ("dec1.relu2",)
    assert dock.view.mapToScene(start).y() < before.y() - 40


def test_blocks_open_and_fold(dock: Architecture, qtbot) -> None:
    at = place(dock, "enc2")
    QTest.mouseDClick(dock.view.viewport(), LEFT, NO_KEY, at)
    settled(dock, qtbot)
    assert "enc2.conv1" in dock.scene.nodes
    assert "enc2" not in dock.scene.nodes
    assert "enc1" in dock.scene.nodes
    assert list(dock.scene.frames) == ["enc2"]
    # The frame is chosen like a node, and its − folds it.
    click(dock, "enc2")
    assert dock.session.layers == ("enc2",)
    box = dock.scene.frames["enc2"].sceneBoundingRect()
    dock.view.centerOn(box.topRight())
    sign = dock.view.mapFromScene(box.topRight() + QPointF(-12, 10))
    QTest.mouseClick(dock.view.viewport(), LEFT, NO_KEY, sign)
    settled(dock, qtbot)
    assert "enc2" in dock.scene.nodes
    assert not dock.scene.frames
    # So does the + of a node open it, and neither chooses anything.
    sign = place(dock, "enc3", 115 - 15)
    QTest.mouseClick(dock.view.viewport(), LEFT, NO_KEY, sign - QPoint(0, 5))
    settled(dock, qtbot)
    assert "enc3.conv1" in dock.scene.nodes
    assert dock.session.layers == ("enc2",)
    dock.toolbar.open_all.click()
    settled(dock, qtbot)
    assert len(dock.scene.nodes) == 52 + 2
    dock.toolbar.fold_all.click()
    settled(dock, qtbot)
    assert len(dock.scene.nodes) == 17 + 2


def test_the_keyboard_walks_along_the_edges(dock: Architecture, qtbot) -> None:
    click(dock, "enc1")
    key(dock, Qt.Key.Key_Down)
    assert dock.session.layers == ("pool1",)
    key(dock, Qt.Key.Key_Down)
    assert dock.session.layers == ("enc2",)
    key(dock, Qt.Key.Key_Down, SHIFT)
    assert dock.session.layers == ("enc2", "pool2")
    key(dock, Qt.Key.Key_Up)
    assert dock.session.layers == ("enc2",)
    key(dock, Qt.Key.Key_Return)
    settled(dock, qtbot)
    assert "enc2.relu2" in dock.scene.nodes
    # The input is come to, and can't be chosen.
    click(dock, "enc1")
    key(dock, Qt.Key.Key_Up)
    assert dock.scene.marks.current == INPUT
    assert dock.session.layers == ("enc1",)


def test_search_goes_from_layer_to_layer(dock: Architecture, qtbot) -> None:
    dock.toolbar.search.setText("pool")
    assert dock.scene.marks.current == "pool1"
    assert dock.message.text() == "1 of 3: pool1"
    QTest.keyClick(dock.toolbar.search, Qt.Key.Key_Return)
    assert dock.scene.marks.current == "pool2"
    seen = dock.view.mapToScene(dock.view.viewport().rect()).boundingRect()
    assert seen.contains(dock.scene.nodes["pool2"].sceneBoundingRect())
    # What is in a folded block is shown by Enter.
    dock.toolbar.search.setText("dec2.norm2")
    assert dock.scene.marks.current == "dec2"
    QTest.keyClick(dock.toolbar.search, Qt.Key.Key_Return)
    settled(dock, qtbot)
    assert dock.scene.marks.current == "dec2.norm2"
    assert "dec2.norm2" in dock.scene.nodes
    dock.toolbar.search.setText("BATCHnorm")
    assert dock.message.text().startswith("1 of 14: enc1.norm1")
    dock.toolbar.search.setText("nothing like it")
    assert "No layer" in dock.message.text()
    assert dock.session.layers == ("dec1.relu2",)


class Pooled(nn.Module):
    """One layer with a map, one without positions, and one without a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.cut = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(1, 2, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.conv(x)
        with torch.no_grad():
            added = self.cut(x)
        return maps + self.pool(maps) + added


def test_what_the_method_cannot_use_is_dimmed_with_the_reason(dock: Architecture, qtbot) -> None:
    spec = {"task": "segmentation", "classes": ["a", "b"], "input": {"axes": "bcyx"}}
    dock.inspector.add_network(ns.wrap(Pooled(), spec, device="cpu"))
    qtbot.waitUntil(lambda: "cut" in dock.scene.nodes, timeout=30_000)
    nodes = dock.scene.nodes
    assert nodes["conv"].opacity() == 1
    assert nodes["pool"].opacity() < 0.5
    assert "no positions" in nodes["pool"].toolTip()
    assert nodes["cut"].opacity() < 0.5
    assert "without a gradient" in nodes["cut"].toolTip()
    click(dock, "conv")
    click(dock, "pool")
    assert dock.session.layers == ("conv",)
    assert "“pool” can't be chosen. It has no positions" in dock.message.text()
    # Activations need no gradient, and saliency no layer.
    dock.inspector.choose_method("activation")
    assert nodes["cut"].opacity() == 1
    dock.inspector.choose_method("saliency")
    assert nodes["pool"].opacity() == 1
    assert "looks at no layer" in dock.message.text()


def test_the_legend_dims_kinds(dock: Architecture) -> None:
    assert list(dock.legend.entries) == [
        "convolution", "transposed convolution", "pooling", "normalisation", "activation",
        "concatenate", "block",
    ]  # fmt: skip
    dock.legend.entries["pooling"].click()
    assert dock.scene.nodes["pool1"].opacity() < 0.5
    assert dock.scene.nodes["enc1"].opacity() == 1
    dock.legend.entries["pooling"].click()
    assert dock.scene.nodes["pool1"].opacity() == 1


def test_the_tooltip_has_the_configuration(dock: Architecture, qtbot) -> None:
    assert "kernel_size=2, stride=2" in dock.scene.nodes["pool1"].toolTip()
    assert "2,800 parameters" in dock.scene.nodes["enc1"].toolTip()


def test_it_is_saved_as_picture_and_table(dock: Architecture, tmp_path: Path, monkeypatch) -> None:
    def save(name: str) -> Path:
        answer = (str(tmp_path / name), "")
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: answer)
        dock.toolbar.save.click()
        return tmp_path / name

    picture = QImage(str(save("graph.png")))
    assert picture.height() == pytest.approx(2 * dock.scene.sceneRect().height(), abs=3)
    bits = picture.convertToFormat(QImage.Format.Format_RGB888)
    colours = {bits.pixel(x, y) for x in range(0, bits.width(), 9) for y in range(0, 400, 9)}
    assert len(colours) > 5
    tree = ElementTree.parse(save("graph.svg"))
    words = "".join(tree.getroot().itertext())
    assert "pool3" in words
    assert "16×360×360" in words or "16×" in words
    with save("layers.csv").open(newline="", encoding="utf-8") as file:
        assert [row["name"] for row in csv.DictReader(file)] == list(dock.session.network.layers)
    with pytest.raises(ns.NeuroscopeError, match=r"ends in none of"):
        dock.save(tmp_path / "graph.pdf")
    for name in ("graph.png", "graph.svg", "graph.csv"):
        with pytest.raises(ns.NeuroscopeError, match="can't be written"):
            dock.save(tmp_path / "nowhere" / name)


def test_the_theme_is_followed(dock: Architecture, viewer) -> None:
    def back() -> int:
        return dock.view.grab().toImage().pixelColor(5, 5).lightness()

    assert back() < 80
    viewer.theme = "light"
    assert back() > 180
    assert dock.scene.palette_.ink.lightness() < 80


def test_another_network_is_shown_in_its_place(dock: Architecture, qtbot) -> None:
    dock.toggle("enc1")
    settled(dock, qtbot)
    dock.inspector.choose_network("Demo: blood cells (classifier)")
    assert not dock.scene.nodes
    assert not dock.toolbar.save.isEnabled()
    qtbot.waitUntil(lambda: bool(dock.scene.nodes), timeout=30_000)
    assert "stage4" in " ".join(dock.scene.nodes)
    assert not dock.scene.frames or "enc1" not in dock.scene.frames


def test_a_closed_dock_leaves_nothing(dock: Architecture, viewer, qtbot) -> None:
    session, inspector = dock.session, dock.inspector
    slots = sum(len(session.events[name]) for name in session.events)
    dock.close_work()
    dock.close_work()
    assert sum(len(session.events[name]) for name in session.events) == slots - 7
    nodes = dock.scene.marks.chosen
    inspector.choose_layers(["enc1"])
    viewer.theme = "light"
    assert dock.scene.marks.chosen == nodes
    inspector.close_work()
    assert not [t for t in threading.enumerate() if t.name == "neuroscope compute"]


def test_maps_of_layers_are_small_pictures() -> None:
    network = ns.load("demo:nuclei")
    image = np.zeros((96, 160), np.uint8)
    image[30:60, 40:90] = 200
    made = ns.explain(network, image, "grad_cam", "nucleus", ["enc1", "dec1"])
    maps = layer_maps(made)
    assert list(maps) == ["enc1", "dec1"]
    for picture in maps.values():
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 4
        assert max(picture.shape) <= 72
        assert picture.shape[0] < picture.shape[1]
    values = made.values[list(made.labels["layer"]).index("dec1")]
    step = -(-max(values.shape) // 72)
    peak = np.unravel_index(values[::step, ::step].argmax(), maps["dec1"].shape[:2])
    assert maps["dec1"][peak][3] == maps["dec1"][..., 3].max()
    one = ns.explain(network, image, "grad_cam", "nucleus", "dec1")
    assert list(layer_maps(one)) == ["dec1"]
    assert layer_maps(ns.explain(network, image, "saliency", "nucleus")) == {}

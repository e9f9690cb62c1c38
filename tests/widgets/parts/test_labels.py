"""Words of a file are shown as they stand: no dock takes them for HTML, a formula or a shortcut."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import cbook
from matplotlib.text import Text
from qtpy.QtCore import QAbstractListModel, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHeaderView,
    QLabel,
    QMenu,
    QStyledItemDelegate,
    QWidget,
)
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope import widgets
from napari_neuroscope.viewer.layers.maps.stack_follower import text_overlay
from napari_neuroscope.widgets.parts.dialogs.question_box import question_box
from napari_neuroscope.widgets.parts.labels import (
    PlainLabel,
    on_button,
    plain_notice,
    plain_tooltip,
)
from napari_neuroscope.widgets.parts.plots import on_plot

FORGED = "<u>forged</u>"
WORDS = f"{FORGED}&lt;$\\frac{{1$ & \u202etxt.exe\x07\n"
DOCKS = ("Neuroscope", "Model options", "Architecture", "Images", "Confusion matrix", "Evolution",
         "Activations", "Second network", "Evaluation", "Batch")  # fmt: skip


class Strange(nn.Module):
    """Its layers are called as its maker likes."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module(f"{WORDS.replace('.', '')} a", nn.Conv2d(1, 4, 3, padding=1))
        self.add_module(f"{WORDS.replace('.', '')} b", nn.Conv2d(4, 3, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.children():
            x = layer(x)
        return x


@pytest.fixture
def strange() -> ns.Network:
    spec = {
        "task": "segmentation",
        "classes": [f"{WORDS.strip()} {n}" for n in range(3)],
        "input": {"axes": "bcyx", "normalization": "zero_one"},
    }
    return ns.wrap(Strange(), spec, name=f"net {WORDS}", device="cpu")


def test_no_dock_takes_words_of_a_file_for_markup(
    viewer, opened, explained, qtbot, strange: ns.Network, rng, tmp_path: Path
) -> None:
    image = rng.random((32, 32)).astype(np.float32)
    viewer.add_image(image, name=f"image {WORDS}")
    viewer.add_labels((image > 0.5).astype(int), name=f"labels {WORDS}")
    inspector = opened(sample=None, network=None)
    docks: dict[str, Any] = {"Neuroscope": inspector}
    for name in DOCKS[1:]:
        docks[name] = viewer.window.add_plugin_dock_widget("napari-neuroscope", name)[1]
    inspector.add_network(strange)
    qtbot.waitUntil(inspector.ready, timeout=30_000)
    docks["Images"].add_layers()
    docks["Batch"].add_images(tmp_path / f"{WORDS.replace('/', '')}.tif")
    inspector.choose_layers(list(strange.layers))
    inspector.choose_classes([0, 1])
    explained(inspector)
    inspector.map_actions.recipe.refresh()
    docks["Architecture"].pick(next(iter(strange.layers)))
    docks["Images"].predict_all()
    maps = docks["Evaluation"].choice.layer_list
    qtbot.waitUntil(lambda: bool(maps.values()), timeout=5_000)
    maps.choose(maps.values())
    docks["Evaluation"].measure()
    busy = [lambda: inspector.jobs.busy, lambda: docks["Activations"].busy,
            lambda: docks["Images"].busy, lambda: docks["Evaluation"].busy,
            lambda: docks["Evolution"].jobs.busy, lambda: docks["Batch"].files.busy]  # fmt: skip
    qtbot.waitUntil(lambda: not any(one() for one in busy), timeout=60_000)
    inspector.answers.fail(ns.NeuroscopeError(f"“{WORDS}” can't be."))

    seen = list(_shown(docks.values()))
    assert sum(FORGED in text for text in seen) > 20
    assert "forged" in inspector.message.text()
    for layer in viewer.layers:
        if "neuroscope" in layer.metadata:
            assert not Qt.mightBeRichText(layer.name)
            assert layer.name.isprintable() or "\u200b" in layer.name
    overlay = text_overlay(viewer).text
    assert "forged" in overlay
    assert "\u202e" not in overlay
    assert "\x07" not in overlay
    for dock in docks.values():
        dock.close_work()


def _shown(docks: Any) -> Iterator[str]:
    """Go over all words of docks; each is plain, or HTML in which it is escaped."""
    for dock in docks:
        for widget in [dock, *dock.findChildren(QWidget)]:
            yield _as_tooltip(widget.toolTip())
            yield from _of_widget(widget)
        for menu in dock.findChildren(QMenu):
            for action in menu.actions():
                yield _as_tooltip(action.toolTip())
                yield action.text()


def _of_widget(widget: QWidget) -> Iterator[str]:
    if isinstance(widget, QLabel):
        text = QLabel.text(widget)
        if widget.textFormat() == Qt.TextFormat.AutoText:
            assert not Qt.mightBeRichText(text)
        elif widget.textFormat() == Qt.TextFormat.RichText:
            assert FORGED not in text
        yield text.replace("\u200b", "")
    elif isinstance(widget, QComboBox):
        for row in range(widget.count()):
            assert widget.itemText(row).isprintable()
            yield widget.itemText(row)
            yield _as_tooltip(widget.itemData(row, Qt.ItemDataRole.ToolTipRole) or "")
    elif isinstance(widget, QHeaderView) and (model := widget.model()) is not None:
        for section in range(widget.count()):
            for role in (Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.DisplayRole):
                text = model.headerData(section, widget.orientation(), role)
                yield _as_tooltip("" if text is None else str(text))
    elif isinstance(widget, QAbstractItemView) and (model := widget.model()) is not None:
        for row in range(model.rowCount()):
            # A list tells its one column to nobody.
            columns = 1 if isinstance(model, QAbstractListModel) else model.columnCount()
            for column in range(columns):
                index = model.index(row, column)
                yield _as_tooltip(index.data(Qt.ItemDataRole.ToolTipRole) or "")
                shown = str(index.data(Qt.ItemDataRole.DisplayRole))
                delegate = widget.itemDelegateForIndex(index)
                if isinstance(delegate, QStyledItemDelegate):
                    shown = delegate.displayText(shown, widget.locale())
                assert shown.isprintable()
                yield shown
    elif hasattr(widget, "figure"):
        for text in widget.figure.findobj(Text):
            assert not cbook.is_math_text(text.get_text()) or "mathdefault" in text.get_text()
            assert "\u202e" not in text.get_text()
            yield text.get_text()


def _as_tooltip(text: str) -> str:
    if Qt.mightBeRichText(text):
        assert FORGED not in text
    assert "\u202e" not in text
    return text


def test_words_are_made_plain_for_each_place() -> None:
    label = PlainLabel("<b>x</b>\na\u202eb")
    assert label.textFormat() == Qt.TextFormat.PlainText
    assert label.text() == "<b>x</b>\na\\u202eb"
    label.setText("x" * 10_000)
    assert len(label.text()) == 4000
    label.setWordWrap(True)
    # A word without end makes no dock wide.
    assert label.minimumSizeHint().width() < 600
    assert plain_tooltip("one\ntwo") == "one\ntwo"
    assert plain_tooltip("a < b") == "<qt>a &lt; b</qt>"
    for text in ("<b>x</b>", "&lt;b", "<?xml", "<!DOCTYPE html>", "a\n<b>"):
        assert not Qt.mightBeRichText(plain_notice(text))
    assert on_button("Use “R&D”") == "Use “R&&D”"
    assert not cbook.is_math_text(on_plot("$a$ and $b$"))


def test_boxes_ask_in_plain_text(qtbot) -> None:
    box = question_box(None, "Title", FORGED, FORGED)
    qtbot.addWidget(box)
    labels = [label for label in box.findChildren(QLabel) if FORGED in label.text()]
    assert len(labels) == 2
    assert all(label.textFormat() == Qt.TextFormat.PlainText for label in labels)


# What shows words by itself, and what is used in its place.
_BARE = {
    "QLabel": "labels.note or PlainLabel",
    "QMessageBox": "question_box.question_box",
    "QInputDialog": "question_box.ask_for_text",
    "QErrorMessage": "notices.tell_error",
    "show_error": "notices.tell_error",
    "show_info": "notices.tell",
    "show_warning": "notices.tell",
}
_HELPERS = ("labels.py", "question_box.py", "notices.py")
_TIPS = {"plain_tooltip", "headed_tooltip", "method_tip", "option_tip", "tip_of"}


def test_docks_show_words_by_the_helpers_alone() -> None:
    found = []
    for path in sorted(Path(widgets.__file__).parent.rglob("*.py")):
        if path.name in _HELPERS:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and (problem := _problem(node)):
                found.append(f"{path.name}:{node.lineno}: {problem}")
    assert not found


def _problem(call: ast.Call) -> str:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    owner = getattr(getattr(call.func, "value", None), "id", "")
    for bare in {name, owner} & set(_BARE):
        return f"use {_BARE[bare]} in place of {bare}"
    if name in ("setToolTip", "setWhatsThis", "setStatusTip") and call.args:
        for part in ast.walk(call.args[0]):
            # A text that is put together, and goes through no helper.
            if isinstance(part, ast.JoinedStr) and not _goes_through(call.args[0], part):
                return f"{name} of a text with values in it: use labels.plain_tooltip"
    return ""


def _goes_through(tip: ast.AST, part: ast.AST) -> bool:
    return any(
        isinstance(node, ast.Call)
        and getattr(node.func, "id", "") in _TIPS
        and part in list(ast.walk(node))
        for node in ast.walk(tip)
    )

"""Rows, columns and forms as all docks lay them out, and the fields that stand in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QBoxLayout,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLayout,
    QPushButton,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

Part = QWidget | QLayout
"""What is laid out: a widget, or widgets that are laid out themselves."""


def row(*parts: Part, stretch: Part | None = None) -> QHBoxLayout:
    """Return parts side by side, of which one takes the room that is left."""
    layout = QHBoxLayout()
    _fill(layout, parts, stretch)
    return layout


def column(
    holder: QWidget, *parts: Part, stretch: Part | None = None, margin: int = 4
) -> QVBoxLayout:
    """Lay parts out in a widget, one below the other; one takes the room that is left."""
    layout = QVBoxLayout(holder)
    layout.setContentsMargins(margin, margin, margin, margin)
    _fill(layout, parts, stretch)
    return layout


def scrolled(holder: QWidget) -> QScrollArea:
    """Return an area in which a widget is scrolled where there is too little room for it."""
    area = QScrollArea()
    area.setWidget(holder)
    area.setWidgetResizable(True)
    area.setFrameShape(QScrollArea.Shape.NoFrame)
    # The keyboard goes to what lies in it.
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return area


def _fill(layout: QBoxLayout, parts: tuple[Part, ...], stretch: Part | None) -> None:
    for part in parts:
        share = 1 if part is stretch else 0
        if isinstance(part, QLayout):
            layout.addLayout(part, share)
        else:
            layout.addWidget(part, share)


def form(holder: QWidget, rows: Mapping[str, Part | None]) -> QFormLayout:
    """Lay fields out in a widget, each beside its label; one whose label is empty is a whole row.

    A label that begins with a space is not shown: the field stands below that of the row before.
    """
    layout = QFormLayout(holder)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for label, field in rows.items():
        if not label:
            layout.addRow(field)
        else:
            layout.addRow(label if label[0] != " " else "", field)
    return layout


def section(title: str, inside: QWidget) -> QCollapsible:
    """Return a part of a dock that a click on its title shows and hides."""
    part = QCollapsible(title)
    part.addWidget(inside)
    return part


def button(words: str, tip: str = "", clicked: Callable[[], Any] | None = None) -> QPushButton:
    """Return a button with its tooltip, and what a click on it does."""
    made = QPushButton(words)
    made.setToolTip(tip)
    if clicked is not None:
        # Qt tells whether the button is checked, which a method would take for its argument.
        made.clicked.connect(lambda *_: clicked())
    return made


def choice(name: str, values: Mapping[Any, str], tip: str = "") -> QComboBox:
    """Return a box of values, each shown by its words, that screen readers call by a name."""
    box = QComboBox()
    box.setAccessibleName(name)
    box.setToolTip(tip)
    for value, words in values.items():
        box.addItem(words, value)
    return box


def number_box(name: str, least: int, most: int, value: int, tip: str = "") -> QSpinBox:
    """Return a box for a whole number within bounds."""
    box = QSpinBox()
    box.setRange(least, most)
    box.setValue(value)
    box.setAccessibleName(name)
    box.setToolTip(tip)
    return box

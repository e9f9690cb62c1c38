"""Combo boxes of Python objects, whose names are plain text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtpy.QtWidgets import QComboBox
from superqt.utils import signals_blocked

from napari_neuroscope.widgets.parts.labels import on_line


def narrow(box: QComboBox) -> QComboBox:
    """Let a box be narrower than its longest text."""
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(12)
    return box


def fill(box: QComboBox, items: Mapping[Any, str], chosen: Any) -> None:
    """Offer values by their names, silently; the first is chosen where `chosen` is not there."""
    with signals_blocked(box):
        box.clear()
        for value, text in items.items():
            box.addItem(on_line(text), value)
        box.setCurrentIndex(max(row_of(box, chosen), 0))


def row_of(box: QComboBox, value: Any) -> int:
    """Return the row of a value; −1 where it is not offered."""
    # Qt's own search does not know when Python objects are equal.
    rows = (row for row in range(box.count()) if box.itemData(row) == value)
    return next(rows, -1)


def choose(box: QComboBox, value: Any) -> None:
    """Choose a value, where it is offered."""
    if (row := row_of(box, value)) >= 0:
        box.setCurrentIndex(row)

"""Questions in boxes of their own: their words are plain text."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QInputDialog, QLabel, QMessageBox

from napari_neuroscope.widgets.parts.labels import in_lines

_MOST = 1500


def question_box(parent: Any, title: str, text: str, more: str = "") -> QMessageBox:
    """Return a box that asks something, with a button that cancels, which is the default.

    Parameters
    ----------
    parent
        The window's part that asks.
    title
        The box's title.
    text, more
        What is asked, and what is to be known for that.
    """
    box = QMessageBox(parent)
    box.setTextFormat(Qt.TextFormat.PlainText)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle(title)
    box.setText(in_lines(text, _MOST))
    box.setInformativeText(in_lines(more, _MOST))
    # Its format is not that of the box.
    for label in box.findChildren(QLabel):
        label.setTextFormat(Qt.TextFormat.PlainText)
    box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
    return box


def agrees(parent: Any, title: str, text: str, yes: str) -> bool:
    """Ask whether something may be done, which a button is called by; return whether it may."""
    box = question_box(parent, title, text)
    agreed = box.addButton(yes, QMessageBox.ButtonRole.AcceptRole)
    box.exec()
    return box.clickedButton() is agreed


def ask_for_text(parent: Any, title: str, text: str) -> str:
    """Ask for a line of text; "" where the user thinks better of it."""
    dialog = QInputDialog(parent)
    dialog.setWindowTitle(title)
    dialog.setLabelText(in_lines(text, _MOST))
    for label in dialog.findChildren(QLabel):
        label.setTextFormat(Qt.TextFormat.PlainText)
        label.setWordWrap(True)
    return dialog.textValue().strip() if dialog.exec() else ""

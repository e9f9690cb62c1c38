"""Buttons that offer several ways."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import QMenu, QToolButton


def menu_button(text: str, entries: dict[str, Callable[[], None]]) -> QToolButton:
    """Return a button that opens a menu: words, and what is called when they are chosen."""
    button = QToolButton()
    button.setText(text)
    button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
    menu = QMenu(button)
    for words, action in entries.items():
        menu.addAction(words, action)
    button.setMenu(menu)
    return button

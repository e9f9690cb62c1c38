"""Buttons that offer several ways."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import QMenu, QPushButton


def menu_button(text: str, entries: dict[str, Callable[[], None]]) -> QPushButton:
    """Return a button that opens a menu: words, and what is called when they are chosen."""
    # A tool button has its arrow over its words in napari's style, and looks like words alone.
    button = QPushButton(text)
    menu = QMenu(button)
    for words, action in entries.items():
        menu.addAction(words, action)
    button.setMenu(menu)
    return button

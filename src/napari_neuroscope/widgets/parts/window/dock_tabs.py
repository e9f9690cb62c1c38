"""Docks of ours as tabs beside one another: stacked, they would push napari's window off the screen."""

from __future__ import annotations

from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

_OURS = "neuroscope-"


def dock_of(widget: QWidget) -> QDockWidget | None:
    """Return the dock of a window that a widget is in."""
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent


def tab_beside_others(widget: QWidget) -> None:
    """Make the dock of a widget a tab beside another dock of ours, where one is open, and show it.

    Where it has a window of its own, or lies among tabs already, it is left there.
    """
    dock = dock_of(widget)
    window = None if dock is None else dock.parentWidget()
    if dock is None or not isinstance(window, QMainWindow) or dock.isFloating():
        return
    if window.tabifiedDockWidgets(dock):
        return
    for other in window.findChildren(QDockWidget):
        action = other.toggleViewAction()
        is_open = action is not None and action.isChecked() and not other.isFloating()
        if other is not dock and is_open and _is_ours(other):
            window.tabifyDockWidget(other, dock)
            dock.raise_()
            return


def _is_ours(dock: QDockWidget) -> bool:
    return any(part.objectName().startswith(_OURS) for part in dock.findChildren(QWidget))

"""The wheel scrolls a dock; it changes no box or slider that it passes over."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QAbstractSlider, QAbstractSpinBox, QComboBox, QScrollBar, QWidget


class _WheelGuard(QObject):
    """Hands the wheel on to what scrolls, unless the box below it was clicked or reached by Tab."""

    def eventFilter(self, watched: QObject | None, event: Any) -> bool:
        """Refuse the wheel, which then goes on to the parents."""
        if event.type() == QEvent.Type.Wheel and isinstance(watched, QWidget):
            if watched.hasFocus():
                return False
            event.ignore()
            return True
        return False


_guards: list[_WheelGuard] = []


def guard_from_wheel(widget: QWidget) -> None:
    """Keep the wheel from changing a widget, and what lies in it, by passing over it.

    Parameters
    ----------
    widget
        A box or slider, or what holds some; of what is added to it later, this is to be called
        again.
    """
    if not _guards:
        _guards.append(_WheelGuard())
    for part in (widget, *widget.findChildren(QWidget)):
        if isinstance(part, QComboBox | QAbstractSpinBox | QAbstractSlider) and not isinstance(
            part, QScrollBar
        ):
            # Qt would give these the keyboard by a turn of the wheel.
            part.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            # To install it twice moves it only.
            part.installEventFilter(_guards[0])

"""All docks fit a small screen: as tabs beside one another, scrolled, and safe from the wheel."""

from __future__ import annotations

from typing import Any

import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDockWidget,
    QScrollArea,
    QWidget,
)

from napari_neuroscope.widgets.parts.window.dock_tabs import dock_of
from storm_choices import DOCKS


@pytest.fixture
def all_docks(viewer, opened, open_dock, qtbot) -> dict[str, Any]:
    """Every dock of the plugin, opened one after the other in a small window."""
    inspector = opened()
    docks = {"Neuroscope": getattr(inspector, "__wrapped__", inspector)}
    window = viewer.window._qt_window
    window.resize(1366, 768)
    window.show()
    for title in DOCKS:
        if title not in docks:
            docks[title] = open_dock(title)
            qtbot.wait(20)
    qtbot.wait(50)
    return docks


def value_of(box: QWidget) -> Any:
    """Return what a box says."""
    return box.currentIndex() if isinstance(box, QComboBox) else box.text()


def turn_wheel(widget: QWidget) -> None:
    """Turn the wheel by a notch over a widget."""
    middle = QPointF(widget.rect().center())
    event = QWheelEvent(
        middle, QPointF(widget.mapToGlobal(widget.rect().center())), QPoint(0, 0),
        QPoint(0, -120), Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(widget, event)


def is_reached(button: QWidget, dock: QDockWidget) -> bool:
    """Whether a button lies within its dock, or within what can be scrolled to."""
    area = button.parentWidget()
    while area is not None and not isinstance(area, QScrollArea) and area is not dock:
        area = area.parentWidget()
    if isinstance(area, QScrollArea):
        inside = area.widget()
        place = button.mapTo(inside, button.rect().bottomRight())
        return inside.rect().adjusted(0, 0, 1, 1).contains(place)
    return dock.rect().contains(button.mapTo(dock, button.rect().bottomRight()))


def test_all_docks_together_fit_a_small_screen(all_docks, viewer, qtbot) -> None:
    window = viewer.window._qt_window
    first = dock_of(all_docks["Neuroscope"])
    beside = window.tabifiedDockWidgets(first)
    for title, dock in all_docks.items():
        if title != "Neuroscope":
            assert dock_of(dock) in beside, title
            assert dock.minimumSizeHint().height() <= 150, title
        assert max(dock.minimumWidth(), dock.minimumSizeHint().width()) <= 360, title
    for theme in ("dark", "light"):
        viewer.theme = theme
        qtbot.wait(20)
        least = window.minimumSizeHint()
        assert least.height() <= 700
        assert least.width() <= 1024
    for size in ((1366, 768), (1024, 700)):
        window.resize(*size)
        for title, dock in all_docks.items():
            holder = dock_of(dock)
            holder.raise_()
            qtbot.wait(10)
            for button in dock.findChildren(QAbstractButton):
                if button.isVisible():
                    assert is_reached(button, holder), (title, button.text(), size)


def test_the_wheel_changes_nothing_that_it_passes_over(all_docks) -> None:
    turned = 0
    for title, dock in all_docks.items():
        for box in dock.findChildren(QWidget):
            if isinstance(box, QComboBox | QAbstractSpinBox) and box.isEnabled():
                before = value_of(box)
                turn_wheel(box)
                assert value_of(box) == before, (title, box.accessibleName())
                turned += 1
    assert turned > 20


def test_the_wheel_spares_options_that_come_later(opened) -> None:
    inspector = opened()
    inspector.choose_method("occlusion")
    window = inspector.form.method.options["window"]
    for box in window.native.findChildren(QAbstractSpinBox) or [window.native]:
        before = value_of(box) if hasattr(box, "text") else window.value
        turn_wheel(box)
        assert (value_of(box) if hasattr(box, "text") else window.value) == before


def test_a_dock_that_was_torn_off_stays_so(viewer, opened, open_dock, qtbot) -> None:
    opened()
    dock = open_dock("Batch")
    qtbot.wait(50)
    holder = dock_of(dock)
    holder.setFloating(True)
    dock.hide()
    dock.show()
    qtbot.wait(50)
    assert holder.isFloating()

"""The legend on the canvas: which class each colour is, and which value."""

from __future__ import annotations

import contextlib
import weakref
from typing import Any

from qtpy.QtCore import QEvent, QObject, QRect, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QCheckBox, QMainWindow, QWidget

from napari_neuroscope.viewer.legend.colour_bars import ColourBars
from napari_neuroscope.viewer.legend.legend_entries import LegendSection, legend_of
from napari_neuroscope.viewer.state.legend_choice import LegendChoice
from napari_neuroscope.viewer.state.viewer_state import state_of, without_proxy
from napari_neuroscope.widgets.parts.dock import Dock

_DELAY_MS = 60
_MARGIN, _SWATCH, _WIDEST = 8, 10, 260


class CanvasLegend(QWidget):
    """Says what the colours of visible classes mean, in the upper left corner of the canvas.

    It takes no clicks, and is drawn anew only where what it says has changed.

    Parameters
    ----------
    canvas
        The widget that it lies on.

    Attributes
    ----------
    sections
        What it says.
    """

    def __init__(self, canvas: QWidget) -> None:
        super().__init__(canvas)
        self.setObjectName("neuroscope-legend")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.sections: tuple[LegendSection, ...] = ()
        canvas.installEventFilter(self)
        self.hide()

    def say(self, sections: tuple[LegendSection, ...]) -> None:
        """Say what colours mean; nothing hides it."""
        if sections == self.sections:
            return
        self.sections = sections
        self.setAccessibleName("Legend: " + "; ".join(line for line, *_ in self._lines()))
        self.setVisible(bool(sections))
        self._place()
        self.update()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Stay in the corner of a canvas whose size changes."""
        if event is not None and event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def sizeHint(self) -> QSize:
        """Return the room that its lines take."""
        metrics, lines = self.fontMetrics(), self._lines()
        widest = max((metrics.horizontalAdvance(text) for text, *_ in lines), default=0)
        width = min(widest, _WIDEST) + _SWATCH + 3 * _MARGIN
        return QSize(width, len(lines) * self._line_height() + _MARGIN)

    def paintEvent(self, event: Any) -> None:
        """Draw a swatch and a name for each class."""
        painter, metrics, height = QPainter(self), self.fontMetrics(), self._line_height()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        # It is read on any image, in either theme.
        painter.setBrush(QColor(0, 0, 0, 170))
        painter.drawRoundedRect(self.rect(), 4, 4)
        for number, (text, colour, outlined) in enumerate(self._lines()):
            top = _MARGIN // 2 + number * height
            left = _MARGIN
            if colour is not None:
                swatch = QRect(left, top + (height - _SWATCH) // 2, _SWATCH, _SWATCH)
                shade = QColor(*colour)
                painter.setPen(QPen(shade, 2) if outlined else Qt.PenStyle.NoPen)
                painter.setBrush(Qt.BrushStyle.NoBrush if outlined else shade)
                painter.drawRect(swatch)
                left += _SWATCH + _MARGIN
            painter.setPen(QColor(255, 255, 255))
            room = QRect(left, top, self.width() - left - _MARGIN // 2, height)
            words = metrics.elidedText(text, Qt.TextElideMode.ElideMiddle, room.width())
            painter.drawText(
                room, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, words
            )

    def _line_height(self) -> int:
        return max(self.fontMetrics().height(), _SWATCH) + 2

    def _lines(self) -> list[tuple[str, tuple[int, int, int] | None, bool]]:
        lines: list[tuple[str, tuple[int, int, int] | None, bool]] = []
        for section in self.sections:
            lines.append((section.title, None, False))
            lines += [(name, colour, section.outlined) for name, colour in section.entries]
            if section.more:
                lines.append((f"and {section.more} more", None, False))
        return lines

    def _place(self) -> None:
        canvas = self.parentWidget()
        if canvas is None:
            return
        size = self.sizeHint()
        # On a small canvas the first lines are seen.
        height = min(size.height(), max(canvas.height() - 2 * _MARGIN, 0))
        # The text on the canvas is below, and the colour bar at the right.
        self.setGeometry(_MARGIN, _MARGIN, size.width(), height)


class LegendBox(QCheckBox):
    """Switches the legend and the colour bar on the canvas, and keeps them true.

    Parameters
    ----------
    dock, viewer
        The dock that it is in, and its viewer.
    """

    def __init__(self, dock: Dock, viewer: Any) -> None:
        super().__init__("Legend")
        self.setToolTip("Say on the canvas which class each colour is, and which value.")
        self._dock, self._viewer = dock, viewer
        self._choice = state_of(viewer, LegendChoice)
        self._bars = ColourBars(viewer)
        self._legend: CanvasLegend | None = None
        self.setChecked(self._choice.shown)
        self.toggled.connect(lambda on: setattr(self._choice, "shown", on))
        self._soon = dock.debounced(self._update, _DELAY_MS)
        layers = viewer.layers.events
        dock.follow(layers.inserted, self._follow_inserted)
        dock.follow_each(
            (layers.removed, layers.reordered, viewer.dims.events.current_step,
             viewer.dims.events.ndisplay, self._choice.changed), self._changed,
        )  # fmt: skip
        dock.at_end(weakref.WeakMethod(self._close))
        for layer in viewer.layers:
            self._follow_layer(layer)
        self._changed()

    def _follow_inserted(self, event: Any) -> None:
        self._follow_layer(event.value)
        self._changed()

    def _follow_layer(self, layer: Any) -> None:
        """Follow how a layer looks; it holds this weakly, and goes with its events."""
        events = without_proxy(layer).events
        names: tuple[str, ...] = (
            "visible",
            "name",
            "opacity",
            "contour",
            "colormap",
            "data",
            "set_data",
        )
        if not hasattr(events, "contour"):
            names = ("visible",)
        for name in names:
            getattr(events, name).connect(self._changed)

    def _changed(self, *_: Any) -> None:
        if not self._dock.closed:
            self._soon()

    def _update(self) -> None:
        if self._dock.closed:
            return
        shown = self._choice.shown
        if self.isChecked() != shown:
            self.setChecked(shown)
        self._bars.show(on=shown)
        if self._legend is None and (canvas := _canvas_of(self)) is not None:
            self._legend = CanvasLegend(canvas)
        if self._legend is not None:
            self._legend.say(legend_of(self._viewer) if shown else ())

    def _close(self) -> None:
        self._bars.show(on=False)
        legend, self._legend = self._legend, None
        # A window that closes has deleted it already.
        with contextlib.suppress(RuntimeError):
            if legend is not None:
                legend.hide()
                legend.deleteLater()


def _canvas_of(widget: QWidget) -> QWidget | None:
    """Return what the window of a widget draws layers on; None where there is none."""
    window: QWidget | None = widget
    while window is not None and not isinstance(window, QMainWindow):
        window = window.parentWidget()
    central = None if window is None else window.centralWidget()
    if central is None:
        return None
    # OpenGL is drawn into one widget, whatever the binding calls its class.
    drawn = [one for one in central.findChildren(QWidget) if one.inherits("QOpenGLWidget")]
    return drawn[0] if drawn else None

"""A table of images: a picture, a name, ground truth and figures, sorted by any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import QEvent, QModelIndex, QObject, QSize, Qt, Signal
from qtpy.QtGui import QColor, QFont, QKeyEvent, QPixmap
from qtpy.QtWidgets import QHeaderView

from napari_neuroscope.widgets.parts.labels import pixmap, plain_tooltip
from napari_neuroscope.widgets.parts.table_model import Role, Table, TableModel, Value

_FIXED = ("Image", "Truth")
# In pixels: a row, the picture in it, and a column of figures.
_ROW, _ICON, _FIGURE = 34, 30, 84
_KEYS = (Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_PageUp, Qt.Key.Key_PageDown,
         Qt.Key.Key_Home, Qt.Key.Key_End)  # fmt: skip
_NO_MODIFIER, _KEYPAD = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier


class ImageTable(Table):
    """Lists images by name; a click chooses one, a click on a heading sorts."""

    chosen = Signal(str)

    def __init__(self) -> None:
        self._model = _ImageModel()
        super().__init__(self._model, "Images", row_height=_ROW)
        self.let_sort(-1)
        self.view.setIconSize(QSize(_ICON, _ICON))
        self.view.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        # The name takes what figures leave, so that none of them is out of sight.
        if (header := self.view.horizontalHeader()) is not None:
            header.setMinimumSectionSize(48)
            header.setDefaultSectionSize(_FIGURE)
        self._model.modelReset.connect(self._spread)
        self._spread()
        self.view.clicked.connect(self.choose_at)
        self.view.activated.connect(self.choose_at)
        self.view.installEventFilter(self)

    def _spread(self) -> None:
        header = self.view.horizontalHeader()
        if header is not None and header.count():
            header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
            header.setStretchLastSection(False)
            header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Show the image that the keyboard has gone to."""
        if (
            isinstance(event, QKeyEvent)
            and event.type() == QEvent.Type.KeyRelease
            and event.key() in _KEYS
            and not event.isAutoRepeat()
            and event.modifiers() in (_NO_MODIFIER, _KEYPAD)
            and (place := self.view.currentIndex()).isValid()
        ):
            self.choose_at(place)
        return super().eventFilter(watched, event)

    def set_rows(self, rows: Sequence[tuple[str, str]]) -> None:
        """List these images, by name and ground truth in words; pictures and figures stay."""
        self._model.set_rows(rows)

    def set_columns(self, headings: Sequence[str]) -> None:
        """Have these columns of figures, all empty."""
        self._model.set_columns(headings)

    def set_values(self, name: str, values: Sequence[float]) -> None:
        """Show the figures of an image; NaN is not applicable."""
        self._model.set_values(name, values)

    def set_problem(self, name: str, problem: str) -> None:
        """Mark an image that failed, with the reason as its tooltip."""
        self._model.set_problem(name, problem)

    def set_icon(self, name: str, picture: np.ndarray | None) -> None:
        """Show a picture, uint8 (y, x, 3), beside a name; None where there is none."""
        self._model.set_icon(name, picture)

    def has_icon(self, name: str) -> bool:
        """Whether a picture of an image was set."""
        return name in self._model.icons

    def mark(self, name: str) -> None:
        """Make an image the current one, without choosing it."""
        self._model.current = name
        if name in self._model.names:
            place = self.place_of(self._model.names.index(name))
            self.view.scrollTo(place)
            if not self.selection_model().isRowSelected(place.row(), QModelIndex()):
                self.view.selectRow(place.row())
        self._model.tell_changed(range(self._model.count()))

    def current(self) -> str | None:
        """Return the name of the image that is shown, or chosen."""
        return self._model.current or next(iter(self.selection()), None)

    def selection(self) -> list[str]:
        """Return the names that are selected, in the order of the table."""
        return [self._model.names[row] for row in self.selected_rows()]

    def names(self) -> list[str]:
        """Return all names, in the order in which they are sorted."""
        return [self._model.names[row] for row in self.order()]

    def step(self, by: int) -> None:
        """Choose the image so many rows below the current one."""
        names, current = self.names(), self.current()
        if not names:
            return
        place = names.index(current) + by if current in names else 0
        if 0 <= place < len(names):
            self.chosen.emit(names[place])

    def choose_at(self, index: QModelIndex) -> None:
        """Choose the image at a place of the view."""
        self.chosen.emit(self._model.names[self.row_at(index)])


class _ImageModel(TableModel):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.current: str | None = None
        self.icons: dict[str, QPixmap | None] = {}
        self._truths: dict[str, str] = {}
        self._columns: list[str] = []
        self._values: dict[str, list[float]] = {}
        self._problems: dict[str, str] = {}

    def headings(self) -> Sequence[str]:
        return (*_FIXED, *self._columns)

    def heading_tip(self, column: int) -> str:
        return "Ground truth" if column == 1 else self.headings()[column]

    def count(self) -> int:
        return len(self.names)

    def set_rows(self, rows: Sequence[tuple[str, str]]) -> None:
        self.beginResetModel()
        self.names = [name for name, _ in rows]
        self._truths = dict(rows)
        self._problems.clear()
        if self.current not in self._truths:
            self.current = None
        self.endResetModel()

    def set_columns(self, headings: Sequence[str]) -> None:
        self.beginResetModel()
        self._columns = list(headings)
        self._values.clear()
        self._problems.clear()
        self.endResetModel()

    def set_values(self, name: str, values: Sequence[float]) -> None:
        self._values[name] = list(values)
        self._problems.pop(name, None)
        self._changed(name)

    def set_problem(self, name: str, problem: str) -> None:
        self._problems[name] = problem
        self._changed(name)

    def set_icon(self, name: str, picture: np.ndarray | None) -> None:
        icon = None
        if picture is not None:
            icon = pixmap(picture).scaled(_ICON, _ICON, Qt.AspectRatioMode.KeepAspectRatio)
        self.icons[name] = icon
        self._changed(name)

    def _changed(self, name: str) -> None:
        if name in self._truths:
            self.tell_changed([self.names.index(name)])

    def value(self, row: int, column: int) -> Value:
        if column == 0:
            return row
        if column == 1:
            return self._truths[self.names[row]]
        values = self._values.get(self.names[row], [])
        number = column - len(_FIXED)
        return values[number] if number < len(values) else None

    def text(self, row: int, column: int) -> str | None:
        if column == 0:
            return self.names[row]
        value = self.value(row, column)
        if isinstance(value, float):
            return in_digits(value)
        return None if value is None else str(value)

    def look(self, row: int, column: int, role: int) -> Any:
        name = self.names[row]
        if role == Role.DecorationRole and column == 0:
            return self.icons.get(name)
        if role == Role.ToolTipRole:
            return plain_tooltip(self._problems.get(name) or name)
        if role == Role.ForegroundRole and name in self._problems:
            return QColor("#d55e00")
        if role == Role.FontRole and name == self.current:
            font = QFont()
            font.setBold(True)
            return font
        return None


def in_digits(value: float) -> str:
    """Return a figure as the table shows it."""
    return "n/a" if np.isnan(value) else f"{value:.3f}"

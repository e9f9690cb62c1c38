"""A table of images: a picture, a name, ground truth and figures, sorted by any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QSize, QSortFilterProxyModel, Qt, Signal
from qtpy.QtGui import QColor, QFont, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QVBoxLayout, QWidget

from napari_neuroscope.widgets.parts.labels import on_line, pixmap, plain_tooltip

_FIXED = ("Image", "Ground truth")
_Role = Qt.ItemDataRole


class ImageTable(QWidget):
    """Lists images by name; a click chooses one, a click on a heading sorts."""

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._model = _Model()
        self._sorted = _ImageSortProxy()
        self._sorted.setSourceModel(self._model)
        self._view = QTableView()
        self._view.setModel(self._sorted)
        self._view.setAccessibleName("Images")
        self._view.setSortingEnabled(True)
        self._view.sortByColumn(-1, Qt.SortOrder.AscendingOrder)
        self._view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self._view.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self._view.setIconSize(QSize(40, 40))
        self._view.setWordWrap(False)
        if (rows := self._view.verticalHeader()) is not None:
            rows.setVisible(False)
            rows.setDefaultSectionSize(44)
        if (header := self._view.horizontalHeader()) is not None:
            header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
            header.setStretchLastSection(True)
            header.resizeSection(0, 190)
            header.resizeSection(1, 100)
        self._view.clicked.connect(self._clicked)
        self._view.activated.connect(self._clicked)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._view)

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
            index = self._sorted.mapFromSource(self._model.index(self._model.names.index(name), 0))
            self._view.scrollTo(index)
            chosen = self._view.selectionModel()
            if chosen is not None and not chosen.isRowSelected(index.row(), QModelIndex()):
                self._view.selectRow(index.row())
        self._model.refresh()

    def current(self) -> str | None:
        """Return the name of the image that is shown, or chosen."""
        return self._model.current or next(iter(self.selection()), None)

    def selection(self) -> list[str]:
        """Return the names that are selected, in the order of the table."""
        chosen = self._view.selectionModel()
        rows = sorted(index.row() for index in chosen.selectedRows()) if chosen else []
        return [self.names()[row] for row in rows]

    def names(self) -> list[str]:
        """Return all names, in the order in which they are sorted."""
        rows = range(self._sorted.rowCount())
        return [self._model.names[self._sorted.mapToSource(self._sorted.index(r, 0)).row()]
                for r in rows]  # fmt: skip

    def sort_by(self, heading: str, *, descending: bool = False) -> None:
        """Sort by the column of a heading."""
        order = Qt.SortOrder.DescendingOrder if descending else Qt.SortOrder.AscendingOrder
        self._view.sortByColumn(self._model.headings().index(heading), order)

    def step(self, by: int) -> None:
        """Choose the image so many rows below the current one."""
        names = self.names()
        if not names:
            return
        current = self.current()
        place = names.index(current) + by if current in names else 0
        if 0 <= place < len(names):
            self.chosen.emit(names[place])

    def _clicked(self, index: QModelIndex) -> None:
        self.chosen.emit(self._model.names[self._sorted.mapToSource(index).row()])


class _Model(QAbstractTableModel):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.current: str | None = None
        self.icons: dict[str, QPixmap | None] = {}
        self._truths: dict[str, str] = {}
        self._columns: list[str] = []
        self._values: dict[str, list[float]] = {}
        self._problems: dict[str, str] = {}

    def headings(self) -> list[str]:
        return [*_FIXED, *self._columns]

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
            icon = pixmap(picture).scaled(40, 40, Qt.AspectRatioMode.KeepAspectRatio)
        self.icons[name] = icon
        self._changed(name)

    def refresh(self) -> None:
        if self.names:
            last = self.index(len(self.names) - 1, len(self.headings()) - 1)
            self.dataChanged.emit(self.index(0, 0), last)

    def _changed(self, name: str) -> None:
        if name in self._truths:
            row = self.names.index(name)
            last = self.index(row, len(self.headings()) - 1)
            self.dataChanged.emit(self.index(row, 0), last)

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.names)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.headings())

    def headerData(self, section: int, orientation: Any, role: int = _Role.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Horizontal and role in (
            _Role.DisplayRole,
            _Role.ToolTipRole,
        ):
            heading = self.headings()[section] if section < len(self.headings()) else ""
            return on_line(heading) if role == _Role.DisplayRole else plain_tooltip(heading)
        return None

    def value(self, row: int, column: int) -> Any:
        """Return what a column is sorted by."""
        name = self.names[row]
        if column == 0:
            return row
        if column == 1:
            return self._truths[name]
        values = self._values.get(name, [])
        number = column - len(_FIXED)
        return values[number] if number < len(values) else None

    def data(self, index: QModelIndex, role: int = _Role.DisplayRole) -> Any:
        name, column = self.names[index.row()], index.column()
        if role == _Role.DisplayRole:
            if column == 0:
                return on_line(name)
            value = self.value(index.row(), column)
            if isinstance(value, float):
                return "n/a" if np.isnan(value) else f"{value:.3f}"
            return on_line(value) if isinstance(value, str) else value
        if role == _Role.DecorationRole and column == 0:
            return self.icons.get(name)
        if role == _Role.ToolTipRole:
            return plain_tooltip(self._problems.get(name) or name)
        if role == _Role.ForegroundRole and name in self._problems:
            return QColor("#d55e00")
        if role == _Role.FontRole and name == self.current:
            font = QFont()
            font.setBold(True)
            return font
        return None


class _ImageSortProxy(QSortFilterProxyModel):
    """Sorts by figures as numbers; what has none comes last, whichever way."""

    def lessThan(self, left: QModelIndex, right: QModelIndex) -> bool:
        model = self.sourceModel()
        assert isinstance(model, _Model)
        one, other = (model.value(index.row(), index.column()) for index in (left, right))
        nothing = [v is None or (isinstance(v, float) and np.isnan(v)) for v in (one, other)]
        if any(nothing):
            rising = self.sortOrder() == Qt.SortOrder.AscendingOrder
            return not nothing[0] if rising else nothing[0] and not nothing[1]
        return bool(one < other)

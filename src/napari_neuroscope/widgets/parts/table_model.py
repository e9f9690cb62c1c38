"""Tables that are looked at: what their cells show, sorted as numbers, and the rows chosen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from qtpy.QtCore import (
    QAbstractTableModel,
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QSortFilterProxyModel,
    Qt,
)
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QVBoxLayout, QWidget

from napari_neuroscope.widgets.parts.labels import on_line, plain_tooltip

Role = Qt.ItemDataRole
Value = float | str | None
"""What a cell is sorted by; None and NaN are nothing, and come last whichever way."""


class TableModel(QAbstractTableModel):
    """Rows of columns with headings; a table of a kind says what a cell shows and how it looks."""

    def headings(self) -> Sequence[str]:
        """Return the headings of the columns."""
        raise NotImplementedError

    def heading_tip(self, column: int) -> str | None:
        """Return what a heading means, for who rests the pointer on it."""
        return None

    def count(self) -> int:
        """Return how many rows there are."""
        raise NotImplementedError

    def value(self, row: int, column: int) -> Value:
        """Return what a cell is sorted by."""
        raise NotImplementedError

    def text(self, row: int, column: int) -> str | None:
        """Return the words of a cell."""
        raise NotImplementedError

    def look(self, row: int, column: int, role: int) -> Any:
        """Return what Qt asks of a cell but its words: a colour, a font, an icon, a tooltip."""
        return None

    def tell_changed(self, rows: Iterable[int]) -> None:
        """Have the cells of some rows, which follow each other, drawn anew."""
        numbers = list(rows)
        if numbers:
            last = self.index(numbers[-1], len(self.headings()) - 1)
            self.dataChanged.emit(self.index(numbers[0], 0), last)

    # --- what Qt asks ---

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else self.count()

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.headings())

    def headerData(self, section: int, orientation: Any, role: int = Role.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal or section >= len(self.headings()):
            return None
        if role == Role.DisplayRole:
            return on_line(self.headings()[section])
        if role == Role.ToolTipRole and (tip := self.heading_tip(section)) is not None:
            return plain_tooltip(tip)
        return None

    def data(self, index: QModelIndex, role: int = Role.DisplayRole) -> Any:
        row, column = index.row(), index.column()
        if role == Role.DisplayRole:
            words = self.text(row, column)
            return None if words is None else on_line(words)
        return self.look(row, column, role)


class SortedRows(QSortFilterProxyModel):
    """The rows of a table by the values of a column; what has none comes last, whichever way."""

    def __init__(self, model: TableModel) -> None:
        super().__init__()
        self._model = model
        self.setSourceModel(model)

    def lessThan(self, left: QModelIndex, right: QModelIndex) -> bool:
        first, second = (self._model.value(at.row(), at.column()) for at in (left, right))
        if _is_nothing(first) or _is_nothing(second):
            if self.sortOrder() == Qt.SortOrder.AscendingOrder:
                return not _is_nothing(first)
            # A falling order asks the other way round.
            return not _is_nothing(second)
        return bool(first < second)  # type: ignore[operator]  # a column is of one type


def _is_nothing(value: Value) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


class Table(QWidget):
    """Shows a model of rows, of which a click on a heading sorts.

    Parameters
    ----------
    model
        What is shown.
    name
        What screen readers call the table.
    row_height
        In pixels.
    several
        Whether several rows can be chosen at once.
    """

    def __init__(
        self, model: TableModel, name: str, *, row_height: int = 22, several: bool = True
    ) -> None:
        super().__init__()
        self._rows = model
        self._sorted = SortedRows(model)
        self.view = QTableView()
        self.view.setModel(self._sorted)
        self.view.setAccessibleName(name)
        self.view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        modes = QAbstractItemView.SelectionMode
        self.view.setSelectionMode(modes.ExtendedSelection if several else modes.SingleSelection)
        self.view.setWordWrap(False)
        if (rows := self.view.verticalHeader()) is not None:
            rows.setVisible(False)
            rows.setDefaultSectionSize(row_height)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.view)

    # --- how it is laid out and sorted ---

    def let_sort(self, column: int) -> None:
        """Let a click on a heading sort, at first by a column; −1: as the rows are given."""
        self.view.setSortingEnabled(True)
        self.view.sortByColumn(column, Qt.SortOrder.AscendingOrder)

    def set_widths(self, *widths: int) -> None:
        """Make the first columns so wide; the last takes the rest."""
        if (header := self.view.horizontalHeader()) is not None:
            header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
            header.setStretchLastSection(True)
            for column, width in enumerate(widths):
                header.resizeSection(column, width)

    def is_sorted(self) -> bool:
        """Whether the rows are sorted by a column, and not as they are given."""
        return self._sorted.sortColumn() >= 0

    def sort_by(self, heading: str, *, descending: bool = False) -> None:
        """Sort by the column of a heading."""
        order = Qt.SortOrder.DescendingOrder if descending else Qt.SortOrder.AscendingOrder
        self.view.sortByColumn(list(self._rows.headings()).index(heading), order)

    # --- its rows, by their numbers in the model ---

    def order(self) -> list[int]:
        """Return the rows in the order in which they are sorted."""
        rows = range(self._sorted.rowCount())
        return [self._sorted.mapToSource(self._sorted.index(row, 0)).row() for row in rows]

    def row_at(self, index: QModelIndex) -> int:
        """Return the row of a place in the view."""
        return self._sorted.mapToSource(index).row()

    def selected_rows(self) -> list[int]:
        """Return the rows that are selected, in the order in which they are sorted."""
        places = self.selection_model().selectedRows()
        return [self.row_at(index) for index in sorted(places, key=QModelIndex.row)]

    def select_rows(self, rows: Iterable[int]) -> None:
        """Select these rows and no others."""
        chosen = QItemSelection()
        for row in rows:
            if row < self._rows.count():
                place = self.place_of(row)
                chosen.select(place, place)
        flags = QItemSelectionModel.SelectionFlag
        self.selection_model().select(chosen, flags.ClearAndSelect | flags.Rows)

    def place_of(self, row: int) -> QModelIndex:
        """Return where a row is in the view."""
        return self._sorted.mapFromSource(self._rows.index(row, 0))

    def selection_model(self) -> QItemSelectionModel:
        """Return what tells which rows are selected."""
        model = self.view.selectionModel()
        assert model is not None
        return model

    def texts(self, heading: str) -> list[str]:
        """Return what a column shows, from the top."""
        column = list(self._rows.headings()).index(heading)
        return [str(self._sorted.index(row, column).data()) for row in range(len(self.order()))]

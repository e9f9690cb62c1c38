"""A table of channels with their figures, sorted by any as numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from qtpy.QtCore import (
    QAbstractTableModel,
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QSortFilterProxyModel,
    Qt,
    Signal,
)
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QVBoxLayout, QWidget

from napari_neuroscope.engine.errors import in_digits
from napari_neuroscope.engine.evaluation.channel_statistics import ChannelStatistics

HEADINGS = ("Channel", "Mean", "Max", "Zeros", "Relevance")
_TIPS = (
    "The channel's number, from 0",
    "The mean of its values",
    "Its largest value",
    "The share of its values that are zero",
    "Σ gradient · activation: its share in the score of the class, to first order",
)
_Role = Qt.ItemDataRole


class ChannelTable(QWidget):
    """Lists the channels of a layer; a click on a heading sorts, a double click asks for one."""

    opened = Signal(int)
    selected = Signal()
    sorted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._model = _Model()
        self._proxy = _ChannelSortProxy()
        self._proxy.setSourceModel(self._model)
        self._view = QTableView()
        self._view.setModel(self._proxy)
        self._view.setAccessibleName("Channels")
        self._view.setSortingEnabled(True)
        self._view.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self._view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self._view.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        if (rows := self._view.verticalHeader()) is not None:
            rows.setVisible(False)
            rows.setDefaultSectionSize(22)
        if (header := self._view.horizontalHeader()) is not None:
            header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
            header.sortIndicatorChanged.connect(lambda *_: self.sorted.emit())
        self._view.doubleClicked.connect(lambda at: self.opened.emit(self.channels()[at.row()]))
        self._selection().selectionChanged.connect(lambda *_: self.selected.emit())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._view)

    def _selection(self) -> QItemSelectionModel:
        found = self._view.selectionModel()
        assert found is not None
        return found

    def show_statistics(self, statistics: ChannelStatistics | None) -> None:
        """List the channels of some statistics, or none; what is selected stays so by number."""
        chosen = self.selection()
        self._model.show(statistics)
        self._view.setColumnHidden(
            HEADINGS.index("Relevance"), statistics is None or statistics.relevance is None
        )
        self.select(chosen)

    def channels(self) -> list[int]:
        """Return the numbers of all channels, in the order in which they are sorted."""
        rows = range(self._proxy.rowCount())
        return [self._proxy.mapToSource(self._proxy.index(row, 0)).row() for row in rows]

    def selection(self) -> list[int]:
        """Return the numbers of the channels that are selected, in the order of the table."""
        rows = sorted(index.row() for index in self._selection().selectedRows())
        channels = self.channels()
        return [channels[row] for row in rows]

    def select(self, channels: Iterable[int]) -> None:
        """Select these channels and no others."""
        chosen = QItemSelection()
        for channel in channels:
            if channel < self._model.rowCount():
                at = self._proxy.mapFromSource(self._model.index(channel, 0))
                chosen.select(at, at)
        flags = QItemSelectionModel.SelectionFlag
        self._selection().select(chosen, flags.ClearAndSelect | flags.Rows)

    def sort_by(self, heading: str, *, descending: bool = False) -> None:
        """Sort by the column of a heading."""
        order = Qt.SortOrder.DescendingOrder if descending else Qt.SortOrder.AscendingOrder
        self._view.sortByColumn(HEADINGS.index(heading), order)


class _Model(QAbstractTableModel):
    def __init__(self) -> None:
        super().__init__()
        self._columns: list[np.ndarray] = []
        self._dead: np.ndarray = np.zeros(0, bool)

    def show(self, statistics: ChannelStatistics | None) -> None:
        self.beginResetModel()
        if statistics is None:
            self._columns, self._dead = [], np.zeros(0, bool)
        else:
            found, count = statistics, len(statistics)
            relevance = np.full(count, np.nan) if found.relevance is None else found.relevance
            self._columns = [np.arange(count), found.mean, found.max, found.zeros, relevance]
            self._dead = found.dead
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self._dead)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(HEADINGS)

    def headerData(self, section: int, orientation: Any, role: int = _Role.DisplayRole) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == _Role.DisplayRole:
            return HEADINGS[section]
        if orientation == Qt.Orientation.Horizontal and role == _Role.ToolTipRole:
            return _TIPS[section]
        return None

    def value(self, index: QModelIndex) -> float:
        """Return what a cell is sorted by."""
        return float(self._columns[index.column()][index.row()])

    def data(self, index: QModelIndex, role: int = _Role.DisplayRole) -> Any:
        dead = self._dead[index.row()]
        if role == _Role.DisplayRole:
            value = self.value(index)
            if index.column() == 0:
                return f"{index.row()}"
            if np.isnan(value):
                return "n/a"
            return f"{value:.0%}" if HEADINGS[index.column()] == "Zeros" else in_digits(value)
        if role == _Role.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role == _Role.ForegroundRole and dead:
            return QColor("#909090")
        if role == _Role.ToolTipRole and dead:
            return "Dead: never above zero, or the same everywhere"
        return None


class _ChannelSortProxy(QSortFilterProxyModel):
    """Sorts as numbers; what is none comes last, whichever way."""

    def lessThan(self, left: QModelIndex, right: QModelIndex) -> bool:
        model = self.sourceModel()
        assert isinstance(model, _Model)
        one, other = model.value(left), model.value(right)
        none, other_none = np.isnan(one), np.isnan(other)
        if none or other_none:
            rising = self.sortOrder() == Qt.SortOrder.AscendingOrder
            return bool(not none if rising else not other_none)
        return one < other

"""A table of channels with their figures, sorted by any as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QHeaderView

from napari_neuroscope.engine.errors import in_digits
from napari_neuroscope.engine.evaluation.channel_statistics import ChannelStatistics
from napari_neuroscope.widgets.parts.table_model import Role, Table, TableModel

_HEADINGS = {
    "Channel": "The channel's number, from 0",
    "Mean": "The mean of its values",
    "Max": "Its largest value",
    "Zeros": "The share of its values that are zero",
    "Relevance": "Σ gradient · activation: its share in the score of the class, to first order",
}
HEADINGS = tuple(_HEADINGS)


class ChannelTable(Table):
    """Lists the channels of a layer; a click on a heading sorts, a double click asks for one."""

    opened = Signal(int)
    selected = Signal()
    sorted = Signal()

    def __init__(self) -> None:
        self._model = _ChannelModel()
        super().__init__(self._model, "Channels")
        self.let_sort(0)
        if (header := self.view.horizontalHeader()) is not None:
            header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
            header.sortIndicatorChanged.connect(lambda *_: self.sorted.emit())
        self.view.doubleClicked.connect(lambda index: self.opened.emit(self.row_at(index)))
        self.selection_model().selectionChanged.connect(lambda *_: self.selected.emit())

    def show_statistics(self, statistics: ChannelStatistics | None) -> None:
        """List the channels of some statistics, or none; what is selected stays so by number."""
        chosen = self.selection()
        self._model.show(statistics)
        self.view.setColumnHidden(
            HEADINGS.index("Relevance"), statistics is None or statistics.relevance is None
        )
        self.select(chosen)

    def channels(self) -> list[int]:
        """Return the numbers of all channels, in the order in which they are sorted."""
        return self.order()

    def selection(self) -> list[int]:
        """Return the numbers of the channels that are selected, in the order of the table."""
        return self.selected_rows()

    def select(self, channels: Iterable[int]) -> None:
        """Select these channels and no others."""
        self.select_rows(channels)


class _ChannelModel(TableModel):
    def __init__(self) -> None:
        super().__init__()
        self._columns: list[np.ndarray] = []
        self._dead: np.ndarray = np.zeros(0, bool)

    def show(self, statistics: ChannelStatistics | None) -> None:
        self.beginResetModel()
        self._columns, self._dead = [], np.zeros(0, bool)
        if statistics is not None:
            count, relevance = len(statistics), statistics.relevance
            self._columns = [
                np.arange(count), statistics.mean, statistics.max, statistics.zeros,
                np.full(count, np.nan) if relevance is None else relevance,
            ]  # fmt: skip
            self._dead = statistics.dead
        self.endResetModel()

    def headings(self) -> Sequence[str]:
        return HEADINGS

    def heading_tip(self, column: int) -> str:
        return _HEADINGS[HEADINGS[column]]

    def count(self) -> int:
        return len(self._dead)

    def value(self, row: int, column: int) -> float:
        return float(self._columns[column][row])

    def text(self, row: int, column: int) -> str:
        if column == 0:
            return f"{row}"
        value = self.value(row, column)
        if np.isnan(value):
            return "n/a"
        return f"{value:.0%}" if HEADINGS[column] == "Zeros" else in_digits(value)

    def look(self, row: int, column: int, role: int) -> Any:
        if role == Role.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role == Role.ForegroundRole and self._dead[row]:
            return QColor("#909090")
        if role == Role.ToolTipRole and self._dead[row]:
            return "Dead: never above zero, or the same everywhere"
        return None

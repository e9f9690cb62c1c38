"""A table of measured maps: a row a map, a column a metric, the best of each marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from qtpy.QtCore import QModelIndex, Qt, Signal
from qtpy.QtGui import QColor, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_neuroscope.engine.evaluation.evaluation import MapResults
from napari_neuroscope.engine.evaluation.map_metric import MapMetric
from napari_neuroscope.engine.evaluation.metric_registry import metrics
from napari_neuroscope.engine.evaluation.partial_evaluation import PartialEvaluation
from napari_neuroscope.widgets.parts.labels import on_line, plain_tooltip

_BEST = QColor(0, 158, 115, 110)
_FAILED = QColor(213, 94, 0, 110)
_LEAST_TITLE = 90


class MetricTable(QWidget):
    """Lists measured maps; a click on one chooses it, a double click asks to show it."""

    chosen = Signal(int)
    opened = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._table = QTableWidget(0, 1)
        self._table.setAccessibleName("Figures of the explanations")
        self._table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self._table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self._table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self._table.setItemDelegate(_MarkedCellDelegate(self._table))
        if (rows := self._table.verticalHeader()) is not None:
            rows.setVisible(False)
            rows.setDefaultSectionSize(24)
        self._table.itemSelectionChanged.connect(lambda: self.chosen.emit(self.row()))
        self._table.cellDoubleClicked.connect(lambda row, _: self.opened.emit(row))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._table)

    def row(self) -> int:
        """Return the number of the row that is chosen; −1 where none is."""
        rows = {item.row() for item in self._table.selectedItems()}
        return next(iter(rows), -1)

    def choose(self, row: int) -> None:
        """Choose a row."""
        self._table.selectRow(row)

    def cell(self, row: int, column: int) -> QTableWidgetItem:
        """Return a cell; column 0 has the titles."""
        item = self._table.item(row, column)
        assert item is not None
        return item

    def show_evaluation(self, partial: PartialEvaluation, colours: Sequence[str]) -> None:
        """Show what is known so far, each row with its colour."""
        evaluation, before = partial.evaluation(), self.row()
        with signals_blocked(self._table):
            self._table.setColumnCount(1 + len(partial.metrics))
            self._table.setRowCount(len(partial.rows))
            self._label(partial.metrics)
            for number, title in enumerate(titles_of(partial.rows)):
                self._table.setItem(number, 0, _titled(title, colours[number]))
            for column, metric in enumerate(partial.metrics, 1):
                best = evaluation.best(metric)
                count = sum(not math.isnan(row.values[metric]) for row in evaluation.rows)
                for number, row in enumerate(evaluation.rows):
                    reason = partial.reasons.get((number, metric), "")
                    is_best = number in best and count > 1
                    self._table.setItem(number, column, _figure(row, metric, reason, best=is_best))
            if 0 <= before < len(partial.rows):
                self._table.selectRow(before)
        self._fit()

    def resizeEvent(self, event: Any) -> None:
        """Give the titles the room that there is."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Give the titles the room that the figures leave; they are told in full as tooltips."""
        header, port = self._table.horizontalHeader(), self._table.viewport()
        if header is not None and port is not None:
            taken = sum(header.sectionSize(n) for n in range(1, self._table.columnCount()))
            header.resizeSection(0, max(_LEAST_TITLE, port.width() - taken))

    def _label(self, names: Sequence[str]) -> None:
        heading = QTableWidgetItem("Explanation")
        self._table.setHorizontalHeaderItem(0, heading)
        for column, name in enumerate(names, 1):
            metric = metrics[name]
            item = QTableWidgetItem(f"{metric.short} {'↑' if metric.better == 'higher' else '↓'}")
            item.setToolTip(tip_of(metric))
            self._table.setHorizontalHeaderItem(column, item)
        if (header := self._table.horizontalHeader()) is not None:
            header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
            header.setSectionResizeMode(0, QHeaderView.ResizeMode.Interactive)
            header.setMinimumSectionSize(40)


class _MarkedCellDelegate(QStyledItemDelegate):
    """Leaves a cell that is marked in its colour where its row is chosen."""

    def initStyleOption(self, option: Any, index: QModelIndex) -> None:
        super().initStyleOption(option, index)
        if index.data(Qt.ItemDataRole.BackgroundRole) is not None:
            option.state &= ~QStyle.StateFlag.State_Selected


def tip_of(metric: MapMetric) -> str:
    """Return what a metric says, and which way is better, as rich text."""
    title, summary = escape(metric.title), escape(metric.summary)
    return f"<p><b>{title}</b>: {summary}. {metric.better.capitalize()} is better.</p>"


def titles_of(rows: Sequence[MapResults]) -> list[str]:
    """Return what rows are called: the method, with what else tells them apart."""
    parts = [_title_parts(row) for row in rows]
    titles = [part["title"] for part in parts]
    for name in ("class", "layer", "options"):
        for number, part in enumerate(parts):
            alike = {row[name] for row in parts if row["title"] == part["title"]}
            if part[name] and len(alike) > 1:
                titles[number] += f" · {part[name]}"
    for number, title in enumerate(titles):
        if (count := titles[:number].count(title)) > 0:
            titles[number] = f"{title} ({count + 1})"
    return titles


def _title_parts(row: MapResults) -> dict[str, str]:
    explanation, labels = row.class_map.explanation, row.class_map.labels
    record = explanation.record
    return {
        "title": record.title,
        "class": labels.get("class", ""),
        "layer": labels.get("layer") or ", ".join(record.layers),
        "options": ", ".join(f"{name}={value}" for name, value in (record.options or {}).items()),
    }


def _titled(title: str, colour: str) -> QTableWidgetItem:
    item = QTableWidgetItem(on_line(title))
    swatch = QPixmap(10, 10)
    swatch.fill(QColor(colour))
    item.setData(Qt.ItemDataRole.DecorationRole, swatch)
    item.setToolTip(plain_tooltip(title))
    return item


def _figure(row: MapResults, metric: str, reason: str, *, best: bool) -> QTableWidgetItem:
    value = row.values[metric]
    item = QTableWidgetItem(("n/a" if reason else "…") if math.isnan(value) else f"{value:.3f}")
    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    words = [reason] if reason else []
    if not math.isnan(value):
        words.append(f"{metrics[metric].title} {value:.4g}; {metrics[metric].better} is better.")
    if best:
        font = item.font()
        font.setBold(True)
        item.setFont(font)
        item.setBackground(_BEST)
        words.append("The best of these.")
    if row.results[metric].passed is False:
        item.setText(f"⚠ {item.text()}")
        item.setBackground(_FAILED)
        words.append(f"Fails: {metrics[metric].verdict}")
    item.setToolTip(plain_tooltip("\n".join(words)))
    return item

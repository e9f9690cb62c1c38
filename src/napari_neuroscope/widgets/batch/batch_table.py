"""The images of a batch, each with what has become of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QVBoxLayout, QWidget

from napari_neuroscope.engine.batch.naming import common_folder
from napari_neuroscope.widgets.parts.labels import on_line, plain_tooltip

_HEADINGS = ("Image", "State")
_FAILED = QColor(213, 94, 0)
_Role = Qt.ItemDataRole


class BatchTable(QWidget):
    """Lists images by path, with a state each; a double click asks to show one.

    Attributes
    ----------
    opened
        The path of the image that was asked for.
    """

    opened = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._model = _Model()
        self._view = QTableView()
        self._view.setModel(self._model)
        self._view.setAccessibleName("Images of the batch")
        self._view.setToolTip("A double click shows an image with its maps.")
        self._view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self._view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self._view.setWordWrap(False)
        if (rows := self._view.verticalHeader()) is not None:
            rows.setVisible(False)
            rows.setDefaultSectionSize(22)
        if (header := self._view.horizontalHeader()) is not None:
            header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
            header.setStretchLastSection(True)
            header.resizeSection(0, 190)
        self._view.doubleClicked.connect(
            lambda index: self.opened.emit(self._model.paths[index.row()])
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._view)

    def set_paths(self, paths: Sequence[str]) -> None:
        """List these images, of which nothing is known yet."""
        self._model.set_paths(paths)

    def set_state(self, path: str, state: str, problem: str = "") -> None:
        """Show what has become of an image, or why it could not be done, as a sentence."""
        self._model.set_state(path, state, problem)

    def states(self) -> dict[str, str]:
        """Return what is shown of each image: its state, or its problem."""
        return {path: self._model.text(path) for path in self._model.paths}

    def show_row(self, path: str) -> None:
        """Scroll to an image."""
        if path in self._model.rows:
            self._view.scrollTo(self._model.index(self._model.rows[path], 0))


class _Model(QAbstractTableModel):
    def __init__(self) -> None:
        super().__init__()
        self.paths: list[str] = []
        self.rows: dict[str, int] = {}
        self._states: dict[str, tuple[str, str]] = {}
        self._root = Path()

    def set_paths(self, paths: Sequence[str]) -> None:
        self.beginResetModel()
        self.paths = list(paths)
        self.rows = {path: row for row, path in enumerate(self.paths)}
        self._states = {}
        self._root = common_folder([Path(path) for path in paths]) if paths else Path()
        self.endResetModel()

    def set_state(self, path: str, state: str, problem: str) -> None:
        row = self.rows.get(path)
        if row is None:
            return
        self._states[path] = state, problem
        self.dataChanged.emit(self.index(row, 1), self.index(row, 1))

    def text(self, path: str) -> str:
        state, problem = self._states.get(path, ("", ""))
        return problem or state

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.paths)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(_HEADINGS)

    def headerData(self, section: int, orientation: Any, role: int = _Role.DisplayRole) -> Any:
        across = orientation == Qt.Orientation.Horizontal
        return _HEADINGS[section] if across and role == _Role.DisplayRole else None

    def data(self, index: QModelIndex, role: int = _Role.DisplayRole) -> Any:
        path = self.paths[index.row()]
        if role == _Role.ToolTipRole:
            return plain_tooltip(path if index.column() == 0 else self.text(path))
        if index.column() == 0:
            if role != _Role.DisplayRole:
                return None
            inside = Path(path).is_relative_to(self._root)
            return on_line(str(Path(path).relative_to(self._root)) if inside else path)
        if role == _Role.DisplayRole:
            return on_line(self.text(path))
        if role == _Role.ForegroundRole and self._states.get(path, ("", ""))[1]:
            return _FAILED
        return None

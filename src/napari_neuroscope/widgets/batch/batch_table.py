"""The images of a batch, each with what has become of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtGui import QColor

from napari_neuroscope.engine.batch.naming import common_folder
from napari_neuroscope.widgets.parts.labels import plain_tooltip
from napari_neuroscope.widgets.parts.table_model import Role, Table, TableModel

_FAILED = QColor(213, 94, 0)
_IMAGE, _STATE = 0, 1


class BatchTable(Table):
    """Lists images by path, with a state each; a double click asks to show one.

    Attributes
    ----------
    opened
        The path of the image that was asked for.
    """

    opened = Signal(str)

    def __init__(self) -> None:
        self._model = _BatchModel()
        super().__init__(self._model, "Images of the batch", several=False)
        self.view.setToolTip("A double click shows an image with its maps.")
        self.set_widths(190)
        self.view.doubleClicked.connect(
            lambda index: self.opened.emit(self._model.paths[self.row_at(index)])
        )

    def set_paths(self, paths: Sequence[str]) -> None:
        """List these images, of which nothing is known yet."""
        self._model.set_paths(paths)

    def set_state(self, path: str, state: str, problem: str = "") -> None:
        """Show what has become of an image, or why it could not be done, as a sentence."""
        self._model.set_state(path, state, problem)

    def states(self) -> dict[str, str]:
        """Return what is shown of each image: its state, or its problem."""
        return {path: self._model.state(path) for path in self._model.paths}

    def show_row(self, path: str) -> None:
        """Scroll to an image."""
        if path in self._model.rows:
            self.view.scrollTo(self.place_of(self._model.rows[path]))


class _BatchModel(TableModel):
    def __init__(self) -> None:
        super().__init__()
        self.paths: list[str] = []
        self.rows: dict[str, int] = {}
        self._states: dict[str, tuple[str, str]] = {}
        self._root = Path()

    def headings(self) -> Sequence[str]:
        return ("Image", "State")

    def count(self) -> int:
        return len(self.paths)

    def set_paths(self, paths: Sequence[str]) -> None:
        self.beginResetModel()
        self.paths = list(paths)
        self.rows = {path: row for row, path in enumerate(self.paths)}
        self._states = {}
        self._root = common_folder([Path(path) for path in paths]) if paths else Path()
        self.endResetModel()

    def set_state(self, path: str, state: str, problem: str) -> None:
        row = self.rows.get(path)
        if row is not None:
            self._states[path] = state, problem
            self.tell_changed([row])

    def state(self, path: str) -> str:
        state, problem = self._states.get(path, ("", ""))
        return problem or state

    def value(self, row: int, column: int) -> str:
        return self.text(row, column)

    def text(self, row: int, column: int) -> str:
        path = self.paths[row]
        if column == _STATE:
            return self.state(path)
        inside = Path(path).is_relative_to(self._root)
        return str(Path(path).relative_to(self._root)) if inside else path

    def look(self, row: int, column: int, role: int) -> Any:
        path = self.paths[row]
        if role == Role.ToolTipRole:
            return plain_tooltip(path if column == _IMAGE else self.state(path))
        has_failed = bool(self._states.get(path, ("", ""))[1])
        return _FAILED if role == Role.ForegroundRole and column == _STATE and has_failed else None

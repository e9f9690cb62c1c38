"""A list of files, folders and patterns: chosen, typed, or dropped on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_neuroscope.widgets.parts.buttons import menu_button
from napari_neuroscope.widgets.parts.dialogs.question_box import ask_for_text
from napari_neuroscope.widgets.parts.plain_delegate import PlainDelegate


class PathList(QWidget):
    """Lists files, folders and patterns.

    Attributes
    ----------
    changed
        There are others now.
    """

    changed = Signal()

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what = what
        self._list = _DropList(self.add)
        self._list.setAccessibleName(what.capitalize())
        self._list.setToolTip("Drop files and folders here.")
        self._add = menu_button(
            f"Add {what}",
            {
                "Files…": self._ask_for_files,
                "A folder…": self._ask_for_folder,
                "A pattern…": self._ask_for_pattern,
            },
        )
        self._remove = QPushButton("Remove")
        self._remove.setToolTip("Take the chosen lines off this list. The files stay.")
        self._remove.clicked.connect(self.remove_chosen)
        row = QHBoxLayout()
        row.addWidget(self._add)
        row.addStretch(1)
        row.addWidget(self._remove)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self._list)
        layout.addLayout(row)

    def paths(self) -> list[str]:
        """Return what is listed."""
        items = (self._list.item(row) for row in range(self._list.count()))
        return [item.text() for item in items if item is not None]

    def add(self, paths: Sequence[str]) -> None:
        """Add some, each once."""
        listed = set(self.paths())
        new = [path for path in dict.fromkeys(paths) if path not in listed]
        if new:
            self._list.addItems(new)
            self.changed.emit()

    def remove_chosen(self) -> None:
        """Take those that are chosen off the list."""
        chosen = sorted((self._list.row(item) for item in self._list.selectedItems()), reverse=True)
        for row in chosen:
            self._list.takeItem(row)
        if chosen:
            self.changed.emit()

    def _ask_for_files(self) -> None:
        self.add(QFileDialog.getOpenFileNames(self, f"Add {self._what}")[0])

    def _ask_for_folder(self) -> None:
        if folder := QFileDialog.getExistingDirectory(self, f"Add a folder of {self._what}"):
            self.add([folder])

    def _ask_for_pattern(self) -> None:
        text = ask_for_text(
            self,
            f"Add {self._what} by a pattern",
            "Such as /data/scans/*.tif, or /data/**/*.png for all folders below:",
        )
        if text:
            self.add([text])


class PathLine(QWidget):
    """A line for a folder, typed, chosen or dropped on it.

    Attributes
    ----------
    changed
        There is another now.
    """

    changed = Signal()

    def __init__(self, what: str, empty: str, tip: str) -> None:
        super().__init__()
        self._what = what
        self._line = QLineEdit()
        self._line.setAccessibleName(what)
        self._line.setPlaceholderText(empty)
        self._line.setToolTip(tip)
        self._line.setClearButtonEnabled(True)
        self._line.textChanged.connect(self._tell)
        self._button = QPushButton("…")
        self._button.setAccessibleName(f"Choose: {what}")
        self._button.setMaximumWidth(36)
        self._button.clicked.connect(self._ask)
        self.setAcceptDrops(True)
        self._line.setAcceptDrops(False)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._line, 1)
        row.addWidget(self._button)

    def path(self) -> str:
        """Return what stands there; empty for nothing."""
        return self._line.text().strip()

    def set_path(self, path: str) -> None:
        """Put a path there."""
        self._line.setText(path)

    def _tell(self, *_: Any) -> None:
        self.changed.emit()

    def dragEnterEvent(self, event: Any) -> None:
        """Take one file or folder."""
        if len(_local_paths(event)) == 1:
            event.acceptProposedAction()

    def dropEvent(self, event: Any) -> None:
        """Put it there."""
        (path,) = _local_paths(event)
        self.set_path(path)
        event.acceptProposedAction()

    def _ask(self) -> None:
        if folder := QFileDialog.getExistingDirectory(self, self._what, self.path()):
            self.set_path(folder)


class _DropList(QListWidget):
    """A list that takes files and folders that are dropped on it."""

    def __init__(self, take: Any) -> None:
        super().__init__()
        self._take = take
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setUniformItemSizes(True)
        self.setItemDelegate(PlainDelegate(self))
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAcceptDrops(True)
        self.setMinimumHeight(56)

    def sizeHint(self) -> QSize:
        return QSize(240, 72)

    def dragEnterEvent(self, event: Any) -> None:
        if _local_paths(event):
            event.acceptProposedAction()

    def dragMoveEvent(self, event: Any) -> None:
        event.acceptProposedAction()

    def dropEvent(self, event: Any) -> None:
        self._take(_local_paths(event))
        event.acceptProposedAction()


def _local_paths(event: Any) -> list[str]:
    return [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]

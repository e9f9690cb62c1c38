"""The names and colours of a network's classes, to edit or to read from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QColorDialog,
    QFileDialog,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.spec.class_files import SUFFIXES, read_classes
from napari_neuroscope.engine.spec.model_spec import ClassSpec, ModelSpec
from napari_neuroscope.widgets.parts.form import button, column, row
from napari_neuroscope.widgets.parts.notices import tell_error
from napari_neuroscope.widgets.parts.plain_delegate import PlainDelegate

_NAME, _COLOUR = 0, 1


class ClassTable(QWidget):
    """A row a class: its number, its name to type and its colour to click.

    Attributes
    ----------
    table
        The cells: names in the first column, colours in the second.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._named = False
        self.table = QTableWidget(0, 2)
        self.table.setHorizontalHeaderLabels(["Name", "Colour"])
        self.table.setAccessibleName("Names and colours of the classes")
        if (header := self.table.horizontalHeader()) is not None:
            header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
            header.setSectionResizeMode(_COLOUR, QHeaderView.ResizeMode.Fixed)
            header.resizeSection(_COLOUR, 64)
        self.table.setItemDelegate(PlainDelegate(self.table))
        self.table.setMinimumHeight(120)
        self.table.itemChanged.connect(self._edited)
        self.table.cellDoubleClicked.connect(self._ask_for_colour)
        from_file = button(
            "From a file…",
            "Text with a name a line, YAML or JSON, with colours where the file has them.",
            self._ask_for_file,
        )
        numbers_only = button(
            "Numbers only",
            "Forget the names: classes are then called by their numbers.",
            lambda: self._take(()),
        )
        column(self, self.table, row(from_file, numbers_only), margin=0)
        self._count = 0

    def sizeHint(self) -> QSize:
        return QSize(240, 180)

    def show_classes(self, classes: tuple[ClassSpec, ...], count: int) -> None:
        """Show classes, those without a name by their numbers."""
        self._named, self._count = bool(classes), count
        spec = ModelSpec(classes=classes)
        rows = max(count, len(classes))
        with signals_blocked(self.table):
            self.table.setRowCount(rows)
            self.table.setVerticalHeaderLabels([str(n) for n in range(rows)])
            for n in range(rows):
                name = QTableWidgetItem(spec.class_name(n))
                colour = QTableWidgetItem()
                colour.setFlags(Qt.ItemFlag.ItemIsEnabled)
                colour.setToolTip("Double-click chooses another colour.")
                is_given = n < len(classes) and classes[n].colour is not None
                colour.setData(Qt.ItemDataRole.UserRole, spec.colour(n) if is_given else None)
                colour.setBackground(QColor(*spec.colour(n)))
                self.table.setItem(n, _NAME, name)
                self.table.setItem(n, _COLOUR, colour)

    def read(self) -> list[dict[str, Any]]:
        """Return the classes as plain data; none where no name was given.

        Raises
        ------
        ValueError
            Where a name is empty.
        """
        if not self._named:
            return []
        rows = []
        for n in range(self.table.rowCount()):
            name = self._cell(n, _NAME).text().strip()
            if not name:
                raise ValueError(f"class {n} needs a name")
            colour = self._cell(n, _COLOUR).data(Qt.ItemDataRole.UserRole)
            rows.append({"name": name, "colour": colour})
        return rows

    def _cell(self, row: int, column: int) -> QTableWidgetItem:
        item = self.table.item(row, column)
        assert item is not None
        return item

    def open_file(self, path: Path) -> None:
        """Take the names, and colours, of a file.

        Raises
        ------
        NeuroscopeError
            Where the file names none.
        """
        self._take(read_classes(path))

    def _take(self, classes: tuple[ClassSpec, ...]) -> None:
        self.show_classes(classes, self._count)
        self.changed.emit()

    def _edited(self, *_: Any) -> None:
        self._named = True
        self.changed.emit()

    def _ask_for_file(self) -> None:
        patterns = " ".join(f"*{suffix}" for suffix in SUFFIXES)
        chosen, _ = QFileDialog.getOpenFileName(
            self, "Names of the classes", "", f"Names ({patterns});;All files (*)"
        )
        if not chosen:
            return
        try:
            self.open_file(Path(chosen))
        except NeuroscopeError as error:
            tell_error(str(error))

    def _ask_for_colour(self, row: int, column: int) -> None:
        if column != _COLOUR:
            return
        item = self._cell(row, _COLOUR)
        chosen = QColorDialog.getColor(item.background().color(), self, "Colour of the class")
        if chosen.isValid():
            with signals_blocked(self.table):
                item.setBackground(chosen)
                item.setData(Qt.ItemDataRole.UserRole, chosen.getRgb()[:3])
            self._edited()

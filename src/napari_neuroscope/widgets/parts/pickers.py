"""Lists to choose from: searchable, several at once, and options of a method."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args, get_origin

from magicgui.widgets import Container, LineEdit, Widget, create_widget
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QSearchableListWidget
from superqt.utils import signals_blocked

from napari_neuroscope.engine.methods.interface import Method, Option
from napari_neuroscope.engine.methods.interface.shared_options import PerAxis
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.widgets.parts.labels import on_line
from napari_neuroscope.widgets.parts.method_tips import option_tip


class PickList(QWidget):
    """A list that can be searched, from which several can be chosen.

    Parameters
    ----------
    what
        What is chosen, for the search field and for screen readers.
    quick
        Buttons: a word, and which of the rows (their values) it chooses.

    Attributes
    ----------
    search, rows
        The field for words to search, and the list.
    changed
        Others are chosen.
    """

    changed = Signal(tuple)

    def __init__(self, what: str, quick: dict[str, Callable[[list[Any]], Iterable[Any]]]) -> None:
        super().__init__()
        # superqt is not typed.
        self._list: Any = QSearchableListWidget()  # type: ignore[no-untyped-call]
        if (inner := self._list.layout()) is not None:
            inner.setContentsMargins(0, 0, 0, 0)
            inner.setSpacing(2)
        self.search: QLineEdit = self._list.filter_widget
        self.search.setPlaceholderText(f"Search {what}…")
        self.search.setClearButtonEnabled(True)
        self.search.setAccessibleName(f"Search {what}")
        self.rows: QListWidget = self._list.list_widget
        self.rows.setAccessibleName(what)
        self.rows.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.rows.setUniformItemSizes(True)
        self.rows.setMinimumHeight(84)
        self.rows.setToolTip("Ctrl- or shift-click chooses several.")
        self.rows.itemSelectionChanged.connect(lambda: self.changed.emit(self.chosen()))
        buttons = QHBoxLayout()
        for word, which in quick.items():
            button = QPushButton(word)
            button.clicked.connect(lambda _=False, which=which: self.choose(which(self.values())))
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self._list)
        layout.addLayout(buttons)

    def sizeHint(self) -> QSize:
        return QSize(240, 150)

    def set_rows(self, rows: Sequence[tuple[Any, str, str, bool]]) -> None:
        """Offer rows of (value, text, tooltip, usable), keeping what is chosen where it is left.

        A tooltip is HTML where it looks like that: words of a file are made plain before.
        """
        before = self.chosen()
        with signals_blocked(self.rows):
            self.rows.clear()
            self.rows.addItems([on_line(text) for _, text, _, _ in rows])
            for item, (value, _, tip, usable) in zip(self._items(), rows, strict=True):
                item.setData(Qt.ItemDataRole.UserRole, value)
                item.setToolTip(tip)
                if not usable:
                    item.setFlags(Qt.ItemFlag.NoItemFlags)
                item.setSelected(usable and value in before)
        self._list.update_visible(self.search.text())
        if self.chosen() != before:
            self.changed.emit(self.chosen())

    def _items(self) -> list[QListWidgetItem]:
        items = (self.rows.item(row) for row in range(self.rows.count()))
        return [item for item in items if item is not None]

    def values(self) -> list[Any]:
        """Return the values of the rows that can be chosen and are not filtered out."""
        return [
            item.data(Qt.ItemDataRole.UserRole)
            for item in self._items()
            if item.flags() & Qt.ItemFlag.ItemIsSelectable and not item.isHidden()
        ]

    def chosen(self) -> tuple[Any, ...]:
        """Return the values that are chosen, in the order of the list."""
        items = (item for item in self._items() if item.isSelected())
        return tuple(item.data(Qt.ItemDataRole.UserRole) for item in items)

    def choose(self, values: Iterable[Any]) -> None:
        """Choose these values and no others."""
        wanted = set(values)
        with signals_blocked(self.rows):
            for item in self._items():
                item.setSelected(item.data(Qt.ItemDataRole.UserRole) in wanted)
                if item.isSelected():
                    self.rows.scrollToItem(item)
        self.changed.emit(self.chosen())


class NumbersEdit(LineEdit):
    """A line of numbers with commas between them; its value is a tuple.

    Text that is no list of numbers is handed on as it is, for who takes it to refuse.
    """

    def get_value(self) -> Any:
        text = super().get_value()
        try:
            return tuple(_number(word) for word in text.split(",") if word.strip())
        except ValueError:
            return text

    @property
    def value(self) -> Any:
        return self.get_value()

    @value.setter
    def value(self, value: Any) -> None:
        numbers = (value,) if isinstance(value, int | float) else value
        words = value if isinstance(value, str) else ", ".join(f"{number:g}" for number in numbers)
        self._widget._mgui_set_value(words)


class OneOrMoreEdit(NumbersEdit):
    """A line of one number, or of several with commas between them."""

    def get_value(self) -> Any:
        numbers = super().get_value()
        return numbers[0] if len(numbers) == 1 and isinstance(numbers, tuple) else numbers


def _number(word: str) -> float:
    number = float(word)
    return int(number) if number.is_integer() else number


def _option_widget(option: Option) -> Any:
    named: dict[str, Any] = {"name": option.name, "label": option.title}
    tip = option_tip(option)
    if get_origin(option.annotation) is tuple:
        return NumbersEdit(value=option.default, tooltip=tip, **named)
    if option.annotation == PerAxis:
        return OneOrMoreEdit(value=option.default, tooltip=tip, **named)
    more: dict[str, Any] = {"tooltip": tip, **option.limits}
    if (values := option.choices or get_args(option.annotation)) and _are_words(values):
        more["choices"] = [(_in_words(option, value), value) for value in values]
    return create_widget(
        value=option.default,
        annotation=option.annotation,
        is_result=False,
        options=more,
        **named,
    )


def _are_words(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _in_words(option: Option, value: str) -> str:
    """Return what people read for a value: its own words, or the title of the map that it names."""
    title = methods[value].title if value in methods else value.replace("_", " ")
    return option.words.get(value, title)


def options_widget(method: Method, changed: Callable[[dict[str, Any]], None]) -> Container[Widget]:
    """Return a widget for a method's own options, built of its signature."""
    container: Container[Widget] = Container(labels=True)
    for option in method.options.values():
        widget = None
        # An option that has no widget is for code, and keeps its default here.
        with contextlib.suppress(ValueError, TypeError):
            widget = _option_widget(option)
        if widget is not None:
            container.append(widget)
    container.changed.connect(lambda: changed(container.asdict()))
    return container

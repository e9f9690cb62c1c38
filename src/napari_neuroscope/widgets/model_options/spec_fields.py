"""The fields of a form for a spec: a widget for each part of it, and how that is shown and read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QLineEdit, QWidget

from napari_neuroscope.engine.spec.model_spec import ModelSpec
from napari_neuroscope.widgets.model_options.normalization import NormalizationEditor
from napari_neuroscope.widgets.parts.labels import plain_tooltip

_WRONG = "border: 1px solid #d55e00;"


class SpecField:
    """One part of a spec: where it stands there, its widget, and how to read and show it.

    Attributes
    ----------
    applies
        Whether it means anything beside the others; None: always. It is shown only where it does.
    """

    def __init__(
        self,
        place: tuple[str, ...],
        widget: QWidget,
        show: Callable[[Any], None],
        read: Callable[[], Any],
    ) -> None:
        self.place, self.widget, self.show, self.read = place, widget, show, read
        self.applies: Callable[[], bool] | None = None

    def of(self, spec: ModelSpec) -> Any:
        """Return its value in a spec."""
        value: Any = spec
        for name in self.place:
            value = getattr(value, name)
        return value

    def put(self, raw: dict[str, Any], value: Any) -> None:
        """Set its value in the plain data of a spec."""
        self._part_of(raw)[self.place[-1]] = value

    def leave_out(self, raw: dict[str, Any]) -> None:
        """Take its value out of the plain data of a spec."""
        self._part_of(raw).pop(self.place[-1], None)

    def _part_of(self, raw: dict[str, Any]) -> dict[str, Any]:
        for name in self.place[:-1]:
            raw = raw.setdefault(name, {})
        return raw

    def mark(self, *, wrong: bool) -> None:
        """Show whether what it says makes sense."""
        self.widget.setStyleSheet(_WRONG if wrong else "")

    def show_where_it_applies(self) -> None:
        """Hide it, with its label, where it means nothing."""
        shown = self.applies is None or self.applies()
        self.widget.setVisible(shown)
        parent = self.widget.parentWidget()
        form = None if parent is None else parent.layout()
        label = form.labelForField(self.widget) if isinstance(form, QFormLayout) else None
        if label is not None:
            label.setVisible(shown)


class SpecFields(list[SpecField]):
    """The fields of a form, made one after the other.

    Parameters
    ----------
    edited
        Is called with each field that is changed.
    """

    def __init__(self, edited: Callable[[SpecField], None]) -> None:
        super().__init__()
        self._edited = edited

    def at(self, *place: str) -> SpecField:
        """Return the field at a place of the spec."""
        return next(field for field in self if field.place == place)

    def add(
        self,
        place: tuple[str, ...],
        widget: QWidget,
        changed: Any,
        show: Callable[[Any], None],
        read: Callable[[], Any],
    ) -> SpecField:
        """Add a field of a widget that tells by the signal `changed` that it is another."""
        field = SpecField(place, widget, show, read)
        changed.connect(lambda: self._edited(field))
        self.append(field)
        return field

    def line(
        self,
        place: tuple[str, ...],
        text: Callable[[Any], str],
        value: Callable[[str], Any],
        empty: str,
        tip: str,
    ) -> QLineEdit:
        """Add a line of text; `empty` stands in it where nothing is said."""
        line = QLineEdit()
        line.setPlaceholderText(empty)
        line.setToolTip(plain_tooltip(tip))
        self.add(
            place,
            line,
            line.textChanged,
            lambda shown: line.setText("" if shown is None else text(shown)),
            lambda: value(line.text().strip()),
        )
        return line

    def choice(self, place: tuple[str, ...], items: dict[Any, str], tip: str) -> QComboBox:
        """Add a choice of one of some values, each of which is shown by words."""
        box = QComboBox()
        box.setToolTip(plain_tooltip(tip))
        for value, words in items.items():
            box.addItem(words, value)
        self.add(
            place,
            box,
            box.currentIndexChanged,
            lambda shown: box.setCurrentIndex(list(items).index(shown)),
            lambda: list(items)[box.currentIndex()],
        )
        return box

    def check(self, place: tuple[str, ...], words: str, tip: str) -> QCheckBox:
        """Add what is or isn't so."""
        box = QCheckBox(words)
        box.setToolTip(plain_tooltip(tip))
        self.add(place, box, box.toggled, box.setChecked, box.isChecked)
        return box

    def normalization(self) -> NormalizationEditor:
        """Add how images are normalised."""
        editor = NormalizationEditor()
        self.add(("input", "normalization"), editor, editor.changed, editor.show_value, editor.read)
        return editor


def or_none(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a way to read a text of which an empty one means None."""
    return lambda text: read(text) if text else None

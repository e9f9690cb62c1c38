"""The inspector's choice of slices, where an image has more axes than the network takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QSpinBox, QVBoxLayout, QWidget

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explain.crop import is_large
from napari_neuroscope.engine.images.stack import Stack
from napari_neuroscope.session.question import Question
from napari_neuroscope.session.session import Session
from napari_neuroscope.session.stack_extent import Planes, stack_of
from napari_neuroscope.viewer.image.layer_regions import LayerRegion
from napari_neuroscope.viewer.image.shown_image import ShownImage
from napari_neuroscope.widgets.parts.jobs.long_work import duration
from napari_neuroscope.widgets.parts.labels import PlainLabel, note, plain_tooltip
from napari_neuroscope.widgets.parts.window.wheel_guard import guard_from_wheel

_CHOICES = {
    "this": ("This slice", "What the sliders show; with “Update as I choose” the map follows."),
    "range": ("A range", "The slices from one to another, both with them."),
    "all": (
        "All slices",
        "The map grows in its layer, slice by slice; Cancel keeps what there is.",
    ),
}


class PlanesForm(QWidget):
    """Chooses which slices of an image are explained; seen only where there are several.

    Parameters
    ----------
    viewer, session
        The dock's.

    Attributes
    ----------
    title
        What stands beside it.
    offered
        Whether there is a choice at all.
    changed
        Something else is chosen.
    """

    changed = Signal()

    def __init__(self, viewer: Any, session: Session) -> None:
        super().__init__()
        self._viewer, self._session = viewer, session
        self._stack: Stack | None = None
        self.offered = True
        self.title = PlainLabel("Slices")
        self.box = QComboBox()
        self.box.setAccessibleName("Slices")
        for row, (value, (text, tip)) in enumerate(_CHOICES.items()):
            self.box.addItem(text, value)
            self.box.setItemData(row, tip, 3)
        tips = "\n\n".join(f"{text}: {tip}" for text, tip in _CHOICES.values())
        self.box.setToolTip(plain_tooltip(tips))
        self.box.currentIndexChanged.connect(self._choose)
        self._ends: list[tuple[QSpinBox, QSpinBox]] = []
        self._rows = QWidget()
        self._grid = QGridLayout(self._rows)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setColumnStretch(1, 1)
        self._grid.setColumnStretch(3, 1)
        self.note = note()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for widget in (self.box, self._rows, self.note):
            layout.addWidget(widget)
        self._show()

    # --- what is chosen ---

    def choose(self, slices: str) -> None:
        """Choose "this", "range" or "all"."""
        self.box.setCurrentIndex(self.box.findData(slices))

    def choose_range(self, axis: str, first: int, last: int) -> None:
        """Choose the slices along an axis from one to another, both with them."""
        if self._stack is None:
            raise NeuroscopeError("Choose a network and an image of several slices first.")
        start, end = self._ends[self._stack.axes.index(axis)]
        self.choose("range")
        # Neither may pass the other on its way.
        end.setValue(max(last, end.value()))
        start.setValue(first)
        end.setValue(last)

    def choose_ranges(self, chosen: Sequence[range]) -> bool:
        """Choose some slices along each axis; return whether that is what is chosen now."""
        if self._stack is None:
            return False
        if tuple(chosen) == self._stack.chosen():
            self.choose("all")
        else:
            for axis, steps in zip(self._stack.axes, chosen, strict=True):
                self.choose_range(axis, steps.start, steps[-1])
        return self.asks_several() and self._chosen() == tuple(chosen)

    def question(self, question: Question) -> Question:
        """Return a question about the shown slice as one about what is chosen.

        Raises
        ------
        NeuroscopeError
            Where several slices can't be asked about so.
        """
        if not self.asks_several():
            return question
        if problem := self.problem():
            raise NeuroscopeError(problem)
        return question.about(Planes(self._chosen()))

    def asks_several(self) -> bool:
        """Whether not only the shown slice is explained."""
        return self._stack is not None and self.box.currentData() != "this"

    def chosen_ranges(self) -> tuple[range, ...]:
        """Return which slices are asked about along each axis of the stack; () for the shown one."""
        return self._chosen() if self.asks_several() else ()

    def _chosen(self) -> tuple[range, ...]:
        assert self._stack is not None
        if self.box.currentData() == "all":
            return self._stack.chosen()
        return tuple(range(first.value(), last.value() + 1) for first, last in self._ends)

    def problem(self) -> str:
        """Return why the slices that are chosen can't be asked about; "" where they can."""
        session = self._session
        if not self.asks_several():
            return ""
        network = session.network
        by_layer = isinstance(session.region, LayerRegion) or session.region == "ground_truth"
        if network is not None and network.spec.task == "segmentation" and by_layer:
            return (
                "A region from a layer is of this slice alone; for several, choose everywhere, or "
                "where the class is predicted."
            )
        if session.extent != "whole":
            return "Of several slices the whole is explained; choose it under Extent."
        try:
            large = network is not None and is_large(
                network, session.pixels(network, self._viewer).shape
            )
        except NeuroscopeError as error:
            return str(error)
        if large:
            return "Slices as large as these are explained one at a time; choose this slice."
        return ""

    # --- what is seen ---

    def refresh(self) -> bool:
        """Offer the slices of the image; return whether several are chosen."""
        self._take(self._find() if self.offered else None)
        several = self.asks_several()
        self._tell(self._in_words() if several and not self.problem() else "")
        return several

    def _find(self) -> Stack | None:
        layer, network = self._session.image, self._session.network
        if layer is None or network is None or layer not in self._viewer.layers:
            return None
        try:
            stack = stack_of(ShownImage.of(layer, self._viewer), layer, network)
        except NeuroscopeError:
            # The image has too few axes, which the dock says by itself.
            return None
        return stack if math.prod(stack.shape) > 1 else None

    def _take(self, stack: Stack | None) -> None:
        old, self._stack = self._stack, stack
        if stack is None or (
            old is not None and (old.axes, old.shape) == (stack.axes, stack.shape)
        ):
            self._show()
            return
        while self._grid.count():
            item = self._grid.takeAt(0)
            if item is not None and (widget := item.widget()) is not None:
                widget.setParent(None)
                widget.deleteLater()
        self._ends = []
        for row, (axis, size) in enumerate(zip(stack.axes, stack.shape, strict=True)):
            first, last = _number(f"First {axis}", size, 0), _number(f"Last {axis}", size, size - 1)
            first.valueChanged.connect(last.setMinimum)
            last.valueChanged.connect(first.setMaximum)
            for box in (first, last):
                box.valueChanged.connect(self.changed)
            for column, widget in enumerate((PlainLabel(axis), first, PlainLabel("to"), last)):
                self._grid.addWidget(widget, row, column)
            self._ends.append((first, last))
        self._show()

    def _choose(self) -> None:
        self._show()
        self.changed.emit()

    def _show(self) -> None:
        for widget in (self.title, self):
            widget.setVisible(self._stack is not None)
        self._rows.setVisible(self._stack is not None and self.box.currentData() == "range")

    def _in_words(self) -> str:
        assert self._stack is not None
        count, whole = math.prod(map(len, self._chosen())), math.prod(self._stack.shape)
        words = f"{count:,} of {whole:,} slices" if count < whole else f"{whole:,} slices"
        if seconds := self._session.seconds():
            words += f", {duration(count * seconds)}"
        words += "."
        if self._session.live:
            words += " It begins with Explain, not as you choose."
        return words

    def _tell(self, words: str) -> None:
        if words != self.note.text():
            self.note.setText(words)
        self.note.setVisible(bool(words))


def _number(name: str, size: int, value: int) -> QSpinBox:
    box = QSpinBox()
    box.setRange(0, size - 1)
    box.setValue(value)
    box.setAccessibleName(name)
    guard_from_wheel(box)
    return box

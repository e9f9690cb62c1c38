"""The fields of a spec, in sections that scroll, and the spec that they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QScrollArea, QVBoxLayout, QWidget

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from napari_neuroscope.widgets.model_options.class_table import ClassTable
from napari_neuroscope.widgets.model_options.resizing_fields import RESIZING, ResizingFields
from napari_neuroscope.widgets.model_options.spec_fields import SpecField, SpecFields, or_none
from napari_neuroscope.widgets.model_options.spec_texts import (
    numbers_of,
    numbers_text,
    range_of,
    range_text,
    size_of,
    size_text,
)
from napari_neuroscope.widgets.parts.form import form, section

_TASKS = {"classification": "Classification", "segmentation": "Segmentation"}
_ORDERS = {None: "Found out", "rgb": "RGB", "bgr": "BGR", "gray": "Gray", "n": "Other channels"}
_ENDS = {None: "Found out", "none": "Scores (logits)", "softmax": "Softmax", "sigmoid": "Sigmoid"}


class SpecForm(QScrollArea):
    """Shows a spec, and says how it was edited.

    Parameters
    ----------
    class_count
        Returns how many classes the network is known to have; 0 where that is not known.

    Attributes
    ----------
    edited
        The user has changed a field; with what is wrong with it, or "".
    touched
        Where the fields stand in a spec that the user has changed.
    fields
        The fields.
    class_table
        That of the classes.
    """

    edited = Signal(str)

    def __init__(self, class_count: Callable[[], int]) -> None:
        super().__init__()
        self._class_count = class_count
        self._showing = False
        self.touched: set[tuple[str, ...]] = set()
        self.fields = SpecFields(self._take)
        inside = QWidget()
        sections = QVBoxLayout(inside)
        sections.setContentsMargins(0, 0, 0, 0)
        for title, rows in (
            ("Task and image", self._task_fields()),
            ("Input of the network", self._input_fields()),
            ("Output of the network", self._output_fields()),
            ("Classes", self._class_fields()),
        ):
            part = section(title, _named_form(rows))
            part.expand(animate=False)
            sections.addWidget(part)
        sections.addStretch(1)
        self.setWidget(inside)
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.least_width = inside.minimumSizeHint().width()

    # --- the fields ---

    def _task_fields(self) -> dict[str, QWidget]:
        return {
            "Task": self.fields.choice(
                ("task",), _TASKS,
                "Whether the network answers one class for an image, or one for each of its pixels.",
            ),
            "Image axes": self.fields.line(
                ("image_axes",), str, or_none(str.lower), "found out",
                "The axes of your images: y, x, z and c(hannel), such as yx, yxc or cyx.",
            ),
            "Pixel size": self.fields.line(
                ("pixel_size",), numbers_text, numbers_of, "unknown",
                "The edge lengths of a pixel on which the network was trained, in micrometres.",
            ),
        }  # fmt: skip

    def _input_fields(self) -> dict[str, QWidget]:
        self._resizing = ResizingFields(self.fields)
        return {
            "Axes": self.fields.line(
                ("input", "axes"), str, str.lower, "bcyx",
                "The order of the network's own input axes: b(atch), c(hannel), z, y, x.",
            ),
            "Size": self.fields.line(
                ("input", "size"), size_text, self._size, "any",
                "any, a fixed size such as 224 × 224, or sizes such as 32 + n · 16.",
            ),
            **self._resizing.rows,
            "Channels": self.fields.choice(
                ("input", "order"), _ORDERS,
                "What the network's channels are, in its own order.",
            ),
            "Values": self.fields.line(
                ("input", "value_range"), range_text, range_of, "auto",
                "Which values of the image become 0 and 1: auto (the range of its type), data "
                "(its own lowest and highest), or two numbers such as 0, 4095.",
            ),
            "Normalise": self.fields.normalization(),
        }  # fmt: skip

    def _output_fields(self) -> dict[str, QWidget]:
        return {
            "Output": self.fields.line(
                ("output", "index"), str, or_none(lambda t: int(t) if t.isdecimal() else t),
                "found out", "Which of several outputs: its name or number.",
            ),
            "Axes": self.fields.line(
                ("output", "axes"), str, or_none(str.lower), "found out",
                "The order of the output's axes, such as bcyx or byxc.",
            ),
            "Ends in": self.fields.choice(
                ("output", "activation"), _ENDS,
                "Whether the network's answers are scores, or probabilities already.",
            ),
            "": self.fields.check(
                ("output", "multi_label"), "Classes are independent of each other",
                "Probabilities are then a sigmoid of each score, not a softmax over all.",
            ),
        }  # fmt: skip

    def _class_fields(self) -> dict[str, QWidget]:
        self.class_table = table = ClassTable()
        self.fields.add(
            ("classes",), table, table.changed,
            lambda classes: table.show_classes(classes, self._class_count()), table.read,
        )  # fmt: skip
        return {
            "": table,
            "Ignore label": self.fields.line(
                ("ignore_label",), str, or_none(int), "none",
                "The value in ground truth that counts as no class, such as 255.",
            ),
        }  # fmt: skip

    def _size(self, text: str) -> Any:
        axes = self.fields.at("input", "axes").read()
        return size_of(text, sum(axis in "zyx" for axis in axes))

    # --- what they show and say ---

    def show_spec(self, spec: ModelSpec) -> None:
        """Show a spec in all fields."""
        self._showing = True
        try:
            for field in self.fields:
                field.show(field.of(spec))
                field.mark(wrong=False)
            self._resizing.lay_out()
        finally:
            self._showing = False

    def _take(self, field: SpecField) -> None:
        if self._showing:
            return
        self.touched.add(field.place)
        if field.place in RESIZING:
            self._resizing.lay_out()
        try:
            field.read()
        except ValueError as error:
            field.mark(wrong=True)
            self.edited.emit(f"{field.widget.accessibleName()}: {error}.")
        else:
            field.mark(wrong=False)
            self.edited.emit("")

    def asked(self, spec: ModelSpec) -> ModelSpec:
        """Return a spec with what the user has changed of it.

        Raises
        ------
        NeuroscopeError
            Where a field says nothing that makes sense.
        """
        raw = spec.model_dump(exclude_unset=True)
        raw["classes"] = [entry.model_dump() for entry in spec.classes]
        for field in self.fields:
            touched = field.place in self.touched
            if field.applies is None and not touched:
                continue
            if field.applies is not None and not field.applies():
                if self.touched.intersection(RESIZING):
                    field.leave_out(raw)
                continue
            try:
                value = field.read()
            except ValueError as error:
                field.mark(wrong=True)
                raise NeuroscopeError(f"{field.widget.accessibleName()}: {error}.") from error
            field.mark(wrong=False)
            # What applies again counts as it stands there.
            if touched or value != field.of(spec):
                field.put(raw, value)
        return ModelSpec.parse(raw, where="What is asked")


def _named_form(rows: dict[str, QWidget]) -> QWidget:
    """Return a form whose fields screen readers call by their labels."""
    for label, field in rows.items():
        if label:
            field.setAccessibleName(label)
    inside = QWidget()
    form(inside, rows)
    return inside

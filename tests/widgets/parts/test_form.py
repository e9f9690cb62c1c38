"""Rows, columns and forms as docks lay them out."""

from __future__ import annotations

from qtpy.QtWidgets import QFormLayout, QLabel, QWidget

from napari_neuroscope.widgets.parts.form import button, choice, column, form, number_box, row


def test_a_form_has_labels_whole_rows_and_fields_below_another(qtbot) -> None:
    holder, fields = QWidget(), [QWidget() for _ in range(3)]
    qtbot.addWidget(holder)
    layout = form(holder, {"Name": fields[0], " below": fields[1], "": fields[2]})
    label = layout.labelForField(fields[0])
    assert isinstance(label, QLabel)
    assert label.text() == "Name"
    below = layout.labelForField(fields[1])
    assert below is None or below.text() == ""
    assert layout.itemAt(2, QFormLayout.ItemRole.SpanningRole).widget() is fields[2]


def test_one_part_takes_the_room_that_is_left(qtbot) -> None:
    holder, wide, high = QWidget(), QWidget(), QWidget()
    qtbot.addWidget(holder)
    across = row(QWidget(), wide, stretch=wide)
    down = column(holder, across, high, stretch=high, margin=3)
    assert [across.stretch(n) for n in range(2)] == [0, 1]
    assert [down.stretch(n) for n in range(2)] == [0, 1]
    assert down.contentsMargins().left() == 3


def test_fields_have_names_values_and_bounds(qtbot) -> None:
    clicks: list[int] = []
    pressed = button("Go", "Goes.", lambda: clicks.append(1))
    box = choice("Colour", {None: "None", "r": "Red"}, "Which.")
    number = number_box("Count", 1, 9, 4)
    for widget in (pressed, box, number):
        qtbot.addWidget(widget)
    pressed.click()
    assert clicks == [1]
    assert pressed.toolTip() == "Goes."
    assert (box.accessibleName(), box.itemText(1), box.itemData(1)) == ("Colour", "Red", "r")
    number.setValue(12)
    assert number.value() == 9

"""Tables of docks: sorted as numbers, with what has none last; rows chosen and read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_neuroscope.widgets.parts.table_model import Role, Table, TableModel, Value


class Fruits(TableModel):
    """Names, with weights of which some are not known."""

    rows: Sequence[tuple[str, float | None]] = (
        ("<b>plum</b>", 10.0), ("apple", 9.0), ("grape", None), ("melon", float("nan")),
        ("pear", 100.0),
    )  # fmt: skip

    def headings(self) -> Sequence[str]:
        return "Name", "Weight"

    def heading_tip(self, column: int) -> str | None:
        return "in grams < 1 kg" if column else None

    def count(self) -> int:
        return len(self.rows)

    def value(self, row: int, column: int) -> Value:
        return self.rows[row][column]

    def text(self, row: int, column: int) -> str | None:
        value = self.rows[row][column]
        return None if value is None else str(value)

    def look(self, row: int, column: int, role: int) -> Any:
        return "heavy" if role == Role.ToolTipRole and self.rows[row][1] == 100 else None


@pytest.fixture
def table(qtbot) -> Table:
    made = Table(Fruits(), "Fruits")
    qtbot.addWidget(made)
    made.let_sort(-1)
    return made


@pytest.mark.parametrize("descending", [False, True])
def test_rows_sort_as_numbers_and_what_has_none_comes_last(table: Table, descending: bool) -> None:
    assert table.order() == [0, 1, 2, 3, 4]
    table.sort_by("Weight", descending=descending)
    assert table.order()[:3] == ([4, 0, 1] if descending else [1, 0, 4])
    assert set(table.order()[3:]) == {2, 3}
    table.sort_by("Name", descending=descending)
    assert table.texts("Name") == sorted(table.texts("Name"), reverse=descending)


def test_rows_are_selected_by_their_numbers_and_stay_so_when_sorted(table: Table) -> None:
    table.select_rows([1, 4, 99])
    assert table.selected_rows() == [1, 4]
    table.sort_by("Weight", descending=True)
    assert table.selected_rows() == [4, 1], "in the order in which they are seen"
    assert table.row_at(table.place_of(0)) == 0


def test_what_cells_and_headings_show(table: Table) -> None:
    model = table.view.model()
    across = Qt.Orientation.Horizontal
    assert [model.headerData(n, across) for n in (0, 1)] == ["Name", "Weight"]
    assert model.headerData(0, across, Role.ToolTipRole) is None
    assert "&lt;" in model.headerData(1, across, Role.ToolTipRole), "plain, not HTML"
    assert model.index(0, 0).data() == "<b>plum</b>"
    assert model.index(2, 1).data() is None
    assert model.index(4, 0).data(Role.ToolTipRole) == "heavy"
    assert model.index(0, 0).data(Role.ToolTipRole) is None
    assert np.isnan(float(model.index(3, 1).data()))


def test_rows_that_have_changed_are_drawn_anew(table: Table, qtbot) -> None:
    model = table.view.model()
    with qtbot.waitSignal(model.dataChanged) as changed:
        model.sourceModel().tell_changed([2, 3])
    first, last = changed.args[:2]
    assert (first.row(), first.column(), last.row(), last.column()) == (2, 0, 3, 1)

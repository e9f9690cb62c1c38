"""The classes of a layer's labels are read from their names, whichever number shows a class."""

from __future__ import annotations

import numpy as np
import pandas
import pytest

from napari_neuroscope.engine.explanation.overlays.class_labels import (
    class_of_label,
    classes_of_labels,
)

NAMES = ("sky", "road", "car")


@pytest.mark.parametrize("first", [0, 1, 5])
def test_whichever_number_shows_a_class(first: int) -> None:
    classes = np.array([[0, 1, 2], [2, -1, 0]])
    shown = np.where(classes < 0, -1, classes + first)
    features = {"index": range(first, first + 3), "class": NAMES}
    np.testing.assert_array_equal(classes_of_labels(shown, features, NAMES), classes)


def test_rows_are_labels_where_there_is_no_index() -> None:
    assert class_of_label({"class": NAMES}) == dict(enumerate(NAMES))
    assert class_of_label({"size": [1, 2]}) == {}


def test_rows_without_a_name_are_of_no_class() -> None:
    table = pandas.DataFrame({"index": [0, 1, 2, 3], "class": [None, "car", "", np.nan]})
    assert class_of_label(table) == {1: "car"}

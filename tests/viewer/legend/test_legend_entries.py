"""Which classes a legend names: those that are seen, in their colours."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_neuroscope.engine.explanation.overlays.label_maps import labels_data
from napari_neuroscope.engine.explanation.overlays.placement import Placement
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.viewer.legend.legend_entries import MOST, LegendSection, legend_of

STREET = [("sky", (0, 128, 255)), ("road", (128, 42, 213)), ("car", (170, 170, 255))]


@pytest.fixture
def viewer() -> ViewerModel:
    viewer = ViewerModel()
    viewer.add_image(np.zeros((2, 8, 8)), name="film")
    return viewer


def add(viewer: ViewerModel, numbers: np.ndarray, classes, name: str = "Truth"):
    placement = Placement.of(viewer.layers["film"], "zyx")
    data, attributes, _ = labels_data(
        numbers, Grid.of_image(numbers.shape), placement, name, classes, {}
    )
    return viewer.add_labels(data, **attributes)


def test_classes_that_are_seen_are_named_in_their_colours(viewer: ViewerModel) -> None:
    numbers = np.full((2, 8, 8), -1, np.int32)
    numbers[0, :4], numbers[1, :4] = 0, 2
    layer = add(viewer, numbers, STREET)
    viewer.dims.set_current_step(0, 0)
    assert legend_of(viewer) == (LegendSection("Truth", (STREET[0],)),)
    viewer.dims.set_current_step(0, 1)
    assert legend_of(viewer) == (LegendSection("Truth", (STREET[2],)),)
    layer.contour = 2
    assert legend_of(viewer)[0].outlined
    # The topmost comes first; a background is clear; what is hidden is not there.
    add(viewer, numbers.clip(0), [("background", (0, 0, 0)), *STREET], "Prediction")
    assert [section.title for section in legend_of(viewer)] == ["Prediction", "Truth"]
    assert legend_of(viewer)[0].entries == (STREET[1],)
    layer.visible = False
    assert [section.title for section in legend_of(viewer)] == ["Prediction"]
    viewer.layers["Prediction"].opacity = 0
    assert legend_of(viewer) == ()


def test_of_many_classes_the_first_are_named(viewer: ViewerModel) -> None:
    numbers = np.arange(128, dtype=np.int32).reshape(2, 8, 8)
    add(viewer, numbers, [(f"class {n}", (255, n, 0)) for n in range(200)])
    viewer.dims.set_current_step(0, 0)
    (section,) = legend_of(viewer)
    assert [name for name, _ in section.entries] == [f"class {n}" for n in range(MOST)]
    assert section.more == 64 - MOST

"""The legend and the colour bar in the picture of the real window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_neuroscope.widgets.inspector.canvas.legend import CanvasLegend

NUCLEUS = (86, 180, 233)


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy(show=True)


def legend_beside(dock: Any) -> CanvasLegend:
    """Return the legend in the window of a dock."""
    (legend,) = dock.window().findChildren(CanvasLegend)
    return legend


def pixels(legend: CanvasLegend) -> np.ndarray:
    """Return the picture of the window where the legend is."""
    window = legend.window()
    corner = legend.mapTo(window, legend.rect().topLeft())
    picture = window.grab(legend.rect().translated(corner)).toImage()
    raw = picture.convertToFormat(picture.Format.Format_RGB888)
    lines = raw.constBits().asarray(raw.sizeInBytes())
    rows = np.array(lines, np.uint8).reshape(raw.height(), raw.bytesPerLine())
    return rows[:, : 3 * raw.width()].reshape(raw.height(), raw.width(), 3)


def test_the_legend_and_the_colour_bar_are_seen_and_switched(
    viewer, opened, explained, qtbot
) -> None:
    inspector = opened()
    box, button = inspector.form.legend, inspector.form.prediction_button
    assert box.isChecked()
    button.click()
    qtbot.waitUntil(lambda: not button.jobs.busy, timeout=20_000)
    legend = legend_beside(inspector)
    qtbot.waitUntil(lambda: bool(legend.sections))
    assert legend.isVisible()
    assert legend.accessibleName() == "Legend: Prediction · nuclei; nucleus; border"
    # It lies within the canvas, at its upper left.
    assert legend.parentWidget().rect().contains(legend.geometry())
    assert legend.pos().y() < legend.parentWidget().height() / 4
    seen = pixels(legend)
    assert (seen == NUCLEUS).all(-1).sum() >= 60, "a swatch in the colour of the class"
    box.click()
    qtbot.waitUntil(lambda: not legend.isVisible())
    box.click()
    qtbot.waitUntil(legend.isVisible)
    # A map has a colour bar, at the upper right; classes that are not seen are not named.
    explained(inspector)
    qtbot.waitUntil(lambda: not legend.sections)
    map_layer = viewer.layers[-1]
    assert not legend.isVisible()
    if not hasattr(map_layer, "colorbar"):
        return
    assert map_layer.colorbar.visible
    with_bar = viewer.screenshot(canvas_only=True, flash=False)
    box.click()
    qtbot.waitUntil(lambda: not map_layer.colorbar.visible)
    without = viewer.screenshot(canvas_only=True, flash=False)
    rows, columns = np.nonzero((with_bar != without).any(-1))
    assert len(rows) > 500
    height, width = without.shape[:2]
    assert rows.max() < height / 2
    assert columns.min() > width / 2

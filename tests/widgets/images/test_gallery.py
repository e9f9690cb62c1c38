"""The true classes over the image that is shown: contours that leave the picture as it is."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.viewer.layers.gallery import Gallery
from napari_neuroscope.viewer.layers.maps.layer_manager import LayerManager


@pytest.mark.parametrize("first", ["sky", "background"])
def test_contours_leave_the_picture_inside_bit_for_bit(first: str, make_napari_viewer) -> None:
    """Napari paints the inside of contours as label 0, which is no class in layers of ours."""
    classes = [{"name": first}, {"name": "road", "colour": [255, 0, 255]}]
    spec = {"task": "segmentation", "classes": classes}
    network = ns.wrap(nn.Conv2d(3, 2, 1), spec, device="cpu")
    viewer = make_napari_viewer(show=True)
    gallery = Gallery(viewer, LayerManager(viewer))
    image = np.full((40, 60, 3), 128, np.uint8)
    layer = gallery.show(image, "street")
    viewer.reset_view()
    before = viewer.screenshot(canvas_only=True, flash=False)
    truth = np.zeros((40, 60), np.int32)
    truth[:, 30:] = 1
    truth[:5] = -1
    gallery.show_truth(truth, network, layer, ())
    shown = viewer.layers["Ground truth"]
    assert shown.contour == 2
    seen = viewer.screenshot(canvas_only=True, flash=False)
    changed = (seen != before).any(-1)
    assert 0 < changed.mean() < 0.1, "no more than lines"
    rows, columns = np.nonzero((before[..., :3] == 128).all(-1))
    row = (rows.min() + 2 * rows.max()) // 3
    left, middle, right = (np.quantile(columns, part).astype(int) for part in (0.25, 0.5, 0.75))
    assert changed[row, middle - 20 : middle + 20].any(), "the line between two classes"
    for column in (left, right):
        np.testing.assert_array_equal(seen[row, column], before[row, column])
    # The class of each pixel is told, and the prediction filled.
    names = dict(zip(shown.features["index"], shown.features["class"], strict=True))
    assert names[shown.data[20, 10]] == first
    assert names[shown.data[20, 50]] == "road"
    shown.contour = 0
    filled = viewer.screenshot(canvas_only=True, flash=False)
    assert (filled[row, left] != before[row, left]).any() == (first == "sky")
    assert (filled[row, right] != before[row, right]).any()

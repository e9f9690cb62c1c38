"""Colours of classes of which none is stated."""

from __future__ import annotations

import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab

from napari_neuroscope.engine.spec.palette import spread_colour
from napari_neuroscope.viewer.layers import error_layers

STREET = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car",
          "pedestrian", "bicyclist")  # fmt: skip


def test_colours_of_street_scenes_are_apart_from_each_other_and_from_errors() -> None:
    colours = [spread_colour(index) for index in range(len(STREET))]
    apart_from = list(error_layers.ERROR_COLOURS)
    lab = rgb2lab(np.array([colours + apart_from]) / 255)[0]
    for number in range(len(colours)):
        others = np.delete(lab, number, 0)
        distance = deltaE_ciede2000(np.broadcast_to(lab[number], others.shape), others)
        # 2.3 is what is just noticed.
        assert distance.min() > 15, STREET[number]

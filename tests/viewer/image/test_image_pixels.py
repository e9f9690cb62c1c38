"""A position in the world finds its pixel, in the units of the canvas."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from drawn_regions import PLACES, mask_of
from napari_neuroscope.viewer.image.image_pixels import Pixels


@pytest.mark.parametrize("place", PLACES)
def test_a_click_finds_its_pixel(place: str) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((20, 24)), **PLACES[place][0])
    pixels = Pixels.of(image, 2, viewer)
    for at, pixel in (((3.4, 5.3), (3, 5)), ((-0.4, 23.4), (0, 23)), ((-0.6, 3), None)):
        assert pixels.at(image.data_to_world(at)) == pixel


def test_units_are_those_of_the_canvas() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((10, 12)), scale=(1, 1), units=("um", "um"))
    labels = np.zeros((10, 12), int)
    labels[2, 3] = 5
    painted = viewer.add_labels(labels, scale=(1000, 1000), units=("nm", "nm"))
    assert np.argwhere(mask_of(viewer, image, painted).values).tolist() == [[2, 3]]
    assert Pixels.of(image, 2, viewer).at(
        np.array([2, 3]) * (1 if str(viewer.dims.units[0]) == "micrometer" else 1000)
    ) == (2, 3)

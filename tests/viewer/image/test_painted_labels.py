"""Labels are read at the centres of an image's pixels, through any transforms of both layers."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from drawn_regions import PLACES, mask_of
from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.viewer.image.image_pixels import Pixels
from napari_neuroscope.viewer.image.layer_regions import LayerRegion


@pytest.mark.parametrize("place", PLACES)
def test_labels_are_read_at_the_pixels_centres(place: str, rng) -> None:
    viewer = ViewerModel()
    own, other = PLACES[place]
    image = viewer.add_image(np.zeros((20, 24)), **own)
    labels = viewer.add_labels(rng.integers(0, 4, (31, 29)), **other)
    start = np.asarray(labels.data_to_world((15, 14))) - image.data_to_world((10, 12))
    labels.translate = np.asarray(labels.translate) - np.asarray(
        np.linalg.inv(labels.affine.linear_matrix) @ start
    )
    expected = np.zeros((20, 24), int)
    for pixel in np.ndindex(20, 24):
        at = np.asarray(labels.world_to_data(image.data_to_world(pixel)))
        cell = np.floor(np.round(at, 6) + 0.5).astype(int)
        if (cell >= 0).all() and (cell < labels.data.shape).all():
            expected[pixel] = labels.data[tuple(cell)]
    labels.selected_label = 2
    np.testing.assert_array_equal(mask_of(viewer, image, labels, "selected").values, expected == 2)
    np.testing.assert_array_equal(mask_of(viewer, image, labels).values, expected > 0)
    assert expected.any()


def test_multiscale_images_and_labels_are_taken_at_their_finest() -> None:
    viewer = ViewerModel()
    labels = np.zeros((16, 20), int)
    labels[4:9, 5:9] = 3
    image = viewer.add_image([np.zeros((16, 20)), np.zeros((8, 10))], multiscale=True)
    painted = viewer.add_labels([labels, labels[::2, ::2]], multiscale=True)
    painted.selected_label = 3
    np.testing.assert_array_equal(mask_of(viewer, image, painted, "selected").values, labels == 3)


def test_what_is_painted_later_does_not_change_what_was_taken() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((10, 12)))
    painted = viewer.add_labels(np.eye(10, 12, dtype=int))
    taken = LayerRegion(painted).take(Pixels.of(image, 2, viewer), viewer)
    painted.data[...] = 1
    assert taken.mask.values.sum() == 10


def test_labels_beside_the_image_are_refused() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((10, 12)))
    labels = viewer.add_labels(np.ones((10, 12), int), translate=(50, 50))
    with pytest.raises(NeuroscopeError, match="outside of the image"):
        mask_of(viewer, image, labels)

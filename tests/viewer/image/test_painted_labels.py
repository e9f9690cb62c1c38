"""Labels are read at the centres of an image's pixels, through any transforms of both layers."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from drawn_regions import PLACES, mask_of
from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.viewer.image.image_pixels import Pixels
from napari_neuroscope.viewer.image.layer_regions import LayerRegion
from napari_neuroscope.viewer.image.painted_labels import TrueClassLabels


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


# --- where a class truly is ---

CAMVID = tuple(f"class {n}" for n in range(11))


@pytest.mark.parametrize("void", [11, 255])
def test_void_labels_are_of_no_class(void: int, rng) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((20, 24)))
    truth = rng.integers(0, 11, (20, 24))
    truth[5:9] = void
    layer, pixels = viewer.add_labels(truth), Pixels.of(image, 2, viewer)
    labels = TrueClassLabels.of(layer, pixels, viewer, void)
    for index in range(11):
        mask = labels.mask(index, CAMVID)
        np.testing.assert_array_equal(mask.values, truth == index)
    with pytest.raises(NeuroscopeError) as refusal:
        TrueClassLabels.of(layer, pixels, viewer).mask(0, CAMVID)
    assert f"the label {void} in {4 * 24} pixels" in str(refusal.value)
    assert "classes are 0 to 10" in str(refusal.value)
    assert f"if {void} means “no class”, say it under Options… as the ignore label" in str(
        refusal.value
    )


def test_a_void_label_among_the_classes_numbers_is_of_no_class() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((2, 3)))
    layer = viewer.add_labels(np.array([[0, 1, 2], [0, 1, 2]]))
    labels = TrueClassLabels.of(layer, Pixels.of(image, 2, viewer), viewer, 0)
    assert labels.mask(1, CAMVID).values.sum() == 2
    with pytest.raises(NeuroscopeError, match="has no “class 0”"):
        labels.mask(0, CAMVID)


def test_several_strange_labels_are_named_and_none_is_taken_for_void() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((2, 4)))
    layer = viewer.add_labels(np.array([[0, 12, 13, 14], [0, 20, 1, 1]]), name="Mine")
    labels = TrueClassLabels.of(layer, Pixels.of(image, 2, viewer), viewer, 20)
    with pytest.raises(NeuroscopeError) as refusal:
        labels.mask(1, CAMVID)
    assert "“Mine” has the labels 12, 13, 14 in 3 pixels" in str(refusal.value)
    assert "no class" not in str(refusal.value)

"""Shapes and points hold the pixels whose centres they hold, through any transforms of both layers."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from drawn_regions import OUTLINE, PLACES, drawn_over, inside, mask_of
from napari_neuroscope.engine.errors import NeuroscopeError


@pytest.mark.parametrize("place", PLACES)
def test_a_polygon_holds_the_pixels_whose_centres_it_holds(place: str) -> None:
    viewer = ViewerModel()
    own, other = PLACES[place]
    image = viewer.add_image(np.zeros((20, 24)), **own)
    vertices = drawn_over(image, other, OUTLINE)
    shapes = viewer.add_shapes([vertices], shape_type="polygon", name="ROI", **other)
    mask = mask_of(viewer, image, shapes)
    expected = np.zeros((20, 24), bool)
    for pixel in np.ndindex(20, 24):
        at = np.asarray(shapes.world_to_data(image.data_to_world(pixel)))
        expected[pixel] = inside(np.asarray(shapes.data[0]), at)
    assert expected.sum() > 50
    np.testing.assert_array_equal(mask.values, expected)
    assert mask.words == "all shapes of “ROI”"
    assert mask.notes == ()


@pytest.mark.parametrize("place", PLACES)
def test_an_ellipse_holds_the_pixels_whose_centres_it_holds(place: str) -> None:
    viewer = ViewerModel()
    own, other = PLACES[place]
    image = viewer.add_image(np.zeros((20, 24)), **own)
    middle = drawn_over(image, other, np.array([[10.2, 11.7]]))[0]
    radii = np.array([5.3, 3.1]) * 2.5
    box = np.array([middle, radii])
    shapes = viewer.add_shapes([box], shape_type="ellipse", **other)
    mask = mask_of(viewer, image, shapes)
    expected = np.zeros((20, 24), bool)
    for pixel in np.ndindex(20, 24):
        at = np.asarray(shapes.world_to_data(image.data_to_world(pixel)))
        expected[pixel] = (((at - middle) / radii) ** 2).sum() <= 1
    assert expected.any()
    np.testing.assert_array_equal(mask.values, expected)


@pytest.mark.parametrize("place", PLACES)
def test_points_choose_the_pixels_that_hold_them(place: str) -> None:
    viewer = ViewerModel()
    own, other = PLACES[place]
    image = viewer.add_image(np.zeros((20, 24)), **own)
    at = drawn_over(image, other, np.array([[3.4, 5.3], [17.6, 0.2]]))
    points = viewer.add_points(at, name="Spots", **other)
    mask = mask_of(viewer, image, points)
    assert np.argwhere(mask.values).tolist() == [[3, 5], [18, 0]]
    points.selected_data = {1}
    mask = mask_of(viewer, image, points, "selected")
    assert np.argwhere(mask.values).tolist() == [[18, 0]]
    assert mask.words == "point 1 of “Spots”"


def test_borders_count_and_several_shapes_join() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((10, 12)))
    shapes = viewer.add_shapes(name="ROI")
    shapes.add_rectangles([[1, 1], [2, 3]])
    shapes.add_lines([[5, 0], [5, 4]])
    shapes.add_paths([[[7, 7], [7, 9], [9, 9]]])
    values = mask_of(viewer, image, shapes).values
    expected = np.zeros((10, 12), bool)
    expected[1:3, 1:4] = expected[5, :5] = expected[7, 7:10] = expected[7:10, 9] = True
    np.testing.assert_array_equal(values, expected)
    shapes.selected_data = {0, 2}
    mask = mask_of(viewer, image, shapes, "selected")
    assert not mask.values[5].any()
    assert mask.words == "shapes 0, 2 of “ROI”"


def test_a_shape_of_a_volume_lies_on_its_own_slice() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, 10, 12)))
    vertices = np.array([[3, 1, 1], [3, 1, 4], [3, 4, 4], [3, 4, 1]])
    shapes = viewer.add_shapes([vertices], shape_type="polygon")
    assert mask_of(viewer, image, shapes, axes=3).values.sum(axis=(1, 2)).tolist() == [
        0, 0, 0, 16, 0]  # fmt: skip


def test_colours_are_no_axis() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((10, 12, 3)), rgb=True)
    points = viewer.add_points([[2, 3]])
    assert np.argwhere(mask_of(viewer, image, points).values).tolist() == [[2, 3]]


SQUARE = np.array([[0, 0], [0, 3], [3, 3], [3, 0]], float)


@pytest.mark.parametrize(
    ("vertices", "kind", "says"),
    [
        (SQUARE + 100, "polygon", "lies outside of the image “Picture”"),
        ([[1, 1], [2, 2], [3, 3]], "polygon", "no area"),
        ([[1.2, 1.2], [1.2, 1.6], [1.6, 1.6], [1.6, 1.2]], "polygon", "no pixel's centre"),
        (SQUARE + 50, "ellipse", "outside of the image"),
        ([[40, 40], [50, 40]], "line", "outside of the image"),
    ],
)
def test_shapes_without_pixels_are_refused(vertices, kind: str, says: str) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((10, 12)), name="Picture")
    shapes = viewer.add_shapes([vertices], shape_type=kind)
    with pytest.raises(NeuroscopeError, match=says):
        mask_of(viewer, image, shapes)


def test_a_layer_across_the_plane_is_refused() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, 10, 12)))
    turned = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]])
    shapes = viewer.add_shapes(
        [np.insert(SQUARE, 0, 1, axis=1)], shape_type="polygon", rotate=turned
    )
    with pytest.raises(NeuroscopeError, match="across the image's plane"):
        mask_of(viewer, image, shapes)

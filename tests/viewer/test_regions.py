"""Regions lie where they are drawn: pixel by pixel, through any transforms of both layers."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.viewer.image.image_pixels import Pixels
from napari_neuroscope.viewer.image.layer_regions import LayerRegion

PLAIN: dict = {}
PLACES = {
    "plain": (PLAIN, PLAIN),
    "scaled": ({"scale": (0.5, 2.0), "translate": (3, -4)}, {"scale": (1.5, 0.25)}),
    "rotated": ({"rotate": 30, "translate": (1, 2)}, {"rotate": -20, "scale": (2, 2)}),
    "sheared": ({"shear": [0.4], "scale": (2, 1)}, {"shear": [-0.2], "translate": (5, 1)}),
    "affine": (
        {"affine": [[0.8, 0.3, 4], [-0.2, 1.1, -3], [0, 0, 1]], "rotate": 10},
        {"affine": [[1.2, -0.1, 0], [0.3, 0.9, 2], [0, 0, 1]]},
    ),
}
OUTLINE = np.array([[3.2, 4.1], [4.7, 15.3], [12.6, 13.2], [9.9, 8.4], [14.3, 3.6]])


def inside(polygon: np.ndarray, point: np.ndarray) -> bool:
    """Whether a ray from the point crosses the polygon an odd number of times."""
    crossed = False
    for (y0, x0), (y1, x1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if (y0 > point[0]) != (y1 > point[0]):
            crossed ^= point[1] < x0 + (point[0] - y0) / (y1 - y0) * (x1 - x0)
    return bool(crossed)


def drawn_over(image, other_attributes: dict, outline: np.ndarray):
    """Return an outline of the image's pixels in the data of a layer with another transform."""
    model = ViewerModel()
    probe = model.add_points(np.zeros((1, 2)), **other_attributes)
    return np.array([probe.world_to_data(image.data_to_world(at)) for at in outline])


def mask_of(viewer, image, layer, part="all", axes: int = 2):
    pixels = Pixels.of(image, axes, viewer)
    return LayerRegion(layer, part).take(pixels, viewer).mask


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


@pytest.mark.parametrize("place", PLACES)
def test_a_click_finds_its_pixel(place: str) -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((20, 24)), **PLACES[place][0])
    pixels = Pixels.of(image, 2, viewer)
    for at, pixel in (((3.4, 5.3), (3, 5)), ((-0.4, 23.4), (0, 23)), ((-0.6, 3), None)):
        assert pixels.at(image.data_to_world(at)) == pixel


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


def test_of_a_stack_only_the_shown_plane_counts() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((6, 10, 12)), scale=(3, 1, 1), translate=(30, 0, 0))
    flat = np.array([[1, 1], [1, 4], [4, 4], [4, 1]])
    cubes = [np.insert(flat + z, 0, z, axis=1) for z in (2, 4)]
    shapes = viewer.add_shapes(
        cubes, shape_type="polygon", scale=(3, 1, 1), translate=(30, 0, 0), name="ROI"
    )
    labels = np.zeros((6, 10, 12), int)
    labels[2, 0:2], labels[3, 5:7] = 1, 1
    painted = viewer.add_labels(labels, scale=(3, 1, 1), translate=(30, 0, 0), name="Cells")
    for z, first in ((2, 3), (4, 5)):
        viewer.dims.set_point(0, 30 + 3 * z)
        values = mask_of(viewer, image, shapes).values
        assert np.argwhere(values).min(0).tolist() == [first, first]
        assert values.sum() == 16
    with pytest.raises(NeuroscopeError, match="nothing of all labels of “Cells” on the plane"):
        mask_of(viewer, image, painted)
    viewer.dims.set_point(0, 30 + 3 * 3)
    assert Pixels.of(image, 2, viewer).plane == (3,)
    np.testing.assert_array_equal(mask_of(viewer, image, painted).values, labels[3] > 0)
    with pytest.raises(NeuroscopeError, match="other planes"):
        mask_of(viewer, image, shapes)


def test_layers_of_fewer_and_more_axes_are_met_where_the_sliders_stand() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((10, 12)))
    stack = np.zeros((5, 10, 12), int)
    for z in range(5):
        stack[z, z] = 7
    labels = viewer.add_labels(stack, scale=(2, 1, 1))
    viewer.dims.set_point(0, 6)
    assert np.argwhere(mask_of(viewer, image, labels).values)[:, 0].tolist() == [3] * 12
    deep = viewer.add_image(np.zeros((5, 10, 12)), scale=(2, 1, 1))
    flat = viewer.add_shapes([[[1, 1], [1, 4], [4, 4], [4, 1]]], shape_type="polygon")
    assert mask_of(viewer, deep, flat).values.sum() == 16
    volume = mask_of(viewer, deep, flat, axes=3).values
    assert volume.shape == (5, 10, 12)
    assert volume.sum(axis=(1, 2)).tolist() == [16] * 5


def test_a_shape_of_a_volume_lies_on_its_own_slice() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, 10, 12)))
    vertices = np.array([[3, 1, 1], [3, 1, 4], [3, 4, 4], [3, 4, 1]])
    shapes = viewer.add_shapes([vertices], shape_type="polygon")
    assert mask_of(viewer, image, shapes, axes=3).values.sum(axis=(1, 2)).tolist() == [
        0, 0, 0, 16, 0]  # fmt: skip


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


def test_multiscale_images_and_labels_are_taken_at_their_finest() -> None:
    viewer = ViewerModel()
    labels = np.zeros((16, 20), int)
    labels[4:9, 5:9] = 3
    image = viewer.add_image([np.zeros((16, 20)), np.zeros((8, 10))], multiscale=True)
    painted = viewer.add_labels([labels, labels[::2, ::2]], multiscale=True)
    painted.selected_label = 3
    np.testing.assert_array_equal(mask_of(viewer, image, painted, "selected").values, labels == 3)


def test_colours_are_no_axis() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((10, 12, 3)), rgb=True)
    points = viewer.add_points([[2, 3]])
    assert np.argwhere(mask_of(viewer, image, points).values).tolist() == [[2, 3]]


def test_what_lies_outside_is_left_out_and_said() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((10, 12)))
    shapes = viewer.add_shapes([[[-3, -3], [-3, 2], [2, 2], [2, -3]]], shape_type="polygon")
    mask = mask_of(viewer, image, shapes)
    assert mask.values.sum() == 9
    assert mask.notes == ("a part of the region lies outside of the image and is left out",)
    big = np.ones((14, 12), int)
    mask = mask_of(viewer, image, viewer.add_labels(big))
    assert mask.values.all()
    assert mask.notes
    ellipse = viewer.add_shapes([[[2, 2], [8, 13]]], shape_type="ellipse")
    assert mask_of(viewer, image, ellipse).notes


def test_what_is_painted_later_does_not_change_what_was_taken() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((10, 12)))
    painted = viewer.add_labels(np.eye(10, 12, dtype=int))
    taken = LayerRegion(painted).take(Pixels.of(image, 2, viewer), viewer)
    painted.data[...] = 1
    assert taken.mask.values.sum() == 10


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


def test_empty_layers_and_selections_are_refused() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((10, 12)))
    shapes, points = viewer.add_shapes(name="S"), viewer.add_points(name="P", ndim=2)
    labels = viewer.add_labels(np.zeros((10, 12), int), name="L")
    for layer in (shapes, points):
        with pytest.raises(NeuroscopeError, match=f"“{layer.name}” is empty"):
            mask_of(viewer, image, layer)
    points.add([[1, 1]])
    points.selected_data = set()
    with pytest.raises(NeuroscopeError, match="No point of “P” is selected"):
        mask_of(viewer, image, points, "selected")
    with pytest.raises(NeuroscopeError, match="nothing of all labels"):
        mask_of(viewer, image, labels)
    labels.selected_label = 0
    with pytest.raises(NeuroscopeError, match="background"):
        mask_of(viewer, image, labels, "selected")
    labels.selected_label = 9
    with pytest.raises(NeuroscopeError, match="nothing of label 9"):
        mask_of(viewer, image, labels, "selected")
    viewer.layers.remove(labels)
    with pytest.raises(NeuroscopeError, match="was removed"):
        mask_of(viewer, image, labels)


def test_labels_beside_the_image_are_refused() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((10, 12)))
    labels = viewer.add_labels(np.ones((10, 12), int), translate=(50, 50))
    with pytest.raises(NeuroscopeError, match="outside of the image"):
        mask_of(viewer, image, labels)


def test_a_layer_across_the_plane_is_refused() -> None:
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, 10, 12)))
    turned = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]])
    shapes = viewer.add_shapes(
        [np.insert(SQUARE, 0, 1, axis=1)], shape_type="polygon", rotate=turned
    )
    with pytest.raises(NeuroscopeError, match="across the image's plane"):
        mask_of(viewer, image, shapes)

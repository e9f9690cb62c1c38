"""A layer chosen as a region: of any number of axes, in part outside of the image, or empty."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from drawn_regions import mask_of
from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.viewer.image.image_pixels import Pixels


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

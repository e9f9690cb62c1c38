"""What the pictures of an explanation show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.results.panels import over, panels_of
from results import CLASSES, explanation_of


def test_where_the_network_saw_nothing_the_image_stays() -> None:
    made = explanation_of(("y", "x"), (6, 8))
    made.values[:, :4] = np.nan
    image = np.random.default_rng(1).integers(0, 255, (6, 8, 3), np.uint8)
    (panel,) = panels_of(made, image)
    np.testing.assert_allclose(panel.picture[:, :4], image[:, :4] / 255)
    assert np.abs(panel.picture[:, 4:] - image[:, 4:] / 255).max() > 0.1


def test_each_class_and_layer_has_a_panel_and_limits_of_its_own() -> None:
    made = explanation_of(("class", "layer", "y", "x"), (2, 3, 5, 4))
    panels = panels_of(made, np.zeros((5, 4), np.uint8))
    names = [f"{one} · {other}" for one in made.labels["class"] for other in made.labels["layer"]]
    assert [panel.title for panel in panels] == names
    for panel, values in zip(panels, made.values.reshape(6, 5, 4), strict=True):
        most = pytest.approx(float(np.abs(values).max()))
        assert panel.span == (-most.expected, most.expected) or panel.span[1] == most  # type: ignore[index]
        assert panel.unit == "Grad-CAM"


@pytest.mark.parametrize("channels", [(), (2,)])
def test_of_a_volume_the_strongest_plane_is_shown_and_named(channels: tuple[int, ...]) -> None:
    made = explanation_of(("z", "y", "x"), (4, 5, 6), scale=2.0, offset=0.5)
    made.values[...] *= 0.01
    made.values[2] = 3.0
    image = np.zeros((*channels, 8, 10, 12), np.uint8)
    image[..., 4, :, :] = 255
    image[..., 4, 0, 0] = 0
    (panel,) = panels_of(made, image)
    # The third plane of the map lies at 4.5 of the image; even numbers are rounded down.
    assert panel.title == "z = 4 of 0…7"
    assert panel.picture.shape == (10, 12, 3)
    assert panel.picture[1, 1].max() > 0.5


def test_of_a_stack_the_right_plane_of_the_image_lies_below() -> None:
    made = explanation_of(("t", "z", "y", "x"), (3, 1, 5, 6), space=4)
    # Every second time from the first one on, and the third plane.
    seen = Grid((3, 1, 5, 6), (2.0, 1.0, 1.0, 1.0), (1.0, 2.0, 0.0, 0.0))
    made = replace(made, grid=seen, image=seen)
    made.values[...] = 0
    made.values[1] = 1e-3
    image = np.zeros((7, 4, 5, 6), np.uint8)
    image[3, 2, 2, 2] = 255
    (panel,) = panels_of(replace(made, signed=False), image)
    assert panel.title == "t = 3, z = 2"
    assert panel.picture[2, 2].min() > panel.picture[0, 0].min()
    assert panel.span == (0, pytest.approx(1e-3))


def test_label_maps_have_their_classes_as_legend() -> None:
    labels = np.array([[0, 1], [1, -1]], np.int32)
    made = replace(explanation_of(("y", "x"), (2, 2)), companions={"prediction": labels})
    _, panel = panels_of(made, None)
    assert panel.title == "Prediction"
    assert panel.legend == (CLASSES[1],)
    clear = [panel.picture[0, 0], panel.picture[1, 1]]
    np.testing.assert_array_equal(clear, np.zeros((2, 3)))
    shade = np.array(CLASSES[1][1]) / 255
    np.testing.assert_allclose(panel.picture[0, 1] / shade, panel.picture[0, 1, 0] / shade[0])


def test_a_picture_of_far_too_many_maps_is_refused() -> None:
    made = explanation_of(("class", "y", "x"), (101, 2, 2))
    with pytest.raises(ns.NeuroscopeError, match="A picture of 101 maps"):
        panels_of(made, None)


def test_a_large_picture_is_thinned_out() -> None:
    made = explanation_of(("y", "x"), (2, 5000))
    (panel,) = panels_of(made, np.zeros((2, 5000), np.uint8))
    assert panel.step == 2
    assert panel.picture.shape == (1, 2500, 3)


def test_what_the_network_sees_is_shown_as_it_is() -> None:
    made = explanation_of(("channel", "y", "x"), (3, 5, 4))
    made = replace(made, unit="intensity")
    made.values[...] = np.random.default_rng(0).uniform(size=(3, 5, 4))
    (panel,) = panels_of(made, None)
    np.testing.assert_allclose(panel.picture, np.moveaxis(made.values, 0, -1))
    assert panel.span is None


def test_half_clear_is_half_of_both() -> None:
    np.testing.assert_allclose(
        over(np.zeros((1, 1, 3)), np.array([[[1, 0.5, 0, 0.5]]])), [[[0.5, 0.25, 0]]]
    )

"""How far an image's pixels are apart, and those of grids on it."""

from __future__ import annotations

import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.images.spacing import Spacing


def test_a_coarse_grid_lies_in_the_middle_of_the_pixels_it_covers():
    image = Spacing(("y", "x"), (0.5, 2.0), (10.0, -1.0), ("micrometer", "micrometer"))
    cells = image.of_grid(Grid.of_image((8, 8)).divided((2, 4)))
    # Four rows of 0.5 make a cell of 2, centred between the second and the third row.
    assert cells.steps == (2.0, 4.0)
    assert cells.origin == (10.0 + 0.5 * 1.5, -1.0 + 2.0 * 0.5)
    assert cells.units == image.units


def test_axes_are_chosen_by_name_and_unknown_ones_are_of_pixels():
    image = Spacing.of("tyx", (3, 0.1, 0.2), ("second", "micrometer", "micrometer"))
    found = image.along(("x", "q", "t"))
    assert found.steps == (0.2, 1.0, 3.0)
    assert found.units == ("micrometer", "pixel", "second")


def test_a_step_is_needed_for_each_axis():
    with pytest.raises(ns.NeuroscopeError, match="a step, an origin and a unit each"):
        Spacing.of("yx", (1, 2, 3), "pixel")

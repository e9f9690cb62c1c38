"""The colours of classes, and the contrast of maps."""

from __future__ import annotations

import numpy as np
import pytest

from napari_neuroscope.engine.explanation.colormaps import class_colours, limits


def test_only_a_background_is_clear_and_label_0() -> None:
    colours = class_colours([("sky", (0, 0, 255)), ("Background", (9, 9, 9))])
    assert colours[1] == pytest.approx([0, 0, 1, 1]), "class 0, where it is no background"
    assert colours[2][3] == 0
    assert colours[0][3] == colours[None][3] == 0, "so is what is no class"
    colours = class_colours([("Background", (9, 9, 9)), ("cell", (0, 0, 255))])
    assert colours[0][3] == 0
    assert colours[1] == pytest.approx([0, 0, 1, 1]), "labels are the classes' numbers"


@pytest.mark.parametrize("signed", [False, True])
def test_a_few_extreme_values_leave_the_others_visible(signed: bool) -> None:
    values = np.random.default_rng(0).uniform(0.5, 1, (100, 100))
    values[3, :20] = 217.0
    values[4, 0] = np.nan
    low, high = limits(values, signed=signed)
    assert 0.9 < high <= 1
    assert low == (-high if signed else 0)
    assert limits(-values, signed=True)[1] == high, "magnitudes count"
    assert limits(values, signed=signed, to_maximum=True)[1] == 217


def test_sparse_and_small_and_empty_maps_are_seen() -> None:
    values = np.zeros((100, 100))
    values[50, :40] = np.arange(1, 41)
    assert np.percentile(values, 99.5) == 0
    assert limits(values, signed=False) == (0, 40)
    assert limits(np.arange(49.0).reshape(7, 7), signed=False) == (0, 48)
    for nothing in (np.zeros((5, 5)), np.full((5, 5), np.nan), np.zeros((0, 5))):
        assert limits(nothing, signed=True) == (-1, 1)


def test_attention_begins_at_its_least_share() -> None:
    values = np.random.default_rng(0).uniform(0.004, 0.006, (14, 14))
    low, high = limits(values, signed=False, unit="attention")
    assert (low, high) == (values.min(), values.max())
    assert limits(values, signed=False) == (0, high), "other maps are clear at zero"
    assert limits(np.full((4, 4), 0.1), signed=False, unit="attention") == (0, 0.1)

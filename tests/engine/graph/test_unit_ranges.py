"""Ranges of units followed back by hand: padding, halves, resampling, and branches that meet."""

from __future__ import annotations

from fractions import Fraction

import pytest

from graphs import skipping_graph, window
from napari_neuroscope.engine.graph.reach import Reach, ResampledReach, Window
from napari_neuroscope.engine.graph.unit_ranges import UnitRanges, follow_back, stride_through


def units(first: int, last: int) -> UnitRanges:
    return ((Fraction(first), Fraction(last)),) * 2


@pytest.mark.parametrize(
    ("layer", "start", "bounded", "reached"),
    [
        ("down.conv", (0, 0), False, (-1, 1)),
        ("down.conv", (0, 0), True, (0, 1)),
        ("pool", (1, 1), False, (1, 4)),
        ("middle", (1, 1), False, (-1, 6)),
        ("up", (2, 3), False, (-1, 6)),
        ("add", (4, 4), False, (1, 8)),
        ("add", (15, 15), True, (11, 15)),
    ],
)
def test_down_to_the_input(
    layer: str, start: tuple[int, int], bounded: bool, reached: tuple[int, int]
) -> None:
    ranges = follow_back(skipping_graph(), layer, units(*start), bounded=bounded)
    assert ranges == units(*reached)


def test_down_to_a_layer_where_branches_meet() -> None:
    graph = skipping_graph()
    assert follow_back(graph, "add", units(0, 3), bounded=False, to="middle") == units(0, 1)
    assert follow_back(graph, "add", units(0, 3), bounded=False, to="down.conv") == units(-2, 5)


@pytest.mark.parametrize(
    ("reach", "behind"),
    [
        (window(3, 2), 6),
        (Window((2, 2), (2, 2), (0, 0), (1, 1), transposed=True), Fraction(3, 2)),
        (ResampledReach("linear"), Fraction(3, 2)),
        ("pointwise", 3),
        ("everywhere", None),
    ],
)
def test_strides_are_multiplied(reach: Reach, behind: Fraction | None) -> None:
    assert stride_through(reach, 0, 4, 8, Fraction(3)) == behind

"""Patterns of dotted names."""

from __future__ import annotations

import pytest

from napari_neuroscope.engine.graph.name_pattern import fits


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("enc*", "enc1", True),
        ("enc*", "enc1.conv", False),
        ("enc*.**", "enc1.conv", True),
        ("enc*.**", "enc1", False),
        ("**.conv", "enc1.block.conv", True),
        ("**.conv", "enc1.block", False),
    ],
)
def test_stars_stand_for_a_part_or_for_any(pattern: str, name: str, *, expected: bool) -> None:
    assert fits(pattern, name) is expected

"""The colours of classes."""

from __future__ import annotations

import pytest

from napari_neuroscope.engine.explanation.colormaps import class_colours


def test_only_a_background_is_clear() -> None:
    colours = class_colours([("sky", (0, 0, 255)), ("Background", (9, 9, 9))])
    assert colours[0] == pytest.approx([0, 0, 1, 1])
    assert colours[1][3] == 0
    assert colours[None][3] == 0, "so is what is no class"

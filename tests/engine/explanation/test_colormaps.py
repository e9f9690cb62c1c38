"""The colours of classes."""

from __future__ import annotations

import pytest

from napari_neuroscope.engine.explanation.colormaps import class_colours


def test_only_a_background_is_clear_and_label_0() -> None:
    colours = class_colours([("sky", (0, 0, 255)), ("Background", (9, 9, 9))])
    assert colours[1] == pytest.approx([0, 0, 1, 1]), "class 0, where it is no background"
    assert colours[2][3] == 0
    assert colours[0][3] == colours[None][3] == 0, "so is what is no class"
    colours = class_colours([("Background", (9, 9, 9)), ("cell", (0, 0, 255))])
    assert colours[0][3] == 0
    assert colours[1] == pytest.approx([0, 0, 1, 1]), "labels are the classes' numbers"

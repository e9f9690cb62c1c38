"""The box of methods: by family, good first ones on top, with what can't be chosen greyed out."""

from __future__ import annotations

import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor

import napari_neuroscope as ns
from napari_neuroscope.engine.methods.interface import FAMILIES
from napari_neuroscope.widgets.parts.method_box import FAVOURITES, MethodBox, method_groups
from napari_neuroscope.widgets.parts.pickers import options_widget


@pytest.fixture
def box(qtbot) -> MethodBox:
    method_box = MethodBox()
    qtbot.addWidget(method_box)
    return method_box


def dot(box: MethodBox, name: str) -> QColor:
    """Return the colour in the middle of a method's dot."""
    picture = box.itemIcon(box.findData(name)).pixmap(12, 12).toImage()
    return picture.pixelColor(picture.width() // 2, picture.height() // 2)


def test_each_method_is_offered_once_below_its_family(box) -> None:
    assert sorted(box.names()) == sorted(ns.methods)
    assert tuple(box.names()[: len(FAVOURITES)]) == FAVOURITES
    headings = [box.itemText(row) for row in range(box.count()) if box.itemData(row) is None]
    assert headings == ["To begin with", *(t for t in FAMILIES.values() if t != "Others")]
    row = box.findText(FAMILIES["gradient"])
    assert box.itemData(row + 1) == "saliency"


def test_a_heading_is_never_chosen(box, qtbot) -> None:
    box.choose("score_map")
    qtbot.keyClick(box, Qt.Key.Key_Down)
    # The heading of the next family is passed over.
    assert box.currentData() == "grad_cam_plus_plus"
    qtbot.keyClick(box, Qt.Key.Key_Home)
    assert box.currentData() == FAVOURITES[0]


def test_a_family_has_a_colour_of_its_own(box) -> None:
    assert dot(box, "grad_cam") == dot(box, "layer_cam") != dot(box, "saliency")
    assert dot(box, "saliency") == dot(box, "lrp")


def test_what_can_not_be_chosen_is_grey_and_doubts_are_marked(box) -> None:
    box.choose("grad_cam")
    box.mark(
        lambda method: "It needs gradients." if method.name == "saliency" else None,
        lambda method: "Says little." if method.name == "grad_cam" else "",
    )
    model = box.model()
    enabled = {name: model.item(box.findData(name)).isEnabled() for name in box.names()}
    assert [name for name, can_be_chosen in enabled.items() if not can_be_chosen] == ["saliency"]
    assert "⚠" in box.currentText()
    assert "Says little." in box.toolTip()
    box.mark(lambda method: None, lambda method: "")
    assert box.currentText() == "Grad-CAM"


def test_a_method_of_no_family_stands_below_others() -> None:
    from dataclasses import replace

    groups = method_groups({"mine": replace(ns.methods["saliency"], name="mine", family="other")})
    assert list(groups) == ["Others"]


def test_options_are_read_in_words_and_kept_in_code(qtbot) -> None:
    options = options_widget(ns.methods["saliency"], lambda values: None)
    qtbot.addWidget(options.native)
    channels = options["channels"]
    assert channels.label == "Image channels"
    combo = channels.native
    offered = [combo.itemText(row) for row in range(combo.count())]
    assert "strongest, with its sign" in offered
    assert not any("_" in text for text in offered)
    combo.setCurrentIndex(offered.index("strongest, with its sign"))
    assert options.asdict() == {"channels": "signed_max"}
    assert "max_abs" not in channels.tooltip


@pytest.mark.parametrize("name", list(ns.methods))
def test_no_option_has_a_name_of_code(name: str, qtbot) -> None:
    options = options_widget(ns.methods[name], lambda values: None)
    qtbot.addWidget(options.native)
    for option in options:
        assert "_" not in option.label
        assert option.label != "relu"

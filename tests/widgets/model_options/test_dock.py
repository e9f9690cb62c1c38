"""Model options: found out, asked for, tried at once, saved, and used the next time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtWidgets import QFileDialog, QListWidget
from safetensors.torch import save_file

import napari_neuroscope as ns
from napari_neuroscope.samples.architectures import CellClassifier
from napari_neuroscope.widgets.model_options import dock as model_options
from napari_neuroscope.widgets.model_options.dock import ModelOptions

FACTORY = "napari_neuroscope.samples.architectures:CellClassifier"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    network = ns.load("demo:blood-cells")
    path = tmp_path / "mine.safetensors"
    save_file(network.adapter.model.state_dict(), path)
    return path


@pytest.fixture
def asked(opened, viewer, qtbot, path: Path) -> Iterator[Callable[[], ModelOptions]]:
    """Open a file of weights in the inspector, and its options by the button there."""
    made: list[ModelOptions] = []

    def open_dock() -> ModelOptions:
        if not made:
            inspector = opened("blood_cells", None)
        inspector.open_file(path, FACTORY)
        qtbot.waitUntil(inspector.ready, timeout=30_000)
        inspector.form.networks.options_button.click()
        dock = the_dock(viewer)
        dock.inspector = inspector
        made.append(dock)
        settled(dock, qtbot)
        return dock

    yield open_dock
    for dock in made:
        dock.close_work()


def the_dock(viewer) -> ModelOptions:
    dock = viewer.window.dock_widgets["Model options (napari-neuroscope)"]
    return getattr(dock, "__wrapped__", dock)


def settled(dock: ModelOptions, qtbot) -> None:
    """Wait until a change was tried."""
    qtbot.wait(350)
    qtbot.waitUntil(lambda: not dock.jobs.busy, timeout=30_000)


def field(dock: ModelOptions, *place: str):
    return dock.form.fields.at(*place).widget


def test_it_says_what_was_found_and_what_is_left(asked) -> None:
    dock = asked()
    assert "classification, 3 channels, 3 classes" in dock.found_note.text()
    assert "names of the classes" in dock.unsaid_note.text()
    assert "normalised" in dock.unsaid_note.text()
    assert "size" in dock.unsaid_note.text()
    assert "Options" in dock.inspector.form.networks.note.text()
    assert "3 × 245 × 245" in dock.preview.caption.text()
    assert dock.preview.picture.pixmap().height() > 100


def test_a_change_is_tried_at_once_and_the_inspector_goes_on_with_it(asked, viewer, qtbot) -> None:
    dock = asked()
    before, first = dock.preview.answer.text(), dock.session.network
    field(dock, "input", "size").setText("80")
    normalise = field(dock, "input", "normalization")
    normalise.way.setCurrentIndex(normalise.way.findData("own"))
    normalise.mean.setText("0.5")
    normalise.std.setText("0.25")
    settled(dock, qtbot)
    spec = dock.session.network.spec
    assert spec.input.size == (80, 80)
    assert (spec.input.normalization.mean, spec.input.normalization.std) == ((0.5,), (0.25,))
    assert "3 × 80 × 80" in dock.preview.caption.text()
    assert "values -" in dock.preview.caption.text()
    assert dock.preview.answer.text() != before
    # Nothing was loaded again, and the inspector shows the new answer.
    assert dock.session.network.adapter is first.adapter
    assert dock.inspector.session.network is dock.session.network
    top = dock.preview.answer.text().splitlines()[0].split(":")[1].split()[0]
    assert any(top in row for row in texts(dock.inspector.form.classes))
    dock.inspector.choose_method("grad_cam")
    dock.inspector.explain()
    qtbot.waitUntil(lambda: not dock.inspector.jobs.busy, timeout=30_000)
    shown = viewer.layers[-1].metadata["neuroscope"]
    assert shown["spec"]["input"]["size"] == [80, 80]


def texts(pick_list) -> list[str]:
    rows = pick_list.findChild(QListWidget)
    return [rows.item(i).text() for i in range(rows.count())]


def test_saved_options_are_used_and_never_asked_again(asked, qtbot, path: Path) -> None:
    dock = asked()
    field(dock, "input", "size").setText("80 x 80")
    names = path.with_name("names.json")
    names.write_text(json.dumps({"0": ["red", [200, 0, 0]], "1": ["white", [9, 9, 9]], "2": "pl"}))
    dock.form.class_table.open_file(names)
    settled(dock, qtbot)
    assert any("red" in row for row in texts(dock.inspector.form.classes))
    dock.save_button.click()
    saved = path.with_name("mine.neuroscope.yaml")
    assert "Saved" in dock.message.text()
    assert dock.unsaid_note.text() == "Nothing is left to say."
    spec = ns.ModelSpec.load(saved)
    assert spec.input.size == (80, 80)
    assert spec.class_names == ["red", "white", "pl"]
    assert spec.classes[0].colour == (200, 0, 0)
    network = ns.load(path, factory=FACTORY)
    assert network.class_names == ["red", "white", "pl"]
    # The dock asks nothing more of a network opened anew, though normalisation was left as it is.
    dock = asked_again(dock, qtbot, path)
    assert dock.unsaid_note.text() == "Nothing is left to say."
    assert "Still to say" not in dock.inspector.form.networks.note.text()


def asked_again(dock: ModelOptions, qtbot, path: Path) -> ModelOptions:
    dock.inspector.open_file(path, FACTORY)
    qtbot.waitUntil(dock.inspector.ready, timeout=30_000)
    settled(dock, qtbot)
    return dock


@pytest.mark.parametrize(
    ("place", "text", "says"),
    [
        (("input", "axes"), "bcyy", "at most once"),
        (("input", "axes"), "bc", "x"),
        (("input", "size"), "80 by", "write 224 × 224"),
        (("input", "size"), "80 × 80 × 80", "size has 3 numbers"),
        (("input", "size"), "0", "at least 1"),
        (("input", "value_range"), "5, 1", "first number below"),
        (("image_axes",), "yxt", "does not fit"),
        (("output", "axes"), "bcyx", "does not fit"),
        (("ignore_label",), "x", "Ignore label"),
    ],
)
def test_what_makes_no_sense_is_said_and_not_taken(
    place: tuple[str, ...], text: str, says: str, asked, qtbot
) -> None:
    dock = asked()
    network = dock.session.network
    field(dock, *place).setText(text)
    settled(dock, qtbot)
    assert says in dock.message.text()
    assert dock.session.network is network
    assert dock.inspector.ready()
    # Mended, it is taken.
    field(dock, *place).setText({"axes": "bcyx", "value_range": "auto"}.get(place[-1], ""))
    if place[0] == "output":
        field(dock, *place).setText("bc")
    settled(dock, qtbot)
    assert dock.message.text() == ""


def test_more_names_than_classes_are_refused(asked, qtbot, path: Path) -> None:
    dock = asked()
    names = path.with_name("names.txt")
    names.write_text("a\nb\nc\nd\n")
    dock.form.class_table.open_file(names)
    settled(dock, qtbot)
    assert "names 4 classes, but the network answers 3" in dock.message.text()


def test_revert_goes_back(asked, qtbot) -> None:
    dock = asked()
    before = dock.session.network.spec
    field(dock, "input", "order").setCurrentIndex(2)
    settled(dock, qtbot)
    assert dock.session.network.spec.input.order == "bgr"
    dock.revert_button.click()
    settled(dock, qtbot)
    assert dock.session.network.spec == before
    assert field(dock, "input", "order").currentIndex() == 0


def test_bgr_is_shown_as_the_network_sees_it(asked, qtbot) -> None:
    dock = asked()
    qtbot.waitUntil(lambda: not dock.preview.picture.pixmap().isNull())
    rgb = dock.preview.picture.pixmap().toImage().pixelColor(80, 80)
    field(dock, "input", "order").setCurrentIndex(2)
    settled(dock, qtbot)
    bgr = dock.preview.picture.pixmap().toImage().pixelColor(80, 80)
    assert (rgb.red(), rgb.green(), rgb.blue()) == (bgr.blue(), bgr.green(), bgr.red())
    assert rgb.red() != rgb.blue()


@pytest.mark.parametrize("agreed", [True, False])
def test_other_options_are_replaced_only_when_the_user_says_so(
    agreed: bool, asked, qtbot, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock = asked()
    saved = path.with_name("mine.neuroscope.yaml")
    saved.write_text("# mine\ntask: segmentation\n")
    monkeypatch.setattr(model_options, "agrees", lambda *_: agreed)
    dock.save_button.click()
    assert saved.read_text().startswith("# mine") is not agreed


def test_a_demo_networks_options_are_saved_elsewhere_only(
    opened, viewer, qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspector = opened()
    inspector.form.networks.options_button.click()
    dock = the_dock(viewer)
    settled(dock, qtbot)
    assert not dock.save_button.isEnabled()
    place = tmp_path / "other.neuroscope.yaml"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(place), ""))
    dock.save_as_button.click()
    assert ns.ModelSpec.load(place).class_names == ["background", "nucleus", "border"]
    dock.close_work()


def test_without_a_network_it_says_what_to_do(viewer, qtbot) -> None:
    _, dock = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Model options")
    assert "Choose a network" in dock.title.text()
    assert not dock.save_button.isEnabled()
    assert not dock.form.isEnabled()
    dock.close_work()


def test_a_slow_network_blocks_nothing(
    asked, qtbot, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock = asked()
    forward = CellClassifier.forward

    def slow(self, x):
        time.sleep(1.5)
        return forward(self, x)

    monkeypatch.setattr(CellClassifier, "forward", slow)
    start = time.monotonic()
    field(dock, "input", "size").setText("80")
    qtbot.waitUntil(lambda: dock.jobs.busy, timeout=5_000)
    # The dock answers while the network works.
    field(dock, "ignore_label").setText("255")
    assert time.monotonic() - start < 1.5
    monkeypatch.undo()
    settled(dock, qtbot)
    qtbot.waitUntil(lambda: dock.session.network.spec.ignore_label == 255, timeout=30_000)
    assert dock.session.network.spec.input.size == (80, 80)


def test_the_same_class_list_for_two_docks(asked, qtbot) -> None:
    dock = asked()
    item = dock.form.class_table.table.item(1, 0)
    item.setText("leukocyte")
    settled(dock, qtbot)
    assert dock.session.network.class_names == ["0", "leukocyte", "2"]
    assert np.any(["leukocyte" in row for row in texts(dock.inspector.form.classes)])


def choose(dock: ModelOptions, name: str, value: str) -> None:
    box = field(dock, "input", name)
    box.setCurrentIndex(box.findData(value))


def test_each_way_of_resizing_takes_effect(asked, viewer, qtbot) -> None:
    """Each control is chosen, and the network then gets what the same spec gives it in code."""
    dock = asked()
    image = np.asarray(viewer.layers[0].data)[0, :150, :200]
    first = dock.session.network

    def got() -> np.ndarray:
        settled(dock, qtbot)
        assert not dock.message.text()
        return dock.session.network.prepare(image).input.numpy()

    def wanted(**said: object) -> np.ndarray:
        spec = dock.session.network.spec.model_dump(exclude_unset=True)
        spec["input"] = {"channels": 3, "normalization": "zero_one", **said}
        return first.with_spec(ns.ModelSpec.model_validate(spec)).prepare(image).input.numpy()

    normalise = field(dock, "input", "normalization")
    normalise.way.setCurrentIndex(normalise.way.findData("zero_one"))
    field(dock, "input", "size").setText("80 × 96")
    size: dict[str, object] = {"size": (80, 96)}
    seen = [got()]
    for interpolation in ("bicubic", "nearest", "lanczos"):
        choose(dock, "interpolation", interpolation)
        seen.append(got())
        np.testing.assert_array_equal(seen[-1], wanted(**size, interpolation=interpolation))
    choose(dock, "interpolation", "bilinear")
    field(dock, "input", "antialias").setChecked(False)
    seen.append(got())
    np.testing.assert_array_equal(seen[-1], wanted(**size, antialias=False))
    field(dock, "input", "antialias").setChecked(True)
    choose(dock, "resize", "crop")
    seen.append(got())
    field(dock, "input", "shorter_side").setText("120")
    seen.append(got())
    np.testing.assert_array_equal(seen[-1], wanted(**size, resize="crop", shorter_side=120))
    choose(dock, "resize", "fit")
    seen.append(got())
    field(dock, "input", "size").setText("300")
    size = {"size": (300, 300), "resize": "pad"}
    choose(dock, "resize", "pad")
    for padding, place in (
        ("replicate", "end"), ("reflect", "centre"), ("zero", "end"), ("black", "centre"),
    ):  # fmt: skip
        choose(dock, "padding", padding)
        choose(dock, "padding_place", place)
        seen.append(got())
        np.testing.assert_array_equal(
            seen[-1], wanted(**size, padding=padding, padding_place=place)
        )
    assert len({array.tobytes() for array in seen}) == len(seen)
    for preset, low, high in (("zero_255", 0, 255), ("mobilenet", -1, 1), ("mnist", -0.5, 2.9)):
        shown = normalise.way.findData("minus_one_one" if preset == "mobilenet" else preset)
        normalise.way.setCurrentIndex(shown)
        found = got()
        np.testing.assert_allclose(found, wanted(**size, normalization=preset, padding="black",
                                                 padding_place="centre"), rtol=1e-6)  # fmt: skip
        assert low <= found.min() < found.max() <= high


def test_what_means_nothing_for_a_way_of_resizing_is_hidden_and_not_asked(asked, qtbot) -> None:
    dock = asked()
    names = ("shorter_side", "interpolation", "antialias", "padding", "padding_place")

    def shown() -> set[str]:
        return {name for name in names if not field(dock, "input", name).isHidden()}

    assert shown() == {"interpolation", "antialias"}
    field(dock, "input", "size").setText("250")
    choose(dock, "resize", "crop")
    assert shown() == {"shorter_side", "interpolation", "antialias"}
    side = field(dock, "input", "shorter_side")
    for text, says in (("60", "no side is longer"), ("many", "write a number of pixels")):
        side.setText(text)
        settled(dock, qtbot)
        assert dock.message.text().startswith("Shorter side: ")
        assert says in dock.message.text()
        assert dock.session.network.spec.input.shorter_side is None
    side.setText("300")
    settled(dock, qtbot)
    assert (dock.message.text(), dock.session.network.spec.input.shorter_side) == ("", 300)
    # Another way forgets it, and takes it up again when it means something.
    for way, visible, kept in (
        ("tile", set(), None),
        ("fit", set(names) - {"shorter_side"}, None),
        ("pad", {"padding", "padding_place"}, None),
        ("crop", {"shorter_side", "interpolation", "antialias"}, 300),
    ):
        choose(dock, "resize", way)
        assert shown() == visible
        settled(dock, qtbot)
        assert dock.message.text() == ""
        assert dock.session.network.spec.input.resize == way
        assert dock.session.network.spec.input.shorter_side == kept
    choose(dock, "interpolation", "lanczos")
    assert "antialias" not in shown()
    for one in dock.form.fields:
        if one.place[0] == "input" and one.place[-1] != "normalization":
            assert one.widget.toolTip()
            assert one.widget.accessibleName()

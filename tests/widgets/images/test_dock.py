"""The dock “Images”: listed, shown, scored, sorted, cancelled, saved."""

from __future__ import annotations

import csv
import shutil
import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QStyle, QStyleOptionComboBox
from skimage.io import imread, imsave

import napari_neuroscope as ns
from napari_neuroscope.engine.evaluation.confusion import Confusion
from napari_neuroscope.engine.images.ground_truth.reader import class_labels
from napari_neuroscope.samples.architectures import UNet
from napari_neuroscope.widgets.images.dock import Images

NUCLEI = Path(str(files("napari_neuroscope.samples"))) / "nuclei"
CELLS = NUCLEI.parent / "blood-cells"


def cells(dock: Images, name: str) -> list[str]:
    model, row = dock.form.table.view.model(), dock.form.table.names().index(name)
    return [model.index(row, column).data() for column in range(model.columnCount())]


def test_files_are_paired_by_stem_and_the_rest_is_said(
    images_dock, image_folder: Path, images_idle
) -> None:
    dock = images_dock()
    dock.add_files(image_folder / "images", image_folder / "truth")
    images_idle(dock)
    assert dock.form.table.names() == ["cell0.png", "cell1.png", "cell2.png"]
    assert cells(dock, "cell1.png")[1] == "cell1_labels.tif"
    assert "“notes.txt” is no image" in dock.message.text()
    assert dock.form.overall.text() == "3 images, 3 with ground truth."
    assert dock.form.table.has_icon("cell2.png")


def test_all_are_measured_and_the_worst_is_one_click_away(
    images_dock, image_folder: Path, images_idle, viewer, tmp_path: Path, monkeypatch
) -> None:
    dock = images_dock()
    dock.add_files(image_folder / "images", image_folder / "truth")
    images_idle(dock)
    assert dock.form.rim.currentText() == "border"
    dock.show_metrics("mean_iou", "accuracy", "iou")
    dock.predict_all()
    images_idle(dock)
    scores = dock.session.scores
    # A plain script says the same.
    network, total = ns.load("demo:nuclei"), Confusion.none(("background", "nucleus", "border"))
    ious = {}
    for number in range(3):
        image = imread(image_folder / "images" / f"cell{number}.png")
        path = next((image_folder / "truth").glob(f"cell{number}_*"))
        instances = (tifffile.imread if path.suffix == ".tif" else imread)(path)
        truth = class_labels(instances, network, image.shape[:2], "instances", border_class=2)
        one = Confusion.of(truth.labels, network.predict(image).labels, total.names)
        total, hits = total + one, np.diag(one.counts)
        union = one.counts.sum(0) + one.counts.sum(1) - hits
        ious[f"cell{number}.png"] = np.mean((hits / np.maximum(union, 1))[union > 0])
    np.testing.assert_array_equal(scores.total.counts, total.counts)
    for name, iou in ious.items():
        assert cells(dock, name)[2] == f"{iou:.3f}"
    dock.form.table.sort_by("Mean IoU")
    assert dock.form.table.names() == sorted(ious, key=lambda name: ious[name])
    worst = dock.form.table.names()[0]
    dock.form.table.choose_at(dock.form.table.view.model().index(0, 0))
    images_idle(dock)
    shown = {layer.name for layer in viewer.layers}
    assert {worst, "Ground truth", "Prediction"} <= shown
    assert viewer.layers[worst].data.shape == imread(image_folder / "images" / worst).shape
    assert dock.session.comparison.name == worst
    assert dock.inspector.image_layer().name == worst
    # Saved figures are those.
    out = tmp_path / "scores.csv"
    monkeypatch.setattr(
        "napari_neuroscope.widgets.parts.dialogs.save_dialog.QFileDialog.getSaveFileName",
        lambda *_: (str(out), ""),
    )
    dock.form.save.click()
    rows = {row["image"]: row for row in csv.DictReader(out.open())}
    assert float(rows[worst]["Mean IoU"]) == pytest.approx(ious[worst], abs=1e-12)


def test_next_and_previous_keep_the_users_view(
    images_dock, image_folder: Path, images_idle, viewer
) -> None:
    dock = images_dock()
    dock.add_files(image_folder / "images", image_folder / "truth")
    images_idle(dock)
    dock.form.table.step(1)
    images_idle(dock)
    layer = dock.session.comparison.source
    assert layer.name == "cell0.png"
    layer.colormap, layer.opacity = "magma", 0.7
    viewer.layers["Prediction"].opacity = 0.3
    viewer.layers["Ground truth"].contour = 4
    dock.form.table.step(1)
    images_idle(dock)
    assert dock.session.comparison.name == "cell1.png"
    assert dock.session.comparison.source is layer
    assert (layer.name, layer.opacity) == ("cell1.png", 0.7)
    assert viewer.layers["Prediction"].opacity == 0.3
    assert viewer.layers["Ground truth"].contour == 4
    assert viewer.layers["Ground truth"].data.shape == (96, 96)
    # The inspector explains the image that is there now.
    assert dock.inspector.session.network_summary.prediction.image.shape == (96, 96)
    dock.form.table.step(-1)
    images_idle(dock)
    assert dock.session.comparison.name == "cell0.png"


@pytest.mark.parametrize("part", ["errors", "intersection", "union", "difference"])
def test_error_layers(part: str, images_dock, image_folder: Path, images_idle, viewer) -> None:
    dock = images_dock()
    dock.add_files(image_folder / "images", image_folder / "truth")
    images_idle(dock)
    dock.show_errors()
    assert "Choose an image with ground truth" in dock.message.text()
    dock.go_to("cell2.png")
    images_idle(dock)
    dock.form.class_box.setCurrentText("nucleus")
    dock.form.error_kind.setCurrentIndex(dock.form.error_kind.findData(part))
    dock.show_errors()
    truth, found = (
        labels == 1
        for labels in (dock.session.comparison.truth, dock.session.comparison.prediction.labels)
    )
    expected = {
        "errors": 1 * (truth & found) + 2 * (truth & ~found) + 3 * (found & ~truth),
        "intersection": truth & found,
        "union": truth | found,
        "difference": truth ^ found,
    }[part]
    layer = viewer.layers[-1]
    assert layer.name.endswith("nucleus")
    np.testing.assert_array_equal(layer.data, expected)
    assert expected.any()
    # Nothing is over them or below, the second time as well.
    covering = [viewer.layers[name] for name in ("Prediction", "Ground truth")]
    assert not any(one.visible for one in covering)
    for one in covering:
        one.visible = True
    dock.show_errors()
    assert layer.visible
    assert not any(one.visible for one in covering)
    # They are of the image that is shown.
    dock.go_to("cell1.png")
    images_idle(dock)
    truth, found = (
        labels == 1
        for labels in (dock.session.comparison.truth, dock.session.comparison.prediction.labels)
    )
    assert layer.visible
    np.testing.assert_array_equal(layer.data > 0, {
        "errors": truth | found, "intersection": truth & found, "union": truth | found,
        "difference": truth ^ found,
    }[part])  # fmt: skip


def test_images_of_the_viewer_and_planes_of_a_stack(images_dock, images_idle, viewer, rng) -> None:
    dock = images_dock()
    stack = np.stack([imread(path)[:64, :64] for path in sorted((NUCLEI / "images").iterdir())[:2]])
    truth = (stack > np.percentile(stack, 80)).astype(np.int32)
    viewer.add_image(stack, name="Stack", rgb=False, scale=(1, 0.5, 0.5))
    viewer.add_labels(truth, name="Stack, ground truth", scale=(1, 0.5, 0.5))
    dock.add_layers()
    images_idle(dock)
    assert dock.form.table.names() == ["Stack [0]", "Stack [1]"]
    dock.form.truth_kind.setCurrentIndex(dock.form.truth_kind.findData("instances"))
    dock.predict_all()
    images_idle(dock)
    assert [result.name for result in dock.session.scores.results] == ["Stack [0]", "Stack [1]"]
    dock.go_to("Stack [1]")
    images_idle(dock)
    # The layer itself is shown, at its plane, and the overlays lie on it.
    assert viewer.dims.current_step[0] == 1
    assert dock.session.comparison.source.name == "Stack"
    prediction = viewer.layers["Prediction"]
    np.testing.assert_allclose(prediction.scale, (1, 0.5, 0.5))
    assert prediction.translate[0] == 1


def test_a_classifier_is_measured_by_a_table_of_classes(
    images_dock, open_dock, images_idle, viewer
) -> None:
    dock, confusion = images_dock("blood-cells"), open_dock("Confusion matrix")
    dock.add_files(CELLS / "images")
    images_idle(dock)
    dock.pair_with(CELLS / "labels.csv")
    images_idle(dock)
    assert dock.form.overall.text() == "9 images, 9 with ground truth."
    dock.predict_all()
    images_idle(dock)
    assert dock.session.scores.total.total == 9
    assert confusion.plot.axes.get_title() == "9 images, shares in %"
    dock.form.table.step(1)
    images_idle(dock)
    assert "predicted" in dock.form.image_note.text()
    assert not any(layer.name == "Ground truth" for layer in viewer.layers)
    dock.show_errors()
    assert "one class for the whole image" in dock.message.text()


def test_what_does_not_fit_is_listed_and_the_rest_done(
    images_dock, image_folder: Path, images_idle
) -> None:
    (image_folder / "images" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (image_folder / "truth" / "broken.png").write_bytes(
        (image_folder / "truth" / "cell0_labels.png").read_bytes()
    )
    other = imread(image_folder / "truth" / "cell0_labels.png")[::2, ::2]
    imsave(image_folder / "truth" / "cell0_labels.png", other, check_contrast=False)
    dock = images_dock()
    dock.add_files(image_folder / "images", image_folder / "truth")
    images_idle(dock)
    dock.predict_all()
    images_idle(dock)
    names = [result.name for result in dock.session.scores.results]
    assert names == ["cell0.png", "cell1.png", "cell2.png"]
    assert "broken.png" in dock.message.text()
    assert any("resized" in note or "nearest" in note
               for note in dock.session.scores.results[0].notes)  # fmt: skip


def test_predicting_is_cancelled_and_blocks_nothing(
    images_dock, image_folder: Path, images_idle, qtbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock = images_dock()
    dock.add_files(image_folder / "images", image_folder / "truth")
    images_idle(dock)
    forward = UNet.forward

    def slow(self, x):
        time.sleep(1.0)
        return forward(self, x)

    monkeypatch.setattr(UNet, "forward", slow)
    start = time.monotonic()
    dock.predict_all()
    assert time.monotonic() - start < 0.5
    qtbot.waitUntil(lambda: len(dock.scores) == 1, timeout=30_000)
    dock.progress.stop_button.click()
    assert not dock.busy
    assert dock.session.scores is None
    # What was measured stays to be seen.
    assert len(dock.scores) >= 1


def test_images_are_shown_while_others_are_measured(
    images_dock, image_folder: Path, images_idle, qtbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock = images_dock()
    dock.add_files(image_folder / "images", image_folder / "truth")
    images_idle(dock)
    forward = UNet.forward

    def slow(self, x):
        time.sleep(0.7)
        return forward(self, x)

    monkeypatch.setattr(UNet, "forward", slow)
    dock.predict_all()
    dock.go_to("cell2.png")
    qtbot.waitUntil(lambda: dock.session.comparison is not None, timeout=30_000)
    # It did not wait for all, and stopped nothing.
    assert dock.scoring.busy
    monkeypatch.undo()
    images_idle(dock)
    assert len(dock.session.scores.results) == 3


def test_what_is_added_in_a_row_is_all_listed(images_dock, image_folder: Path, images_idle) -> None:
    dock = images_dock()
    for number in range(3):
        dock.add_files(image_folder / "images" / f"cell{number}.png")
    dock.add_files(image_folder / "images" / "cell0.png")
    dock.add_files(image_folder / "nowhere")
    images_idle(dock)
    assert dock.form.table.names() == ["cell0.png", "cell1.png", "cell2.png"]
    assert "There is no image" in dock.message.text()


def test_ground_truth_by_hand_and_removal(images_dock, image_folder: Path, images_idle) -> None:
    dock = images_dock()
    shutil.copy(image_folder / "truth" / "cell0_labels.png", image_folder / "other.png")
    dock.add_files([image_folder / "images" / "cell0.png", image_folder / "images" / "cell1.png"])
    images_idle(dock)
    dock.predict_all()
    assert "No image in the list has ground truth" in dock.message.text()
    dock.set_truth("cell0.png", image_folder / "other.png")
    images_idle(dock)
    assert cells(dock, "cell0.png")[1] == "other.png"
    dock.form.table.mark("cell1.png")
    dock.form.remove.click()
    images_idle(dock)
    assert dock.form.table.names() == ["cell0.png"]
    assert (image_folder / "images" / "cell1.png").exists()


def test_without_a_network_images_are_shown_all_the_same(
    images_dock, image_folder: Path, images_idle, viewer
) -> None:
    dock = images_dock(None)
    dock.add_files(image_folder / "images")
    images_idle(dock)
    dock.go_to("cell1.png")
    images_idle(dock)
    assert [layer.name for layer in viewer.layers] == ["cell1.png"]
    dock.predict_all()
    assert "Choose a network" in dock.message.text()


def columns_in_sight(dock: Images) -> list[str]:
    view = dock.form.table.view
    header, model = view.horizontalHeader(), view.model()
    return [
        model.headerData(n, Qt.Orientation.Horizontal) for n in range(model.columnCount())
        if header.sectionViewportPosition(n) + header.sectionSize(n) <= view.viewport().width()
    ]  # fmt: skip


def test_a_folder_is_paired_by_itself_and_seen_worst_first(
    images_dock, image_folder: Path, images_idle, viewer, qtbot
) -> None:
    dock = images_dock()
    dock.add_files(image_folder)
    images_idle(dock)
    assert dock.form.overall.text() == "3 images, 3 with ground truth."
    assert cells(dock, "cell1.png")[1] == "cell1_labels.tif"
    # Nothing is known yet of what the numbers are.
    assert dock.form.rim_row.isHidden()
    dock.predict_all()
    images_idle(dock)
    scores = dock.session.scores
    # A plain script says which is the worst.
    assert dock.form.table.names() == [
        score.name for score in sorted(scores.results, key=lambda one: _mean_iou(one.confusion))
    ]
    assert not dock.form.rim_row.isHidden()
    dock.form.truth_kind.setCurrentIndex(dock.form.truth_kind.findData("classes"))
    assert dock.form.rim_row.isHidden()
    # As narrow as it may be, its figures are seen, and six images where a laptop has a tab of it.
    dock.resize(380, 600)
    dock.layout().activate()
    assert columns_in_sight(dock) == ["Image", "Truth", "Mean IoU", "Accuracy"]
    row = dock.form.table.view.rowHeight(0)
    assert dock.form.table.view.viewport().height() >= 6 * row
    for box in (dock.form.error_kind, dock.form.truth_kind):
        room = box.style().subControlRect(
            QStyle.ComplexControl.CC_ComboBox, _option_of(box),
            QStyle.SubControl.SC_ComboBoxEditField, box,
        )  # fmt: skip
        assert box.fontMetrics().horizontalAdvance(box.currentText()) <= room.width()


def _mean_iou(confusion: Confusion) -> float:
    hits = np.diag(confusion.counts)
    union = confusion.counts.sum(0) + confusion.counts.sum(1) - hits
    return float(np.mean((hits / np.maximum(union, 1))[union > 0]))


def _option_of(box: QComboBox) -> QStyleOptionComboBox:
    option = QStyleOptionComboBox()
    box.initStyleOption(option)
    return option


def test_a_part_of_the_images_leaves_nothing_out(
    images_dock, image_folder: Path, images_idle
) -> None:
    dock = images_dock()
    (image_folder / "images" / "notes.txt").unlink()
    dock.add_files([image_folder / "images" / "cell1.png"])
    images_idle(dock)
    dock.pair_with(image_folder / "truth")
    images_idle(dock)
    assert dock.form.overall.text() == "1 images, 1 with ground truth."
    assert dock.message.text() == ""
    # Of a whole folder it is said how many are left.
    (image_folder / "images" / "cell1.png").unlink()
    dock.form.table.view.selectAll()
    dock.form.remove.click()
    images_idle(dock)
    dock.add_files(image_folder / "images", image_folder / "truth")
    images_idle(dock)
    assert dock.message.text() == "1 files of ground truth go with no image of the list."


def test_the_keyboard_goes_to_the_next_image_with_the_same_map(
    images_dock, image_folder: Path, images_idle, viewer, qtbot
) -> None:
    dock = images_dock()
    dock.add_files(image_folder / "images", image_folder / "truth")
    images_idle(dock)
    dock.go_to("cell0.png")
    images_idle(dock)
    inspector = dock.inspector
    inspector.choose_method("grad_cam")
    inspector.choose_layers(["dec1"])
    inspector.choose_classes([1])
    inspector.choose_region("predicted")
    inspector.form.live.setChecked(True)
    shown: list = []
    inspector.explained.connect(lambda _, explanation: shown.append(explanation))
    for key, name in ((Qt.Key.Key_Down, "cell1.png"), (Qt.Key.Key_Up, "cell0.png")):
        qtbot.keyClick(dock.form.table.view, key)
        qtbot.waitUntil(lambda name=name: dock.session.comparison.name == name, timeout=20_000)
        images_idle(dock)
        network, image = ns.load("demo:nuclei"), imread(image_folder / "images" / name)
        expected = ns.explain(network, image, "grad_cam", ns.Target(1, "predicted"), "dec1")
        qtbot.waitUntil(
            lambda expected=expected: (
                bool(shown) and shown[-1].values.shape == expected.values.shape
            ),
            timeout=20_000,
        )
        np.testing.assert_allclose(shown[-1].values, expected.values, rtol=1e-4, atol=1e-6)
    tips = [dock.form.back.toolTip(), dock.form.next.toolTip()]
    assert tips == ["The previous image (Alt+Up).", "The next image (Alt+Down)."]

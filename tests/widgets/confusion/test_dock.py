"""The dock “Confusion matrix”: drawn, clicked, saved."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.evaluation.confusion import Confusion
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.widgets.confusion.plot import ConfusionPlot, with_most_errors
from plots import click


def test_a_cell_of_the_matrix_shows_its_pixels_and_images(
    images_dock, open_dock, image_folder: Path, images_idle, viewer
) -> None:
    dock, confusion = images_dock(), open_dock("Confusion matrix")
    assert confusion.confusion is None
    dock.add_files(image_folder / "images", image_folder / "truth")
    images_idle(dock)
    dock.predict_all()
    images_idle(dock)
    dock.go_to("cell1.png")
    images_idle(dock)
    # A click in the middle of the cell “true nucleus, predicted border”.
    axes = confusion.plot.axes
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("True class", "Predicted class")
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "background", "nucleus", "border",
    ]  # fmt: skip
    click(axes, 1.8, 1.3)
    assert dock.session.cell == (1, 2)
    comparison = dock.session.comparison
    layer = next(one for one in viewer.layers if one.name.startswith("True nucleus"))
    expected = (comparison.truth == 1) & (comparison.prediction.labels == 2)
    assert expected.any()
    np.testing.assert_array_equal(layer.data, expected)
    assert not viewer.layers["Prediction"].visible
    counts = {one.name: one.confusion.counts[1, 2] for one in dock.session.scores.results}
    listed = [confusion.images.item(n).text() for n in range(confusion.images.count())]
    best = max(counts, key=lambda name: counts[name])
    assert listed[0] == f"{best}   {counts[best]:,}"
    # A click on an image shows it, with its own pixels.
    confusion.images.itemClicked.emit(confusion.images.item(0))
    images_idle(dock)
    assert dock.session.comparison.name == best
    assert layer.data.sum() == counts[best]
    confusion.clear_button.click()
    assert dock.session.cell is None
    assert not layer.visible


@pytest.mark.parametrize("way", [None, "true", "predicted", "all"])
def test_the_matrix_is_saved_as_it_is_shown(
    way: str | None, images_dock, open_dock, image_folder: Path, images_idle, tmp_path: Path
) -> None:
    dock, confusion = images_dock(), open_dock("Confusion matrix")
    dock.add_files(image_folder / "images", image_folder / "truth")
    images_idle(dock)
    dock.predict_all()
    images_idle(dock)
    confusion.way.setCurrentIndex(confusion.way.findData(way))
    values = dock.session.scores.total.normalised(way)
    np.testing.assert_array_equal(confusion.plot.axes.images[0].get_array().filled(np.nan), values)
    for suffix, start in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".csv", b"true")):
        confusion.save(tmp_path / f"out{suffix}")
        assert (tmp_path / f"out{suffix}").read_bytes().startswith(start)
    rows = list(csv.reader((tmp_path / "out.csv").open()))
    assert rows[0] == ["true \\ predicted", "background", "nucleus", "border"]
    assert float(rows[2][1]) == pytest.approx(values[1, 0])
    with pytest.raises(ns.NeuroscopeError, match=r"none of \.png"):
        confusion.save(tmp_path / "out.doc")


def map_of(viewer):
    return next(
        layer for layer in viewer.layers
        if layer.metadata.get(KEY, {}).get("method") == "grad_cam" and layer.visible
    )  # fmt: skip


def test_one_click_asks_why_those_pixels_are_taken_for_another_class(
    images_dock, open_dock, image_folder: Path, images_idle, viewer, qtbot
) -> None:
    dock, confusion = images_dock(), open_dock("Confusion matrix")
    assert not confusion.why_button.isEnabled()
    dock.add_files(image_folder / "images", image_folder / "truth")
    images_idle(dock)
    dock.predict_all()
    images_idle(dock)
    dock.inspector.choose_method("grad_cam")
    dock.inspector.choose_layers(["dec1"])
    # No image is shown: the one with most such pixels is shown first.
    click(confusion.plot.axes, 2, 1)
    assert confusion.why_button.text() == "Why border?"
    assert confusion.why_not_button.text() == "Why not nucleus?"
    best = dock.session.scores.images_with(1, 2)[0]
    shown: list = []
    dock.inspector.explained.connect(lambda *answer: shown.append(answer))
    confusion.why_button.click()
    qtbot.waitUntil(lambda: len(shown) == 1, timeout=30_000)
    comparison = dock.session.comparison
    assert comparison.name == best.name
    mask = (comparison.truth == 1) & (comparison.prediction.labels == 2)
    assert mask.sum() == best.confusion.counts[1, 2]
    image, network = np.asarray(viewer.layers[best.name].data), ns.load("demo:nuclei")

    def expected(index: int) -> np.ndarray:
        return ns.explain(network, image, "grad_cam", ns.Target(index, mask), "dec1").values

    np.testing.assert_allclose(map_of(viewer).data, expected(2), rtol=1e-4, atol=1e-6)
    target = map_of(viewer).metadata[KEY]["targets"][0]
    assert target["class"] == "border"
    assert target["region"].startswith("true nucleus, predicted border, mask ")
    # The cell's pixels are not seen through the map; the region is told in the inspector.
    (cell,) = [layer for layer in viewer.layers if layer.name.startswith("True nucleus")]
    assert not cell.visible
    box = dock.inspector.form.target.region_box
    assert box.currentText() == "true nucleus, predicted border"
    confusion.why_not_button.click()
    qtbot.waitUntil(lambda: len(shown) == 2, timeout=30_000)
    np.testing.assert_allclose(map_of(viewer).data, expected(1), rtol=1e-4, atol=1e-6)
    # A cell of the diagonal has no other class, and an empty one nothing to ask about.
    click(confusion.plot.axes, 1, 1)
    assert confusion.why_not_button.isHidden()


def test_why_opens_the_inspector_where_it_is_closed(
    images_dock, open_dock, image_folder: Path, images_idle, viewer, qtbot
) -> None:
    dock, confusion = images_dock(), open_dock("Confusion matrix")
    dock.add_files(image_folder / "images", image_folder / "truth")
    images_idle(dock)
    dock.predict_all()
    images_idle(dock)
    dock.go_to("cell1.png")
    images_idle(dock)
    viewer.window.remove_dock_widget(dock.inspector)
    assert dock.inspector.closed
    click(confusion.plot.axes, 2, 1)
    confusion.why_button.click()
    qtbot.waitUntil(lambda: dock.session.explanation is not None, timeout=30_000)
    record = dock.session.explanation.record
    assert [target.class_ for target in record.targets] == ["border"]
    assert record.targets[0].region.startswith("true nucleus, predicted border, mask ")
    _, inspector = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
    inspector.close_work()


def test_a_classifiers_cell_asks_about_an_image_of_it(
    images_dock, open_dock, images_idle, viewer, qtbot
) -> None:
    cells = Path(ns.__file__).parent / "samples" / "blood-cells"
    dock, confusion = images_dock("blood-cells"), open_dock("Confusion matrix")
    dock.add_files(cells / "images")
    images_idle(dock)
    dock.pair_with(cells / "labels.csv")
    images_idle(dock)
    dock.predict_all()
    images_idle(dock)
    scores = dock.session.scores
    true, predicted = map(int, np.argwhere(scores.total.counts)[-1])
    click(confusion.plot.axes, predicted, true)
    confusion.why_button.click()
    qtbot.waitUntil(lambda: dock.session.explanation is not None, timeout=30_000)
    assert dock.session.comparison.name in [
        score.name for score in scores.images_with(true, predicted)
    ]
    (target,) = dock.session.explanation.record.targets
    assert target.class_ == scores.names[predicted]


def texts_of(plot: ConfusionPlot) -> list[str]:
    return [text.get_text() for text in plot.axes.texts]


def test_figures_have_a_meaning_and_the_matrix_takes_its_room(qtbot) -> None:
    counts = np.array([[9_960, 40, 0], [3, 997, 0], [0, 0, 0]])
    plot = ConfusionPlot(lambda _: None, lambda _: None)
    qtbot.addWidget(plot.area)
    plot.draw(Confusion(counts, ("a", "b", "c")), "true", "dark", "pixels")
    assert texts_of(plot) == [">99", "<1", "", "<1", ">99", "", "–", "–", "–"]
    assert plot.axes.get_title() == "11,000 pixels, shares in %"
    plot.draw(Confusion(counts, ("a", "b", "c")), None, "dark", "pixels")
    assert texts_of(plot) == ["9.96k", "40", "", "3", "997", "", "", "", ""]
    plot.area.resize(620, 400)
    plot.area.show()
    plot.canvas.draw()
    assert plot.axes.get_window_extent().width > 0.8 * 620


def test_of_many_classes_those_with_most_errors_are_shown_and_clicked(qtbot, rng) -> None:
    names = tuple(f"class {n}" for n in range(200))
    counts = np.diag(rng.integers(50, 100, 200))
    wrong = sorted(rng.choice(200, 30, replace=False).tolist())
    for n, number in enumerate(wrong):
        counts[number, wrong[n - 1]] += 5 + n
    confusion, clicked = Confusion(counts, names), []
    assert list(with_most_errors(confusion)) == wrong
    plot = ConfusionPlot(clicked.append, lambda _: None)
    qtbot.addWidget(plot.area)
    plot.draw(confusion, "true", "dark", "pixels", only_errors=True)
    assert [label.get_text() for label in plot.axes.get_yticklabels()] == [names[n] for n in wrong]
    click(plot.axes, 4, 7)
    assert clicked == [(wrong[7], wrong[4])]
    # Its cells can be read, so it is scrolled where there is less room.
    plot.area.resize(340, 150)
    plot.area.show()
    assert plot.canvas.width() > 900
    plot.draw(confusion, "true", "dark", "pixels")
    click(plot.axes, 120, 33)
    assert clicked[-1] == (33, 120)

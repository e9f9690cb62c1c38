"""The dock “Confusion matrix”: drawn, clicked, saved."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import napari_neuroscope as ns
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

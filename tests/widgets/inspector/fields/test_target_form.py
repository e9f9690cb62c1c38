"""Truth, prediction and errors that are shown are regions to ask about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from skimage.io import imread

import napari_neuroscope as ns
from napari_neuroscope.engine.explanation.record_format import KEY


def offered(box) -> list[str]:
    return [box.itemText(row) for row in range(box.count())]


def map_of(viewer):
    return next(
        layer for layer in viewer.layers if "targets" in layer.metadata.get(KEY, {"targets": ()})
        and layer.metadata.get(KEY, {}).get("method") == "grad_cam"
    )  # fmt: skip


def test_truth_prediction_and_errors_are_regions(
    images_dock, image_folder: Path, images_idle, viewer, explained
) -> None:
    dock = images_dock()
    inspector = dock.inspector
    target = inspector.form.target
    dock.add_files(image_folder / "images", image_folder / "truth")
    images_idle(dock)
    assert offered(target.labels_box) == ["None"]
    dock.go_to("cell1.png")
    images_idle(dock)
    # The one that fits is chosen by itself, and says where a class truly is.
    assert target.labels_box.currentText() == "Ground truth"
    assert not inspector.ask_tool.every.isEnabled()
    inspector.choose_method("grad_cam")
    inspector.choose_layers(["dec1"])
    inspector.choose_classes([1])
    inspector.choose_region("ground_truth")
    explained(inspector)
    comparison = dock.session.comparison
    image, network = imread(image_folder / "images" / "cell1.png"), ns.load("demo:nuclei")
    expected = ns.explain(network, image, "grad_cam", ns.Target(1, comparison.truth == 1), "dec1")
    np.testing.assert_allclose(map_of(viewer).data, expected.values, rtol=1e-4, atol=1e-6)
    # Errors are, each kind by its name; maps are not.
    dock.form.class_box.setCurrentText("nucleus")
    dock.show_errors()
    regions = offered(target.region_box)
    kinds = ["nucleus: agreement", "nucleus: missed", "nucleus: false"]
    assert [name for name in regions if name in kinds] == kinds
    assert {"Prediction: selected label", "Ground truth: selected label"} <= set(regions)
    assert not any("Grad-CAM" in name for name in regions)
    target.region_box.setCurrentText("nucleus: missed")
    explained(inspector)
    missed = (comparison.truth == 1) & (comparison.prediction.labels != 1)
    expected = ns.explain(network, image, "grad_cam", ns.Target(1, missed), "dec1")
    np.testing.assert_allclose(map_of(viewer).data, expected.values, rtol=1e-4, atol=1e-6)
    said = map_of(viewer).metadata[KEY]["targets"][0]["region"]
    assert said.startswith("nucleus: missed, mask ")
    assert said.endswith(f"{missed.sum()} pixels")
    # Another class of the errors is another region, under its own name.
    dock.form.class_box.setCurrentText("border")
    dock.show_errors()
    assert "border: missed" in offered(target.region_box)
    # “None” by hand stays, and truth of an image that is gone is chosen no longer.
    inspector.choose_labels(None)
    target.labels_box.activated.emit(0)
    dock.form.table.step(1)
    images_idle(dock)
    assert target.labels_box.currentText() == "None"
    inspector.choose_labels(viewer.layers["Ground truth"])
    other = viewer.add_image(np.zeros((40, 50), np.float32), name="Other")
    inspector.form.image.choose(other)
    images_idle(dock)
    assert target.labels_box.currentText() == "None"


def test_labels_of_the_images_size_are_its_truth_when_that_is_asked_for(
    viewer, opened, explained
) -> None:
    inspector = opened()
    box = inspector.form.target.labels_box
    assert box.currentText() == "None"
    inspector.choose_region("ground_truth")
    assert box.currentText() == "Nuclei, ground truth"
    # Of two nobody can tell which.
    inspector.choose_region("everywhere")
    inspector.choose_labels(None)
    viewer.add_labels(np.zeros(viewer.layers["Nuclei"].data.shape[:2], int), name="Mine")
    inspector.choose_region("ground_truth")
    assert box.currentText() == "None"
    assert "Choose the labels" in inspector.form.reason.text()

"""What the dock answers before anything is chosen: the first answer is right."""

from __future__ import annotations

import numpy as np
from skimage.transform import resize as resized

import napari_neuroscope as ns
from napari_neuroscope.engine.explanation.record_format import KEY


def maps_of(viewer) -> list:
    return [layer for layer in viewer.layers if layer.metadata.get(KEY, {}).get("targets")]


def test_a_segmentation_is_asked_by_hirescam_before_the_head_where_it_is_predicted(
    viewer, opened, explained, qtbot
) -> None:
    inspector = opened(method=None)
    form = inspector.form
    assert form.method.box.currentText() == "HiResCAM"
    assert form.target.region_box.currentText() == "Where it is predicted"
    # Half of the question is never folded away.
    assert form.target.region_row.isVisibleTo(inspector)
    assert not form.target.isExpanded()
    assert form.classes.title.y() < form.target.region_row.y() < form.classes.y()
    assert not form.classes.every.isVisibleTo(inspector)
    explained(inspector)
    (layer,) = maps_of(viewer)
    assert layer.metadata[KEY]["layers"] == ["dec1.relu2"]
    network, image = ns.load("demo:nuclei", device="cpu"), viewer.layers["Nuclei"].data
    target = ns.Target("nucleus", "predicted")
    expected = ns.explain(network, image, "hires_cam", target, "dec1").values
    np.testing.assert_allclose(layer.data, expected, rtol=1e-4, atol=1e-5 * expected.max())
    # Most of it lies on the nuclei, also further inside, where Grad-CAM shows their surroundings.
    nuclei = viewer.layers["Nuclei, ground truth"].data > 0
    inspector.choose_layers(["dec2"])
    explained(inspector)
    (layer,) = maps_of(viewer)
    on_nuclei = resized(layer.data, nuclei.shape)
    assert on_nuclei[nuclei].sum() > 0.9 * on_nuclei.sum()


def test_what_unfolds_is_scrolled_to(viewer, opened, qtbot) -> None:
    inspector = opened(method=None)
    target = inspector.form.target
    viewer.window.resize(1000, 500)
    viewer.window.show()
    target.toggleButton().click()
    qtbot.waitUntil(lambda: not target.labels_box.visibleRegion().isEmpty(), timeout=5000)


def test_the_fusion_map_is_over_all_classes_unless_some_are_chosen(
    viewer, opened, explained
) -> None:
    inspector = opened(method="fusion_score_map")
    classes, network = inspector.form.classes, ns.load("demo:nuclei", device="cpu")
    image = viewer.layers["Nuclei"].data
    probabilities = network.predict(image).probabilities
    assert classes.every.isVisibleTo(inspector)
    assert not classes.isEnabled()
    assert not inspector.form.target.region_row.isVisibleTo(inspector)

    def shown() -> np.ndarray:
        explained(inspector)
        (values,) = [
            layer.data
            for layer in viewer.layers
            if layer.metadata.get(KEY, {}).get("method") == "fusion_score_map"
            and layer.name.startswith("Fusion")
        ]
        return values[: image.shape[0], : image.shape[1]]

    crop = probabilities[:, : image.shape[0], : image.shape[1]]
    np.testing.assert_allclose(shown(), crop.max(0), rtol=1e-4)
    classes.every.setChecked(False)
    inspector.choose_classes([1])
    np.testing.assert_allclose(shown(), crop[1], rtol=1e-4, atol=1e-7)
    inspector.choose_method("hires_cam")
    assert classes.isEnabled()
    assert not classes.every.isVisibleTo(inspector)


def test_the_answer_is_told_as_people_read_it(viewer, opened, explained) -> None:
    inspector = opened(method=None)
    explained(inspector)
    words = inspector.message.text()
    assert "nucleus: 9" in words
    assert "% on average over" in words
    assert words.endswith("pixels where it is predicted")
    assert "e+0" not in words
    assert "logit, summed over the region" in inspector.message.toolTip()

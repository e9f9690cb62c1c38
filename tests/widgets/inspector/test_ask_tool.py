"""Questions about a region: drawn, clicked, and of every instance."""

from __future__ import annotations

import numpy as np
import pytest
from napari.utils._test_utils import read_only_mouse_event
from napari.utils.interactions import (
    mouse_move_callbacks,
    mouse_press_callbacks,
    mouse_release_callbacks,
)
from napari.utils.notifications import notification_manager

import napari_neuroscope as ns
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.viewer.image.layer_regions import LayerRegion
from napari_neuroscope.viewer.io.samples import nuclei

TRUTH = "Nuclei, ground truth"


def shown(viewer, method: str = "grad_cam"):
    return [layer for layer in viewer.layers if layer.metadata.get(KEY, {}).get("method") == method]


def last_notification() -> str:
    return notification_manager.records[-1].message


def click(viewer, position, *, to=None, button: int = 1, displayed=(-2, -1)) -> None:
    """Press and release the mouse at a place of the world, perhaps with a drag between."""
    model = getattr(viewer, "__wrapped__", viewer)
    shared = {"position": tuple(position), "button": button, "dims_displayed": list(displayed)}
    mouse_press_callbacks(model, read_only_mouse_event(type="mouse_press", **shared))
    if to is not None:
        shared["pos"] = np.array(to, float)
        mouse_move_callbacks(
            model, read_only_mouse_event(type="mouse_move", is_dragging=True, **shared)
        )
    mouse_release_callbacks(model, read_only_mouse_event(type="mouse_release", **shared))


@pytest.fixture
def asked(qtbot):
    """Wait until what was asked is answered."""

    def wait(inspector) -> None:
        qtbot.waitUntil(lambda: not inspector.jobs.busy, timeout=30_000)

    return wait


def single(image: np.ndarray, target: ns.Target, layer: str = "dec1"):
    return ns.explain(ns.load("demo:nuclei"), image, "grad_cam", target, layer)


@pytest.fixture
def truth() -> np.ndarray:
    return nuclei()[1][0]


# --- regions ---


def test_a_drawn_region_is_explained_and_named(viewer, opened, explained) -> None:
    inspector = opened()
    image = viewer.layers["Nuclei"]
    image.rotate, image.scale = 20, (0.5, 0.5)
    corners = [image.data_to_world(at) for at in ((40, 50), (40, 120), (110, 120), (110, 50))]
    shapes = viewer.add_shapes([corners], shape_type="polygon", name="ROI")
    inspector.choose_layers(["dec1"])
    inspector.choose_classes([1])
    inspector.choose_region(LayerRegion(shapes))
    explained(inspector)
    (layer,) = shown(viewer)
    mask = np.zeros(image.data.shape, bool)
    mask[40:111, 50:121] = True
    expected = single(image.data, ns.Target(1, mask))
    np.testing.assert_allclose(layer.data, expected.values, rtol=1e-4, atol=1e-6)
    region = layer.metadata[KEY]["targets"][0]["region"]
    assert region.startswith("all shapes of “ROI”, mask ")
    assert region.endswith(f"{mask.sum()} pixels")
    assert "all shapes of “ROI”" in inspector.message.text()


def test_the_region_box_offers_what_there_is(viewer, opened, qtbot) -> None:
    inspector = opened()
    box = inspector.form.target.region_box

    def offered() -> list[str]:
        return [box.itemText(row) for row in range(box.count())]

    named = ["Everywhere", "Where it is predicted", "Where it truly is"]
    assert offered() == [*named, f"{TRUTH}: all labels", f"{TRUTH}: selected label"]
    points = viewer.add_points([[3, 4]], name="Spots")
    assert offered()[-2:] == ["Spots: all points", "Spots: selected points"]
    points.name = "Dots"
    assert offered()[-2:] == ["Dots: all points", "Dots: selected points"]
    inspector.choose_region(LayerRegion(points, "selected"))
    assert inspector.session.region == LayerRegion(points, "selected")
    viewer.layers.remove(points)
    assert inspector.session.region == "everywhere"
    assert box.currentText() == "Everywhere"


def test_where_it_truly_is_needs_classes(viewer, opened, explained, truth) -> None:
    inspector = opened()
    inspector.choose_layers(["dec1"])
    inspector.choose_classes([1])
    inspector.choose_region("ground_truth")
    labels = viewer.layers[TRUTH]
    assert inspector.session.labels.name == TRUTH
    explained(inspector)
    assert "but the network's classes are 0 to 2" in last_notification()
    numbers = range(int(truth.max()) + 1)
    labels.features = {
        "index": list(numbers), "class": ["background", *["nucleus"] * int(truth.max())]
    }  # fmt: skip
    explained(inspector)
    (layer,) = shown(viewer)
    expected = single(viewer.layers["Nuclei"].data, ns.Target(1, truth > 0))
    np.testing.assert_allclose(layer.data, expected.values, rtol=1e-4, atol=1e-6)
    region = layer.metadata[KEY]["targets"][0]["region"]
    assert region.startswith(f"ground truth “{TRUTH}”")
    classes = viewer.add_labels((truth > 0).astype(int), name="Classes")
    inspector.choose_labels(classes)
    explained(inspector)
    assert (
        shown(viewer)[0].metadata[KEY]["targets"][0]["region"].startswith("ground truth “Classes”")
    )
    np.testing.assert_allclose(shown(viewer)[0].data, expected.values, rtol=1e-4, atol=1e-6)


def test_live_follows_what_is_drawn(viewer, opened, qtbot) -> None:
    inspector = opened()
    shapes = viewer.add_shapes(
        [[[40, 40], [40, 80], [80, 80], [80, 40]]], shape_type="polygon", name="ROI"
    )
    inspector.choose_layers(["dec1"])
    inspector.choose_classes([1])
    inspector.choose_region(LayerRegion(shapes))
    inspector.form.live.setChecked(True)

    def region() -> str:
        found = shown(viewer)
        return found[0].metadata[KEY]["targets"][0]["region"] if found else ""

    qtbot.waitUntil(lambda: region().endswith("1681 pixels"), timeout=20_000)
    shapes.data = [[[40, 40], [40, 60], [60, 60], [60, 40]]]
    qtbot.waitUntil(lambda: region().endswith(", 441 pixels"), timeout=20_000)
    labels = viewer.layers[TRUTH]
    labels.selected_label = 3
    inspector.choose_region(LayerRegion(labels, "selected"))
    qtbot.waitUntil(lambda: region().startswith("label 3 of"), timeout=20_000)
    labels.selected_label = 4
    qtbot.waitUntil(lambda: region().startswith("label 4 of"), timeout=20_000)


def test_an_empty_region_is_a_sentence(viewer, opened, explained) -> None:
    inspector = opened()
    shapes = viewer.add_shapes(name="ROI", ndim=2)
    inspector.choose_region(LayerRegion(shapes))
    explained(inspector)
    assert last_notification() == "The layer “ROI” is empty; draw shapes in it first."
    assert not shown(viewer)


# --- clicks ---


@pytest.mark.parametrize(
    "place",
    [{}, {"rotate": 35, "scale": (0.25, 0.5), "translate": (7, -3)}, {"shear": [0.3]}],
    ids=["plain", "rotated and scaled", "sheared"],
)
def test_a_click_explains_its_pixel(place, viewer, opened, asked) -> None:
    inspector = opened()
    image = viewer.layers["Nuclei"]
    for name, value in place.items():
        setattr(image, name, value)
    inspector.choose_layers(["dec1"])
    inspector.choose_classes([])
    network = inspector.session.network
    pixel = tuple(np.argwhere(network.predict(image.data).labels == 1)[200])
    inspector.ask_tool.ask.setChecked(True)
    click(viewer, image.data_to_world(np.array(pixel) + (0.4, -0.4)))
    asked(inspector)
    (layer,) = shown(viewer)
    expected = single(image.data, ns.Target("nucleus", tuple(map(int, pixel))))
    np.testing.assert_allclose(layer.data, expected.values, rtol=1e-4, atol=1e-6)
    questions = viewer.layers["Questions"]
    assert questions.data_to_world(questions.data[0]) == pytest.approx(image.data_to_world(pixel))
    row = questions.features.iloc[0]
    assert (row["class"], row["layer"], row["method"]) == ("nucleus", "dec1", "Grad-CAM")
    assert row["score"] == pytest.approx(expected.provenance["targets"][0]["value"], rel=1e-4)
    assert row["time"]


def test_the_second_click_changes_the_map_and_adds_a_point(viewer, opened, asked) -> None:
    inspector = opened()
    inspector.ask_tool.ask.setChecked(True)
    viewer.layers.selection.active = viewer.layers["Nuclei"]
    for at in ((50, 60), (200, 210)):
        click(viewer, at)
        asked(inspector)
    assert len(shown(viewer)) == 1
    questions = viewer.layers["Questions"]
    assert questions.data.tolist() == [[50, 60], [200, 210]]
    assert len(questions.features) == 2
    viewer.layers.remove(questions)
    click(viewer, (100, 110))
    asked(inspector)
    assert viewer.layers["Questions"].data.tolist() == [[100, 110]]


def test_a_click_on_an_instance_asks_about_all_of_it(viewer, opened, asked, truth) -> None:
    inspector = opened()
    inspector.choose_layers(["dec1"])
    inspector.choose_labels(viewer.layers[TRUTH])
    inspector.ask_tool.ask.setChecked(True)
    label = 5
    click(viewer, np.argwhere(truth == label)[10])
    asked(inspector)
    (layer,) = shown(viewer)
    (made,) = layer.metadata[KEY]["targets"]
    assert made["region"].startswith(f"label 5 of “{TRUTH}”")
    expected = single(viewer.layers["Nuclei"].data, ns.Target(made["class"], truth == label))
    np.testing.assert_allclose(layer.data, expected.values, rtol=1e-4, atol=1e-6)
    click(viewer, np.argwhere(truth == 0)[0])
    asked(inspector)
    assert "has no instance at the click" in inspector.message.text()
    assert shown(viewer)[0].metadata[KEY]["targets"][0]["region"].startswith("point")


def test_a_click_in_a_stack_explains_its_plane(viewer, opened, asked, truth) -> None:
    picture = nuclei()[0][0]
    stack = np.stack([picture[::-1], picture, picture[:, ::-1], picture])
    inspector = opened(sample=None, network=None)
    place = {"scale": (4, 0.5, 0.5), "translate": (100, 3, 4), "rotate": 15}
    image = viewer.add_image(stack, name="Stack", **place)
    labels = viewer.add_labels(np.stack([truth[::-1], truth, truth[:, ::-1], truth]), **place)
    viewer.dims.set_point(0, 108)
    inspector.choose_network("Demo: nuclei (U-Net)")
    asked(inspector)
    inspector.choose_layers(["dec1"])
    inspector.choose_labels(labels)
    inspector.ask_tool.ask.setChecked(True)
    pixel = np.argwhere(labels.data[2] == 7)[5]
    click(viewer, image.data_to_world((2, *pixel)))
    asked(inspector)
    (layer,) = shown(viewer)
    (made,) = layer.metadata[KEY]["targets"]
    expected = single(stack[2], ns.Target(made["class"], labels.data[2] == 7))
    np.testing.assert_allclose(layer.data[0], expected.values, rtol=1e-4, atol=1e-6)
    corner = layer.data_to_world((0, -0.5, -0.5))
    assert corner == pytest.approx(image.data_to_world((2, -0.5, -0.5)))
    assert viewer.layers["Questions"].data.tolist() == [[2, *pixel]]


def test_channels_are_no_planes(viewer, opened, asked) -> None:
    picture = nuclei()[0][0]
    inspector = opened(sample=None, network=None)
    viewer.add_image(np.stack([picture] * 3), name="Channels", rgb=False, scale=(1, 2, 2))
    inspector.choose_network("Demo: nuclei (U-Net)")
    asked(inspector)
    inspector.ask_tool.ask.setChecked(True)
    click(viewer, (0, 100, 120))
    asked(inspector)
    (layer,) = shown(viewer)
    assert layer.ndim == 3
    assert viewer.layers["Questions"].data[0, 1:].tolist() == [50, 60]


def test_drags_other_buttons_and_outside_explain_nothing(viewer, opened, asked) -> None:
    inspector = opened()
    inspector.ask_tool.ask.setChecked(True)
    click(viewer, (50, 60), to=(40, 0))
    click(viewer, (50, 60), button=2)
    asked(inspector)
    assert not shown(viewer)
    click(viewer, (-20, 60))
    assert last_notification() == (
        "The click is outside of the image “Nuclei”; click on the image."
    )
    click(viewer, (50, 60), displayed=(0, 1, 2))
    assert "2D view" in last_notification()
    assert not shown(viewer)
    click(viewer, (50, 60), to=(2, 2))
    asked(inspector)
    assert len(shown(viewer)) == 1, "a hand that shakes is no drag"


def test_off_puts_the_callbacks_back(viewer, opened, asked) -> None:
    inspector = opened()
    before = list(viewer.mouse_drag_callbacks)
    inspector.ask_tool.ask.setChecked(True)
    assert len(viewer.mouse_drag_callbacks) == len(before) + 1
    inspector.ask_tool.ask.setChecked(False)
    assert list(viewer.mouse_drag_callbacks) == before
    click(viewer, (50, 60))
    asked(inspector)
    assert not shown(viewer)
    inspector.ask_tool.ask.setChecked(True)
    inspector.close_work()
    assert list(viewer.mouse_drag_callbacks) == before


def test_of_fast_clicks_the_latest_wins(viewer, opened, asked) -> None:
    inspector = opened()
    inspector.ask_tool.ask.setChecked(True)
    for at in ((50, 60), (90, 100), (130, 140)):
        click(viewer, at)
    asked(inspector)
    assert viewer.layers["Questions"].data.tolist() == [[130, 140]]


def test_an_image_removed_meanwhile_is_said(viewer, opened, asked) -> None:
    inspector = opened()
    inspector.ask_tool.ask.setChecked(True)
    click(viewer, (50, 60))
    viewer.layers.remove("Nuclei")
    asked(inspector)
    assert not shown(viewer)
    assert "Questions" not in viewer.layers
    click(viewer, (50, 60))
    assert "Choose an image layer" in last_notification()


def test_a_classifier_is_asked_as_a_whole(viewer, opened) -> None:
    inspector = opened(sample="blood_cells", network="blood-cells")
    tool = inspector.ask_tool
    assert not tool.ask.isEnabled()
    assert "whole image" in tool.ask.toolTip()
    assert not tool.every.isEnabled()
    assert not inspector.form.target.region_box.isEnabled()
    assert "whole image" in inspector.form.target.region_box.toolTip()


# --- every instance ---


def test_every_instance_has_a_row_beside_the_users(viewer, opened, asked, truth) -> None:
    inspector = opened()
    labels = viewer.layers[TRUTH]
    tool = inspector.ask_tool
    assert not tool.every.isEnabled()
    assert "Choose the instances" in tool.every.toolTip()
    labels.features = {"index": [3, 5], "Comment": ["odd", "even"]}
    inspector.choose_labels(labels)
    inspector.choose_layers(["dec1"])
    assert tool.every.isEnabled()
    for _ in range(2):
        tool.every.click()
        asked(inspector)
        features = labels.features.set_index("index")
        assert sorted(features.index) == sorted(np.unique(truth))
        assert features.loc[[3, 5], "Comment"].tolist() == ["odd", "even"]
        assert list(features.columns) == [
            "Comment", "Neuroscope class", "Neuroscope probability", "Neuroscope mean score",
            "Neuroscope share inside", "Neuroscope share near", "Neuroscope channels",
        ]  # fmt: skip
    image = viewer.layers["Nuclei"].data
    row = features.loc[5]
    expected = single(image, ns.Target(row["Neuroscope class"], truth == 5))
    target = expected.provenance["targets"][0]
    assert target["positions"] == (truth == 5).sum()
    assert row["Neuroscope mean score"] == pytest.approx(
        target["value"] / target["positions"], rel=1e-4
    )
    assert row["Neuroscope probability"] == pytest.approx(target["probability"], rel=1e-3)
    weights = np.abs(expected.on_image())
    assert row["Neuroscope share inside"] == pytest.approx(
        weights[truth == 5].sum() / weights.sum(), rel=1e-3
    )
    assert len(row["Neuroscope channels"].split(", ")) == 3
    assert "instances were asked about" in inspector.message.text()


def test_columns_of_the_users_without_an_index_keep_their_labels(
    viewer, opened, asked, truth
) -> None:
    inspector = opened()
    labels = viewer.layers[TRUTH]
    labels.features = {"Comment": ["background", "first", "second"]}
    inspector.choose_labels(labels)
    inspector.ask_tool.every.click()
    asked(inspector)
    features = labels.features.set_index("index")
    assert features.loc[[0, 1, 2], "Comment"].tolist() == ["background", "first", "second"]
    assert features.loc[2, "Neuroscope class"]


def test_labels_removed_meanwhile_are_said(viewer, opened, asked) -> None:
    inspector = opened()
    inspector.choose_labels(viewer.layers[TRUTH])
    inspector.ask_tool.every.click()
    viewer.layers.remove(TRUTH)
    asked(inspector)
    assert "labels were removed" in inspector.message.text()
    assert inspector.session.labels is None


def test_a_click_on_an_error_asks_about_both_classes(
    images_dock, image_folder, images_idle, viewer, asked
) -> None:
    dock = images_dock()
    inspector = dock.inspector
    dock.add_files(image_folder / "images", image_folder / "truth")
    images_idle(dock)
    dock.go_to("cell1.png")
    images_idle(dock)
    inspector.choose_method("grad_cam")
    inspector.choose_layers(["dec1"])
    comparison = dock.session.comparison
    missed = (comparison.truth == 1) & (comparison.prediction.labels == 2)
    pixel = tuple(map(int, np.argwhere(missed)[0]))
    inspector.ask_tool.ask.setChecked(True)
    # No error is shown yet: its pixel alone is asked about.
    click(viewer, pixel)
    asked(inspector)
    assert [t["class"] for t in shown(viewer)[-1].metadata[KEY]["targets"]] == ["border"]
    dock.form.class_box.setCurrentText("nucleus")
    dock.show_errors()
    click(viewer, pixel)
    asked(inspector)
    targets = shown(viewer)[-1].metadata[KEY]["targets"]
    assert [target["class"] for target in targets] == ["border", "nucleus"]
    assert viewer.layers["Questions"].features["class"].iloc[-1] == "border, truly nucleus"
    image = np.asarray(viewer.layers["cell1.png"].data)
    for values, index in zip(shown(viewer)[-1].data, (2, 1), strict=True):
        expected = single(image, ns.Target(index, pixel))
        np.testing.assert_allclose(values, expected.values, rtol=1e-4, atol=1e-6)
    # Where both agree, nothing is an error.
    right = (comparison.truth == 1) & (comparison.prediction.labels == 1)
    click(viewer, tuple(map(int, np.argwhere(right)[0])))
    asked(inspector)
    assert [t["class"] for t in shown(viewer)[-1].metadata[KEY]["targets"]] == ["nucleus"]

"""Recipes in the dock: saved and copied of what is shown, and made again where they are dropped."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QFileDialog, QMessageBox
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.explain import crop as parts
from napari_neuroscope.engine.explanation.recipe_document import SUFFIX
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.tiles import tiling as tiles
from napari_neuroscope.session.network_catalog import DEMO_TITLES
from napari_neuroscope.viewer.state.layer_origin import explained_by
from napari_neuroscope.widgets.inspector.inspector import Inspector
from napari_neuroscope.widgets.inspector.maps import recipe_menu

SPEC: dict[str, Any] = {
    "task": "segmentation",
    "classes": ["sky", "car", "road"],
    "input": {"channels": 1, "order": "gray", "value_range": [0.0, 1.0]},
}
PATIENCE_MS = 30_000


@pytest.fixture(autouse=True)
def _own_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_: tmp_path / "config")


def saved_network(path: Path, seed: int = 0) -> Path:
    """Save a small segmenter of gray images."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1))
    torch.jit.save(torch.jit.trace(model.eval(), torch.zeros(1, 1, 8, 8)), path)
    return path


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).random((16, 24)).astype(np.float32)


@pytest.fixture
def recipe_of(tmp_path: Path, photo: np.ndarray) -> Callable[..., Path]:
    """Save the recipe of an explanation by a network in a file, or by a demo network."""

    def save(*asked: Any, demo: str = "", **options: Any) -> Path:
        network = ns.load(demo or saved_network(tmp_path / "net.pt"), None if demo else SPEC)
        answer = ns.explain(network, photo, *asked, **options)
        path = tmp_path / f"mine{SUFFIX}"
        ns.Recipe.of(answer).save(path, overwrite=True)
        return path

    return save


class Bench:
    """A viewer with a photo, in which recipes are dropped."""

    def __init__(self, viewer, qtbot) -> None:
        self.viewer, self.qtbot = viewer, qtbot
        self.inspector: Inspector | None = None

    def drop(self, path: Path) -> Inspector:
        """Open a file as napari opens what is dropped on it; wait until all is done."""
        started: list[str] = []
        assert self.viewer.open(str(path), plugin=None) == []
        _, inspector = self.viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
        self.inspector = inspector
        inspector.jobs.started.connect(started.append)
        self.qtbot.waitUntil(lambda: bool(started) and not inspector.jobs.busy, timeout=PATIENCE_MS)
        return inspector

    def maps(self) -> list[Any]:
        return [layer for layer in self.viewer.layers if KEY in layer.metadata]

    def said(self) -> str:
        assert self.inspector is not None
        return self.inspector.message.text()


@pytest.fixture
def bench(viewer, qtbot, photo) -> Iterator[Bench]:
    viewer.add_image(photo, name="photo")
    made = Bench(viewer, qtbot)
    yield made
    if made.inspector is not None:
        made.inspector.close_work()


def answer_boxes(monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    """Have the next questions answered by these buttons; return what was asked."""
    asked, answers = [], list(words)

    def answer(box: QMessageBox) -> int:
        asked.append(box.text())
        word = answers.pop(0)
        (button,) = [b for b in box.buttons() if b.text().replace("&", "") == word]
        monkeypatch.setattr(QMessageBox, "clickedButton", lambda _: button)
        return 0

    monkeypatch.setattr(QMessageBox, "exec", answer)
    return asked


# --- saved and copied -----------------------------------------------------------------------------


def test_recipes_of_what_is_shown(
    viewer, opened, explained, qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspector = opened()
    menu = inspector.map_actions.recipe
    menu.refresh()
    assert not menu.save.isEnabled()
    assert menu.save.toolTip().startswith("Explain something first")
    assert menu.open.isEnabled()

    inspector.choose_layers(["dec1"])
    inspector.choose_classes([1])
    explained(inspector)
    menu.refresh()
    for action in (menu.save, menu.python, menu.command):
        assert action.isEnabled()
        assert "nucleus · Grad-CAM · dec1" in action.toolTip()
    offered: list[str] = []
    monkeypatch.setattr(
        QFileDialog,
        "getSaveFileName",
        lambda _, title, name, filters: (
            offered.append(name) or str(tmp_path / "Größe 1.yaml"),
            filters,
        ),
    )
    menu.save.trigger()
    path = tmp_path / f"Größe 1{SUFFIX}"
    qtbot.waitUntil(lambda: str(path) in inspector.message.text(), timeout=PATIENCE_MS)
    assert offered == [f"grad_cam-nucleus{SUFFIX}"]
    (layer,) = [one for one in viewer.layers if KEY in one.metadata]
    kept = ns.Recipe.load(path)
    assert kept == ns.Recipe.of(explained_by(layer).explanation)

    # The file has another name than was typed, so the dialog has not asked.
    explained_before = path.read_bytes()
    inspector.form.keep_button.click()
    inspector.choose_method("saliency")
    explained(inspector)
    answers = [False, True]
    monkeypatch.setattr(recipe_menu, "agrees", lambda *_: answers.pop(0))
    viewer.layers.selection.active = viewer.layers["Nuclei"]
    menu.save.trigger()
    assert path.read_bytes() == explained_before
    assert len(answers) == 1
    menu.save.trigger()
    qtbot.waitUntil(lambda: "Saliency" in inspector.message.text(), timeout=PATIENCE_MS)
    assert ns.Recipe.load(path).method == "saliency"
    # The selected layer's, not the last.
    viewer.layers.selection.active = layer
    menu.command.trigger()
    qtbot.waitUntil(lambda: "command" in inspector.message.text(), timeout=PATIENCE_MS)
    assert QGuiApplication.clipboard().text() == kept.as_command()
    # A layer holds its recipe also where nothing else is known of it.
    copy = viewer.add_image(np.array(layer.data), name="copy", metadata=layer.metadata)
    viewer.layers.selection.active = copy
    menu.python.trigger()
    qtbot.waitUntil(lambda: "script" in inspector.message.text(), timeout=PATIENCE_MS)
    assert QGuiApplication.clipboard().text() == kept.as_python()


def test_why_there_is_no_recipe(viewer, opened, explained, qtbot) -> None:
    inspector = opened()
    menu = inspector.map_actions.recipe
    shapes = viewer.add_shapes([[40, 40], [40, 90], [90, 90]], shape_type="polygon", name="mine")
    from napari_neuroscope.viewer.image.layer_regions import LayerRegion

    inspector.choose_region(LayerRegion(shapes, "all"))
    explained(inspector)
    menu.refresh()
    for action in (menu.save, menu.python, menu.command):
        assert not action.isEnabled()
        assert "region is a mask" in action.toolTip()
    inspector.show_prediction()
    qtbot.waitUntil(lambda: any("Prediction" in layer.name for layer in viewer.layers))
    viewer.layers.selection.active = viewer.layers[-1]
    menu.refresh()
    assert "holds no recipe" in menu.save.toolTip()


def test_the_script_that_is_copied_runs(
    bench: Bench, recipe_of, qtbot, tmp_path: Path, photo: np.ndarray
) -> None:
    image = tmp_path / "ein Bild 東.tif"
    import tifffile

    tifffile.imwrite(image, photo)
    bench.viewer.layers.clear()
    bench.viewer.open(str(image), plugin="napari")
    inspector = bench.drop(recipe_of("saliency", ns.Target("car", score="probability")))
    inspector.map_actions.recipe.python.trigger()
    qtbot.waitUntil(lambda: "on the clipboard." in bench.said(), timeout=PATIENCE_MS)
    script = QGuiApplication.clipboard().text()
    assert repr(str(image)) in script
    out = tmp_path / "made.npy"
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{script}\nimport numpy; numpy.save({str(out)!r}, explanation.values)",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    (layer,) = bench.maps()
    # TorchScript is compiled anew in each process.
    np.testing.assert_allclose(np.load(out), layer.data, rtol=1e-5, atol=1e-8)


# --- dropped --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target", "layer", "options"),
    [
        ("grad_cam", "nucleus", "dec1", {"relu": False, "demo": "demo:nuclei"}),
        (
            "layer_cam",
            [ns.Target(one, "predicted", "probability") for one in ("nucleus", "border")],
            ["enc*", "dec1"],
            {"demo": "demo:nuclei"},
        ),
        ("rise", "road", None, {"masks": 12, "cells": 3, "batch": 5, "seed": 3}),
        ("fusion_score_map", ["sky", "car"], None, {}),
    ],
)
def test_a_dropped_recipe_is_made_again(
    method: str, target: Any, layer: Any, options: Any, bench: Bench, recipe_of, photo: np.ndarray
) -> None:
    path = recipe_of(method, target, layer, **options)
    inspector = bench.drop(path)
    first = bench.maps()[-1]
    expected = ns.Recipe.load(path).run(None, photo, device="cpu")
    np.testing.assert_array_equal(first.data, expected.values)
    assert first.metadata[KEY]["method"] == method
    assert bench.said().startswith("Made as the recipe “mine” says.")
    # All of it is chosen: what is explained now is the same.
    assert "can't show" not in bench.said()
    first.data = np.zeros_like(first.data)
    inspector.explain()
    bench.qtbot.waitUntil(lambda: not inspector.jobs.busy, timeout=PATIENCE_MS)
    np.testing.assert_allclose(first.data, expected.values, rtol=1e-5, atol=1e-7)


def test_a_network_is_opened_once_and_with_the_recipe_s_spec(
    viewer, opened, qtbot, tmp_path: Path
) -> None:
    inspector = opened()
    demo = inspector.session.network
    image = viewer.layers["Nuclei"].data
    other = demo.with_spec(demo.spec.model_copy(update={"classes": demo.spec.classes[::-1]}))
    titles = []
    for number, network in enumerate((demo, other, other)):
        answer = ns.explain(network, image, "grad_cam", 1, "enc3")
        path = tmp_path / f"{number}{SUFFIX}"
        ns.Recipe.of(answer).save(path)
        before = inspector.session.explanation
        inspector.open_recipe(path)
        qtbot.waitUntil(
            lambda before=before: (
                inspector.session.explanation not in (None, before) and not inspector.jobs.busy
            ),
            timeout=PATIENCE_MS,
        )
        np.testing.assert_array_equal(inspector.session.explanation.values, answer.values)
        titles.append(inspector.form.networks.box.currentText())
        assert inspector.session.network.spec == network.spec
    assert titles == [DEMO_TITLES["nuclei"], *["nuclei, as in 1"] * 2]
    assert inspector.session.network.adapter is demo.adapter
    assert len(inspector.session.networks) == len(DEMO_TITLES) + 1


def test_what_the_choices_can_not_show_is_said(bench: Bench, recipe_of, photo: np.ndarray) -> None:
    target = ns.Target("car", (3, 5), reduce="mean")
    path = recipe_of("saliency", target, channels="sum")
    # Choosing anew at each change doesn't take the place of the recipe's map.
    _, inspector = bench.viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
    inspector.form.live.setChecked(True)
    bench.drop(path)
    assert "can't show its point (3.0, 5.0), mean over the region" in bench.said()
    (layer,) = bench.maps()
    expected = ns.Recipe.load(path).run(None, photo, device="cpu")
    np.testing.assert_array_equal(layer.data, expected.values)
    assert inspector.session.options["channels"] == "sum"


def test_a_recipe_of_several_slices(bench: Bench, tmp_path: Path) -> None:
    film = np.random.default_rng(0).random((4, 16, 24)).astype(np.float32)
    network = ns.load(saved_network(tmp_path / "net.pt"), SPEC, device="cpu")
    bench.viewer.layers.clear()
    bench.viewer.add_image(film, name="film")
    # The first range is behind the second, and every other slice has no place in the dock.
    for planes, chosen, said in (
        ("0:2", "range", True),
        ("2:4", "range", True),
        (None, "all", True),
        ("0:4:2", "range", False),
    ):
        answer = ns.explain_stack(network, film, "saliency", "car", planes=planes)
        path = tmp_path / f"mine{SUFFIX}"
        ns.Recipe.of(answer).save(path, overwrite=True)
        bench.viewer.layers.selection.active = bench.viewer.layers["film"]
        inspector = bench.drop(path)
        layer = bench.maps()[-1]
        np.testing.assert_array_equal(np.squeeze(layer.data), answer.values)
        assert inspector.form.planes.box.currentData() == chosen
        assert ("can't show its planes" not in bench.said()) is said


def test_a_recipe_of_a_large_image_goes_tile_by_tile(
    bench: Bench, recipe_of, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recipe_of("grad_cam", "nucleus", "dec1", demo="demo:nuclei")
    large = np.tile(photo, (10, 8))
    monkeypatch.setattr(parts, "ONE_PASS", 128 * 128)
    monkeypatch.setitem(tiles.DEFAULT_TILE, 2, 128)
    bench.viewer.layers.clear()
    bench.viewer.add_image(large, name="slide")
    bench.drop(path)
    (layer,) = bench.maps()
    network = ns.load("demo:nuclei", device="cpu")
    expected = ns.explain_tiled(network, large, "grad_cam", "nucleus", "dec1")
    np.testing.assert_array_equal(np.asarray(layer.data), expected.values)
    assert "tiling" in layer.metadata[KEY]


def test_a_recipe_with_ground_truth(bench: Bench, tmp_path: Path, photo: np.ndarray) -> None:
    network = ns.load(saved_network(tmp_path / "net.pt"), SPEC, device="cpu")
    truth = np.zeros(photo.shape, np.int32)
    truth[4:9, 6:12] = 1
    target = ns.Target("car", "ground_truth")
    answer = ns.explain(network, photo, "saliency", target, ground_truth=truth)
    path = tmp_path / f"mine{SUFFIX}"
    ns.Recipe.of(answer).save(path)
    inspector = bench.drop(path)
    assert "choose the labels" in bench.said()
    assert not bench.maps()
    inspector.choose_labels(bench.viewer.add_labels(truth, name="truth"))
    bench.viewer.layers.selection.active = bench.viewer.layers["photo"]
    bench.drop(path)
    (layer,) = bench.maps()
    np.testing.assert_array_equal(layer.data, answer.values)


# --- asked before ---------------------------------------------------------------------------------


def test_a_changed_network_is_asked_about(
    bench: Bench, recipe_of, tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recipe_of("saliency", "car")
    saved_network(tmp_path / "net.pt", seed=1)
    asked = answer_boxes(monkeypatch, "Cancel", "Explain with it")
    bench.drop(path)
    assert not bench.maps()
    assert "its weights have changed" in bench.said()
    with pytest.warns(ns.NeuroscopeWarning, match="weights are others"):
        bench.drop(path)
    (layer,) = bench.maps()
    changed = ns.load(tmp_path / "net.pt", SPEC, device="cpu")
    np.testing.assert_array_equal(layer.data, ns.explain(changed, photo, "saliency", "car").values)
    assert any("weights are others" in note for note in layer.metadata[KEY]["notes"])
    assert len(asked) == 2
    assert "has other weights" in asked[0]


def test_a_network_that_is_gone_is_asked_for(
    bench: Bench, recipe_of, tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recipe_of("saliency", "car")
    there = tmp_path / "moved" / "renamed.pt"
    there.parent.mkdir()
    (tmp_path / "net.pt").rename(there)
    asked = answer_boxes(monkeypatch, "Cancel", "Choose its file…")
    bench.drop(path)
    assert "is not there" in bench.said()
    assert not bench.maps()
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(there), ""))
    bench.drop(path)
    (layer,) = bench.maps()
    expected = ns.explain(ns.load(there, SPEC, device="cpu"), photo, "saliency", "car")
    np.testing.assert_array_equal(layer.data, expected.values)
    assert "net.pt, which is not there" in asked[0]


def test_a_network_of_the_session_is_found_by_its_weights(
    bench: Bench, tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = ns.wrap(nn.Conv2d(1, 3, 3, padding=1), SPEC, name="console", device="cpu")
    answer = ns.explain(network, photo, "saliency", "car")
    path = tmp_path / f"mine{SUFFIX}"
    ns.Recipe.of(answer).save(path)
    asked = answer_boxes(monkeypatch, "Cancel")
    inspector = bench.drop(path)
    assert "made in memory" in bench.said()
    assert "in memory" in asked[0]
    inspector.add_network(network)
    bench.qtbot.waitUntil(inspector.ready, timeout=PATIENCE_MS)
    inspector.choose_network(DEMO_TITLES["nuclei"])
    bench.drop(path)
    (layer,) = bench.maps()
    np.testing.assert_array_equal(layer.data, answer.values)
    assert inspector.form.networks.box.currentText() == "console"


def test_nothing_of_a_stranger_s_recipe_runs_unasked(
    bench: Bench, recipe_of, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recipe_of("saliency", "car")
    marker = tmp_path / "ran"
    recipe = ns.Recipe.load(path)
    evil = {"factory": "os:mkdir", "arguments": {"path": str(marker)}}
    network = recipe.network.model_copy(update=evil)
    recipe.model_copy(update={"network": network}).save(path, overwrite=True)
    refused: list[str] = []
    monkeypatch.setattr(
        "napari_neuroscope.widgets.inspector.replay.ask_for_trust",
        lambda _, refusal: refused.append(refusal.would_run),
    )
    bench.drop(path)
    assert "os:mkdir" in refused[0]
    assert not marker.exists()
    assert not bench.maps()
    assert "would run code" in bench.said()


def test_what_can_not_be_made_again_is_one_sentence(
    bench: Bench, recipe_of, tmp_path: Path
) -> None:
    path = recipe_of("saliency", "car")
    text = path.read_text("utf-8")
    for change, says in (
        (("method: saliency", "method: wonder"), "There is no method “wonder”"),
        (("spec:", "spce:"), "is wrong at"),
        (("class: car", "class: bus"), "no class “bus”"),
    ):
        path.write_text(text.replace(*change), "utf-8")
        bench.drop(path)
        assert says in bench.said()
        assert "\n" not in bench.said()
    path.write_text(text, "utf-8")
    bench.viewer.layers.clear()
    bench.drop(path)
    assert "There is no image to explain as the recipe “mine” says" in bench.said()
    assert not bench.maps()

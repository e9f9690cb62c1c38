"""A map is saved with all that it is, its numbers are shown, and its layer's menu offers both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from app_model.expressions import get_context
from napari._app_model import get_app_model
from qtpy.QtWidgets import QFileDialog, QTextBrowser

import napari_neuroscope as ns
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.widgets.inspector.maps import save_map
from napari_neuroscope.widgets.inspector.maps.map_card import show_card


@pytest.fixture
def answer_save(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Answer the dialog that asks where a map is saved; return what was offered."""
    offered: list[tuple[str, str]] = []

    def answer(name: Path | str, kind: str = "") -> list[tuple[str, str]]:
        def ask(parent: Any, title: str, proposed: str, kinds: str) -> tuple[str, str]:
            offered.append((proposed, kinds))
            return str(name), kind or kinds.split(";;", maxsplit=1)[0]

        monkeypatch.setattr(QFileDialog, "getSaveFileName", ask)
        return offered

    return answer


@pytest.fixture
def guided_map(viewer, opened, explained) -> Any:
    """A map with a label map beside it, over an image with a scale."""
    inspector = opened()
    inspector.image_layer().scale = (0.5, 0.5)
    inspector.choose_method("guided_segmented_score_map")
    inspector.choose_classes([1])
    explained(inspector)
    return inspector


def map_layer(viewer: Any) -> Any:
    return next(
        layer
        for layer in viewer.layers
        if KEY in layer.metadata and layer.metadata[KEY].get("companion") is None
        and layer.metadata[KEY]["method"] == "guided_segmented_score_map"
    )  # fmt: skip


def test_a_map_is_saved_with_its_recipe_scale_and_label_maps(
    viewer, guided_map, answer_save, qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspector, layer = guided_map, map_layer(viewer)
    # An ending that is missing, or half of one, is that of the kind.
    offered = answer_save(tmp_path / "mine.tif")
    inspector.map_actions.save.click()
    saved = tmp_path / "mine.neuroscope.tif"
    qtbot.waitUntil(lambda: str(saved) in inspector.message.text(), timeout=30_000)
    assert offered[0][1].startswith("Explanation as OME-TIFF (*.neuroscope.tif)")
    result = ns.read_result(saved)
    # The values of a TIFF lie on the image's own pixels.
    assert result.explanation.record.recipe is not None
    assert result.spacing.steps == (0.5, 0.5)
    assert set(result.explanation.companions) == set(layer.metadata[KEY]["companions"]) != set()

    # What is there is replaced only where that is said.
    before, asked = saved.read_bytes(), []
    monkeypatch.setattr(save_map, "agrees", lambda *words: asked.append(words) or False)
    inspector.map_actions.save.click()
    assert asked
    assert saved.read_bytes() == before

    # A label map that was taken out of the viewer is saved all the same.
    for other in [x for x in viewer.layers if x.metadata.get(KEY, {}).get("companion")]:
        viewer.layers.remove(other)
    answer_save(tmp_path / "mine.ome.zarr", "Explanation as OME-Zarr (*.ome.zarr)")
    inspector.map_actions.save.click()
    qtbot.waitUntil(lambda: "mine.ome.zarr" in inspector.message.text(), timeout=30_000)
    assert set(ns.read_result(tmp_path / "mine.ome.zarr").explanation.companions)


def test_without_a_map_it_is_said(viewer, opened) -> None:
    inspector = opened()
    inspector.map_actions.save.click()
    assert "There is no map yet" in inspector.message.text()
    inspector.map_actions.table.click()
    assert "No layer has a table yet" in inspector.message.text()


def test_napari_saves_what_a_map_is_or_it_is_said(
    viewer, opened, explained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspector, said = opened(), []
    monkeypatch.setattr("napari.utils.notifications.notification_manager.dispatch", said.append)
    inspector.choose_layers(["dec1"])
    explained(inspector)
    layer = next(x for x in viewer.layers if KEY in x.metadata)
    viewer.layers.selection.active = layer
    # Its dialog writes what its own first kind is, whatever the name.
    (path,) = viewer.layers.save(str(tmp_path / "map.neuroscope.tif"), selected=True)
    assert ns.read_result(path).explanation.record.recipe is not None
    assert not said
    viewer.layers.save(str(tmp_path / "map.tif"), selected=True, plugin="napari")
    assert tifffile.imread(tmp_path / "map.tif").shape == layer.data.shape
    assert "its scale, units and colours are not in it" in said[-1].message
    # What is no map is napari's alone.
    viewer.layers.selection.active = inspector.image_layer()
    viewer.layers.save(str(tmp_path / "image.tif"), selected=True, plugin="napari")
    assert len(said) == 1


def test_the_table_of_instances_is_one_click_away(viewer, opened, qtbot) -> None:
    inspector = opened()
    labels = viewer.add_labels(np.zeros(inspector.image_layer().data.shape[:2], np.uint8))
    labels.features = {"index": [0, 1], "Neuroscope class": ["", "nucleus"]}
    inspector.map_actions.table.click()
    assert any("eatures table" in name for name in viewer.window.dock_widgets)
    assert viewer.layers.selection.active == labels


def test_the_menu_of_a_map_offers_what_is_done_with_it(
    viewer, guided_map, explained, qtbot
) -> None:
    inspector, layer = guided_map, map_layer(viewer)
    items = menu_items()
    context = get_context(getattr(viewer.layers, "__wrapped__", viewer.layers))
    viewer.layers.selection.active = inspector.image_layer()
    assert not any(item.when.eval(context) for item in items.values())
    viewer.layers.selection.active = layer
    assert all(item.when.eval(context) for item in items.values())
    assert list(items) == ["Explain it anew", "Save map…", "Save recipe…", "How it was made"]

    # Explained anew, the choices are those of the map.
    inspector.choose_method("saliency")
    viewer.layers.selection.active = layer
    get_app_model().commands.execute_command(items["Explain it anew"].command.id)
    qtbot.waitUntil(
        lambda: (
            inspector.session.method == "guided_segmented_score_map" and not inspector.jobs.busy
        ),
        timeout=30_000,
    )
    assert "Made as the recipe" in inspector.message.text()
    inspector.close_work()
    assert not any(item.when.eval(context) for item in items.values())


def menu_items() -> dict[str, Any]:
    """Return our entries in napari's menu of a layer, by their words."""
    groups = get_app_model().menus.iter_menu_groups("napari/layers/context")
    return {
        item.command.title: item
        for group in groups
        for item in group
        if hasattr(item, "command") and item.command.id.startswith("napari-neuroscope.map.")
    }


def test_the_card_says_how_a_map_was_made(viewer, guided_map, qtbot) -> None:
    dialog = show_card(guided_map, map_layer(viewer))
    qtbot.addWidget(dialog)
    text = dialog.findChild(QTextBrowser).toPlainText()
    for words in (
        "nucleus",
        "Predicted regions: beside the segments",
        "napari-neuroscope",
        "Network",
    ):
        assert words in text

"""The dock “Batch”: what it asks, a real batch in a process of its own, stopped and gone on with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QListWidget
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.batch.folder import REPORT
from napari_neuroscope.engine.explain import crop as parts
from napari_neuroscope.engine.explanation.recipe_document import SUFFIX
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.files.code.trust import TrustStore
from napari_neuroscope.engine.results.save import read_result
from napari_neuroscope.engine.tiles.tiling import Tiling
from napari_neuroscope.session.network_catalog import DEMO_TITLES
from napari_neuroscope.widgets.batch.dock import Batch
from napari_neuroscope.widgets.batch.recipe_choice import RecipeChoice

SPEC: dict[str, Any] = {
    "task": "segmentation",
    "classes": ["sky", "car", "road"],
    "image_axes": "yx",
    "input": {"channels": 1, "order": "gray", "value_range": [0.0, 1.0]},
}
PATIENCE_MS = 60_000


@pytest.fixture
def network(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "net.pt"
    torch.jit.save(torch.jit.trace(nn.Conv2d(1, 3, 3, padding=1), torch.zeros(1, 1, 8, 8)), path)
    return path


@pytest.fixture
def recipe(tmp_path: Path, network: Path) -> Path:
    path = tmp_path / f"die Größe{SUFFIX}"
    targets = [ns.Target("car", score="probability")]
    ns.Recipe.asking(ns.load(network, SPEC, device="cpu"), "saliency", targets).save(path)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Callable[[int], Path]:
    def write(count: int) -> Path:
        rng, folder = np.random.default_rng(0), tmp_path / "Bilder 東"
        folder.mkdir()
        for number in range(count):
            tifffile.imwrite(folder / f"{number}.tif", rng.random((16, 24)).astype(np.float32))
        return folder

    return write


@pytest.fixture
def batch(open_dock) -> Batch:
    return open_dock("Batch")


@pytest.fixture
def ended(batch: Batch, qtbot) -> Callable[[], str]:
    """Wait until a batch has ended; return what is said of it."""

    def wait() -> str:
        qtbot.waitUntil(lambda: not batch.running, timeout=PATIENCE_MS)
        return batch.message.text()

    return wait


def drop(widget: Any, *paths: Path) -> None:
    dropped = QMimeData()
    dropped.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    event = QDropEvent(
        QPointF(5, 5),
        Qt.DropAction.CopyAction,
        dropped,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    widget.dropEvent(event)


def test_it_says_what_is_missing(
    viewer, batch: Batch, opened, qtbot, recipe: Path, images, tmp_path: Path, monkeypatch
) -> None:
    def says(words: str) -> None:
        qtbot.waitUntil(lambda: words in batch.reason.text(), timeout=PATIENCE_MS)
        assert not batch.ready()

    says("Choose a network")
    inspector = opened(sample=None, network=None)
    torch.manual_seed(0)
    inspector.add_network(ns.wrap(nn.Conv2d(1, 3, 3), SPEC, name="console", device="cpu"))
    qtbot.waitUntil(lambda: batch.session.network_summary is not None, timeout=PATIENCE_MS)
    says("was made in memory")
    inspector.choose_network(DEMO_TITLES["nuclei"])
    qtbot.waitUntil(
        lambda: batch.session.network_summary is not None and not inspector.jobs.busy,
        timeout=PATIENCE_MS,
    )
    says("Add images")
    assert "Grad-CAM" in batch.form.recipe_note.text()
    assert RecipeChoice.of(batch.session, viewer).recipe().tiling is None
    viewer.add_image(np.zeros((64, 64), np.uint8))
    qtbot.waitUntil(inspector.ready, timeout=PATIENCE_MS)
    monkeypatch.setattr(parts, "ONE_PASS", 32 * 32)
    assert RecipeChoice.of(batch.session, viewer).recipe().tiling == Tiling()
    shapes = viewer.add_shapes([[1, 1], [1, 9], [9, 9]], shape_type="polygon", name="mine")
    from napari_neuroscope.viewer.image.layer_regions import LayerRegion

    inspector.choose_region(LayerRegion(shapes))
    says("is drawn in the layer “mine”")
    inspector.choose_region("ground_truth")
    batch.add_images(tmp_path / "nowhere")
    says("nowhere")
    listed = batch.form.images.findChild(QListWidget)
    listed.selectAll()
    batch.form.images.remove_chosen()
    drop(listed, images(3))
    says("say where the ground truth lies")
    batch.choose_recipe(recipe)
    says("Choose a folder to write into")
    assert batch.form.recipe_note.text() == "Saliency · car, of the network “net”"
    assert batch.form.images_note.text() == "3 images"
    drop(batch.form.out, tmp_path)
    assert batch.form.out.path() == str(tmp_path)
    qtbot.waitUntil(batch.ready, timeout=PATIENCE_MS)
    batch.choose_kinds()
    says("kind of file")
    recipe.write_text("a: b", "utf-8")
    batch.choose_recipe(None)
    batch.choose_recipe(recipe)
    says("is wrong at")


def test_a_batch_is_run_shown_and_gone_on_with(
    viewer, batch: Batch, ended, qtbot, recipe: Path, images, tmp_path: Path
) -> None:
    folder, out = images(3), tmp_path / "out put"
    (folder / "1.tif").write_bytes(b"no image")
    batch.choose_recipe(recipe)
    batch.add_images(folder)
    batch.choose_out(out)
    qtbot.waitUntil(batch.ready, timeout=PATIENCE_MS)
    assert batch.run_button.text() == "Run"
    batch.run()
    assert batch.running
    assert not batch.ready()
    assert not batch.form.isEnabled()
    assert ended() == ("2 of 3 images are done; 1 has a problem, and is tried again with Resume.")
    good, bad = [str(folder / f"{n}.tif") for n in (0, 2)], str(folder / "1.tif")
    states = batch.table.states()
    assert [states[path] for path in good] == ["done", "done"]
    assert "1.tif" in states[bad]
    assert (out / REPORT).exists()
    assert batch.report_button.isEnabled()

    batch.show_image(good[1])
    qtbot.waitUntil(lambda: "are open" in batch.message.text(), timeout=PATIENCE_MS)
    image, shown = viewer.layers
    expected = ns.Recipe.load(recipe).run(None, tifffile.imread(good[1]), device="cpu")
    np.testing.assert_array_equal(image.data, tifffile.imread(good[1]))
    np.testing.assert_allclose(shown.data, expected.values, rtol=1e-5, atol=1e-8)
    assert shown.metadata[KEY]["method"] == "saliency"
    # Opened once.
    batch.show_image(good[1])
    assert len(viewer.layers) == 2
    batch.show_image(bad)
    assert batch.message.text() == states[bad]

    # The image is mended meanwhile: only it is done now.
    tifffile.imwrite(bad, np.ones((16, 24), np.float32))
    assert batch.run_button.text() == "Resume"
    written = read_result(batch.maps[good[0]][0])
    assert ns.Recipe.load(recipe).method == written.explanation.method
    batch.run()
    assert ended() == "3 of 3 images are done, 2 of them before."
    assert batch.table.states()[bad] == "done"


def test_a_batch_stops_and_ends_with_the_dock(
    batch: Batch, ended, qtbot, recipe: Path, images, tmp_path: Path
) -> None:
    batch.choose_recipe(recipe)
    batch.add_images(images(400))
    batch.choose_out(tmp_path / "out")
    qtbot.waitUntil(batch.ready, timeout=PATIENCE_MS)
    batch.run()
    qtbot.waitUntil(lambda: bool(batch.maps), timeout=PATIENCE_MS)
    batch.stop()
    assert batch.stop_button.text() == "Stop now"
    assert "Stopped: Resume does the other" in ended()
    done = len(batch.maps)
    assert 0 < done < 400
    batch.run()
    qtbot.waitUntil(lambda: len(batch.maps) > done, timeout=PATIENCE_MS)
    process = batch.process
    assert process.runs
    batch.close_work()
    assert not process.runs


def test_what_needs_trust_asks_before_it_runs(
    batch: Batch, ended, qtbot, images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "XDG_CONFIG_HOME",
        "HOME",
        "APPDATA",
        "LOCALAPPDATA",
        "WIN_PD_OVERRIDE_LOCAL_APPDATA",
    ):
        monkeypatch.setenv(name, str(tmp_path / "config"))
    torch.manual_seed(0)
    file = tmp_path / "pickled.pt"
    torch.save(nn.Conv2d(1, 3, 3, padding=1), file)
    network = ns.load(file, SPEC, device="cpu", trust=True)
    recipe = tmp_path / f"mine{SUFFIX}"
    ns.Recipe.asking(network, "saliency", [ns.Target(1)]).save(recipe)
    asked: list[str] = []

    def answer(_: Any, refusal: Any) -> bool:
        asked.append(refusal.would_run)
        if len(asked) > 1:
            TrustStore().add(refusal.sha256, "pickled.pt")
        return len(asked) > 1

    monkeypatch.setattr("napari_neuroscope.widgets.batch.questions.ask_for_trust", answer)
    batch.choose_recipe(recipe)
    batch.add_images(images(1))
    batch.choose_out(tmp_path / "out")
    qtbot.waitUntil(batch.ready, timeout=PATIENCE_MS)
    batch.run()
    assert "would run code" in ended()
    assert not list(tmp_path.glob("out/maps/*"))
    batch.run()
    assert ended() == "1 of 1 images are done."
    assert len(asked) == 2

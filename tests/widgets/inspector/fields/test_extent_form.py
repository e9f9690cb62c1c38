"""Large images run tile by tile: the map grows in its layer, is stopped, and says what it is."""

from __future__ import annotations

import errno
import gc
import threading
from collections.abc import Callable, Iterator

import dask.array
import numpy as np
import pytest
import torch
from qtpy.QtCore import QTimer
from torch import nn

import napari_neuroscope as ns
from gated import PATIENCE_MS, GatedBench, reached
from napari_neuroscope.engine.explain import crop as parts
from napari_neuroscope.engine.explain.tiled import run as tiling
from napari_neuroscope.engine.explanation.colormaps import limits
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.images import pyramid
from napari_neuroscope.engine.tiles import tiling as tiles
from napari_neuroscope.viewer.layers.maps import multiscale_map as growing
from napari_neuroscope.viewer.state.layer_origin import explained_by
from napari_neuroscope.viewer.state.stack_contrast import StackContrast
from napari_neuroscope.viewer.state.viewer_state import state_of

SPEC = {"task": "segmentation", "classes": ["sky", "car", "road"], "input": {"channels": 1}}
SIDES = (152, 200)
# 70 pixels, of which 2 are thrown away on each side of a score map's.
TILES = 9


class Gated(nn.Module):
    """A segmenter that lets tiles through one by one, as it is allowed to."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)
        self.shut = False
        self.allowed = threading.Semaphore(0)
        self.largest = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.largest = max(self.largest, x[0, 0].numel())
        # Smaller ones are how it is found out what the network sees.
        if self.shut and x.shape[-1] > 64:
            assert self.allowed.acquire(timeout=30), "no test lets the tile through"
        return self.head(torch.relu(self.first(x)))

    def open(self) -> None:
        """Let all through from now on."""
        self.shut = False
        self.allowed.release(1000)


class Bench(GatedBench):
    """An inspector on a large image, with score maps chosen."""

    def reach(self, done: int):
        """Let as many tiles through as are missing, and wait until they are shown."""
        if not self.model.shut:
            self.model.shut = True
        return self.shown(done)

    def begin(self, tiles: int):
        """Begin with so many tiles let through."""
        self.model.shut = True
        self.model.allowed.release(tiles)
        self.inspector.explain()
        return self.reach(tiles)

    def more(self, tiles: int, done: int):
        self.model.allowed.release(tiles)
        return self.reach(done)

    def whole(
        self, method: str = "score_map", target: int = 1, layer=None, **options
    ) -> np.ndarray:
        image = np.asarray(self.image.data[0] if self.image.multiscale else self.image.data)
        options = options or self.inspector.session.options
        return ns.explain(self.network, image, method, target, layer, **options).values


def slide() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, SIDES, np.uint8)


@pytest.fixture
def small(monkeypatch) -> None:
    """Let a small image be a large one."""
    monkeypatch.setattr(parts, "ONE_PASS", 100 * 100)
    monkeypatch.setitem(parts._MIDDLE, 2, 50)
    monkeypatch.setattr(tiling, "OFFER_EVERY_S", 0.0)
    monkeypatch.setitem(tiles.DEFAULT_TILE, 2, 70)
    monkeypatch.setattr(pyramid, "_ALONE", {2: 128})
    monkeypatch.setattr(pyramid, "_COARSEST", 64)


@pytest.fixture
def opened_on(viewer, qtbot, small) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def open_it(data=None, **attributes) -> Bench:
        viewer.add_image(slide() if data is None else data, name="slide", **attributes)
        _, inspector = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
        inspector.choose_method("grad_cam")
        model = Gated()
        network = ns.wrap(model, SPEC, name="gated", device="cpu")
        # Small images tell which values it takes, and what it sees.
        network.find_value_range()
        model.largest = 0
        inspector.add_network(network)
        qtbot.waitUntil(inspector.ready, timeout=PATIENCE_MS)
        inspector.choose_method("score_map")
        inspector.choose_classes([1])
        made.append(Bench(viewer, qtbot, inspector, model, "slide"))
        return made[0]

    yield open_it
    for bench in made:
        bench.model.open()
        bench.inspector.close_work()
    assert not [t for t in threading.enumerate() if t.name == "neuroscope compute"]


@pytest.fixture
def bench(opened_on) -> Bench:
    return opened_on()


def test_a_map_grows_in_its_layer_until_it_is_that_of_the_whole(bench: Bench) -> None:
    assert bench.model.largest == 50 * 50, "the image's middle was looked at"
    whole = bench.whole()
    bench.model.largest = 0
    layer = bench.begin(2)
    assert layer.multiscale
    assert layer.name == f"car · Score map (2 of {TILES})"
    finest = layer.data[0]
    first = np.isfinite(finest[:, :])
    assert 0 < first.sum() < first.size
    np.testing.assert_allclose(finest[:, :][first], whole[first], atol=1e-5)
    assert bench.more(2, 4) is layer
    second = np.isfinite(finest[:, :])
    assert second[first].all()
    assert second.sum() > first.sum()
    assert bench.viewer.canvas.overlays.text.text == (
        f"car · Score map\nScore map: 4 of {TILES} tiles so far"
    )
    bench.finish()
    assert bench.maps() == [layer]
    assert layer.name == "car · Score map"
    assert "unfinished" not in layer.metadata[KEY]
    np.testing.assert_allclose(np.asarray(layer.data[0]), whole, atol=1e-5)
    assert bench.model.largest == 70 * 70, "no more than a tile was passed at once"
    # What napari draws of it, of the coarsest level as well.
    np.testing.assert_allclose(
        np.asarray(layer.data[-1]), pyramid_of(whole, len(layer.data)), atol=1e-5
    )


def pyramid_of(values: np.ndarray, levels: int) -> np.ndarray:
    for _ in range(levels - 1):
        values = values.reshape(values.shape[0] // 2, 2, values.shape[1] // 2, 2).mean((1, 3))
    return values


def test_channels_grow_as_a_stack_with_a_contrast_each(bench: Bench) -> None:
    bench.inspector.choose_method("activation")
    bench.inspector.choose_layers(["first"])
    layer = bench.begin(3)
    assert layer.data.shape == (4, *SIDES)
    bench.finish()
    whole = bench.whole("activation", None, "first")
    np.testing.assert_allclose(np.asarray(layer.data[0]), whole, atol=1e-5)
    for step in (0, 3):
        bench.viewer.dims.set_current_step(0, step)
        expected = limits(whole[step], signed=True)
        np.testing.assert_allclose(layer.contrast_limits, expected, rtol=0.1)


def test_two_passes_of_gradients_make_the_map_of_the_whole(bench: Bench) -> None:
    bench.inspector.choose_method("grad_cam")
    bench.inspector.choose_layers(["first"])
    bench.inspector.explain()
    bench.wait(lambda: not bench.inspector.jobs.busy)
    (layer,) = bench.maps()
    np.testing.assert_allclose(
        np.asarray(layer.data[0]), bench.whole("grad_cam", 1, "first"), atol=1e-4
    )


def test_the_window_answers_while_tiles_are_computed(bench: Bench) -> None:
    bench.begin(1)
    answered: list[bool] = []
    QTimer.singleShot(0, lambda: answered.append(bench.inspector.jobs.busy))
    bench.wait(lambda: bool(answered))
    assert answered == [True]
    assert "%v of %m tiles" in bench.inspector.form.progress.format()
    assert bench.inspector.form.progress.maximum() == TILES


def test_a_cancelled_map_stays_with_what_it_has(bench: Bench) -> None:
    layer = bench.begin(3)
    before = np.asarray(layer.data[0]).copy()
    bench.inspector.form.cancel_button.click()
    bench.model.open()
    bench.wait(lambda: not bench.inspector.jobs.busy)
    bench.qtbot.wait(100)
    assert bench.maps() == [layer]
    assert layer.name == f"car · Score map (3 of {TILES})"
    assert layer.metadata[KEY]["unfinished"] == {"done": 3, "total": TILES, "of": "tiles"}
    assert bench.inspector.message.text() == (
        f"Stopped. What was found so far stays as “car · Score map (3 of {TILES})”."
    )
    after = np.asarray(layer.data[0])
    shown = np.isfinite(before)
    np.testing.assert_array_equal(after[shown], before[shown])
    assert not np.isfinite(after).all()


def test_a_new_question_drops_the_tiles_of_the_old_one(bench: Bench) -> None:
    layer = bench.begin(2)
    told: list[str] = []
    layer.events.name.connect(lambda event: told.append(layer.name))
    bench.inspector.choose_classes([2])
    bench.inspector.explain()
    bench.finish()
    assert bench.maps() == [layer]
    assert told
    assert all("car" not in name or "out of date" in name for name in told), told
    np.testing.assert_allclose(np.asarray(layer.data[0]), bench.whole(target=2), atol=1e-5)


def test_removing_the_map_stops_it_and_its_folder_goes(bench: Bench, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(growing, "_IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(growing.tempfile, "mkdtemp", lambda prefix: str(folder(tmp_path, prefix)))
    layer = bench.begin(2)
    (made,) = tmp_path.iterdir()
    assert made.name == "neuroscope-"
    assert len(list(made.iterdir())) == len(layer.data) - 1, "the coarsest is in memory"
    bench.viewer.layers.remove(layer)
    assert not bench.inspector.jobs.busy
    assert bench.inspector.message.text() == "Stopped, since its map was removed."
    bench.model.open()
    del layer

    def gone() -> bool:
        gc.collect()
        return not made.exists()

    bench.wait(gone)


def folder(parent, name: str):
    made = parent / name
    made.mkdir()
    return made


def test_a_map_on_the_disk_is_that_in_memory(bench: Bench, monkeypatch) -> None:
    monkeypatch.setattr(growing, "_IN_MEMORY_BYTES", 0)
    bench.inspector.explain()
    bench.finish()
    (layer,) = bench.maps()
    np.testing.assert_allclose(np.asarray(layer.data[0]), bench.whole(), atol=1e-5)
    assert layer.data[0].chunks == SIDES


def test_contrast_grows_and_the_users_stays(bench: Bench) -> None:
    layer = bench.begin(1)
    spans = [tuple(layer.contrast_limits)]
    layer.events.contrast_limits.connect(lambda e: spans.append(tuple(layer.contrast_limits)))
    bench.more(1, 2)
    bench.more(1, 3)
    assert [high for _, high in spans] == sorted(high for _, high in spans)
    layer.contrast_limits = (-1.5, 12.0)
    layer.opacity, layer.visible = 0.3, True
    bench.more(1, 4)
    bench.finish()
    assert tuple(layer.contrast_limits) == (-1.5, 12.0)
    assert layer.opacity == 0.3


def test_the_contrast_of_a_finished_map_is_that_of_all_its_values(bench: Bench) -> None:
    bench.inspector.explain()
    bench.finish()
    (layer,) = bench.maps()
    expected = limits(bench.whole(), signed=True)
    np.testing.assert_allclose(layer.contrast_limits, expected, rtol=0.1)
    most = np.abs(bench.whole()).max()
    assert layer.contrast_limits[1] < most
    state_of(bench.viewer, StackContrast).to_maximum = True
    np.testing.assert_allclose(layer.contrast_limits, (-most, most), rtol=1e-5)


def test_a_lazy_stack_is_read_tile_by_tile_of_the_plane_that_is_shown(opened_on) -> None:
    planes = np.stack([slide(), slide()[::-1], slide()[:, ::-1]])
    read: list[tuple[int, ...]] = []

    def block(block_info=None) -> np.ndarray:
        place = block_info[None]["array-location"]
        read.append(tuple(first for first, _ in place))
        return planes[tuple(slice(*ends) for ends in place)]

    lazy = dask.array.map_blocks(
        block,
        chunks=((1, 1, 1), (38,) * 4, (50,) * 4),
        dtype=np.uint8,
        meta=np.empty((0,) * 3, np.uint8),
    )
    bench = opened_on(lazy, scale=(3, 2, 0.5), translate=(1, 2, 3))
    bench.viewer.dims.set_current_step(0, 2)
    bench.inspector.form.image.list_layers()
    bench.wait(lambda: not bench.inspector.jobs.busy)
    read.clear()
    bench.inspector.explain()
    bench.finish()
    assert {place[0] for place in read} == {2}
    (layer,) = bench.maps()
    assert layer.data.shape == (1, *SIDES)
    whole = ns.explain(bench.network, planes[2], "score_map", 1).values
    np.testing.assert_allclose(np.asarray(layer.data[0])[0], whole, atol=1e-5)
    np.testing.assert_allclose(layer.scale, (3, 2, 0.5))
    np.testing.assert_allclose(layer.translate, (1 + 3 * 2, 2, 3))


def test_a_multiscale_image_is_explained_at_its_finest_level(opened_on) -> None:
    levels = [slide(), slide()[::2, ::2], slide()[::4, ::4]]
    bench = opened_on(levels, multiscale=True)
    bench.inspector.explain()
    bench.finish()
    (layer,) = bench.maps()
    np.testing.assert_allclose(np.asarray(layer.data[0]), bench.whole(), atol=1e-5)


def test_what_tiles_are_too_large_for_is_said_in_the_dock(bench: Bench) -> None:
    short: list[int] = []
    forward = bench.model.forward

    def small_memory(x: torch.Tensor) -> torch.Tensor:
        if x[0, 0].numel() > 65 * 65:
            short.append(x[0, 0].numel())
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(x)

    bench.model.forward = small_memory
    bench.inspector.explain()
    bench.wait(lambda: not bench.inspector.jobs.busy)
    assert short
    assert "the memory was too small for tiles of 70 × 70 pixels; they were made 35 × 35" in (
        bench.inspector.message.text()
    )
    (layer,) = bench.maps()
    bench.model.forward = forward
    np.testing.assert_allclose(np.asarray(layer.data[0]), bench.whole(), atol=1e-5)


def test_a_grown_map_is_saved_by_naparis_dialog(bench: Bench, tmp_path) -> None:
    bench.inspector.explain()
    bench.finish()
    (layer,) = bench.maps()
    path = tmp_path / "map.ome.zarr"
    saved = save_selected(bench.viewer, layer, path)
    assert [str(path)] == list(map(str, saved))
    result = ns.read_result(path)
    np.testing.assert_allclose(np.asarray(result.explanation.values[:]), bench.whole(), atol=1e-5)


def save_selected(viewer, layer, path):
    viewer.layers.selection.active = layer
    return viewer.layers.save(str(path), selected=True, plugin="napari-neuroscope")


def test_a_grown_map_is_not_measured(bench: Bench) -> None:
    bench.inspector.explain()
    bench.finish()
    (layer,) = bench.maps()
    assert explained_by(layer) is None
    _, evaluation = bench.viewer.window.add_plugin_dock_widget("napari-neuroscope", "Evaluation")
    evaluation.close_work()


def test_a_disk_that_fills_up_is_said_and_what_there_is_stays(bench: Bench, monkeypatch) -> None:
    layer = bench.begin(2)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pyramid, "coarsen", full)
    bench.finish()
    assert "is full; make room there, or explain what is in view." in bench.inspector.message.text()
    assert bench.maps() == [layer]
    assert reached(layer) == 2


def test_a_slide_in_colour(opened_on) -> None:
    colours = np.random.default_rng(1).integers(0, 256, (*SIDES, 3), np.uint8)
    bench = opened_on([colours, colours[::2, ::2]], multiscale=True, rgb=True, scale=(2, 2))
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1))
    network = ns.wrap(model, {**SPEC, "input": {"channels": 3, "order": "rgb"}}, device="cpu")
    bench.inspector.add_network(network)
    bench.wait(lambda: bench.inspector.ready() and bench.inspector.session.network is network)
    bench.inspector.explain()
    bench.finish()
    (layer,) = bench.maps()
    whole = ns.explain(network, colours, "score_map", 1).values
    np.testing.assert_allclose(np.asarray(layer.data[0]), whole, atol=1e-5)
    np.testing.assert_allclose(layer.extent.world, bench.image.extent.world)

"""Large images run tile by tile: the map grows in its layer, is stopped, and says what it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import dask.array
import numpy as np
import pytest
import torch
from qtpy.QtCore import QTimer
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine import parts, pyramid, tiles, tiling
from napari_neuroscope.viewer import growing
from napari_neuroscope.viewer.overlays import KEY
from napari_neuroscope.widgets.inspector import Inspector

SPEC = {"task": "segmentation", "classes": ["sky", "car", "road"], "input": {"channels": 1}}
PATIENCE_MS = 20_000
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


class Bench:
    """An inspector on a large image, with score maps chosen."""

    def __init__(self, viewer, qtbot, inspector: Inspector, model: Gated) -> None:
        self.viewer, self.qtbot, self.inspector, self.model = viewer, qtbot, inspector, model
        self.network = inspector.session.network
        self.image = viewer.layers["slide"]

    def maps(self) -> list:
        return [layer for layer in self.viewer.layers if KEY in layer.metadata]

    def wait(self, until: Callable[[], bool]) -> None:
        self.qtbot.waitUntil(until, timeout=PATIENCE_MS)

    def reach(self, done: int):
        """Let as many tiles through as are missing, and wait until they are shown."""
        if not self.model.shut:
            self.model.shut = True
        self.wait(lambda: done in [reached(layer) for layer in self.maps()])
        return next(layer for layer in self.maps() if reached(layer) == done)

    def begin(self, tiles: int):
        """Begin with so many tiles let through."""
        self.model.shut = True
        self.model.allowed.release(tiles)
        self.inspector.explain()
        return self.reach(tiles)

    def more(self, tiles: int, done: int):
        self.model.allowed.release(tiles)
        return self.reach(done)

    def finish(self) -> None:
        self.model.open()
        self.wait(lambda: not self.inspector.jobs.busy)

    def whole(
        self, method: str = "score_map", target: int = 1, layer=None, **options
    ) -> np.ndarray:
        image = np.asarray(self.image.data[0] if self.image.multiscale else self.image.data)
        options = options or self.inspector.session.options
        return ns.explain(self.network, image, method, target, layer, **options).values


def reached(layer) -> int:
    """Return of how many tiles an unfinished layer is; 0 where it is finished."""
    return layer.metadata[KEY].get("unfinished", {"done": 0})["done"]


def slide() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, SIDES, np.uint8)


@pytest.fixture
def small(monkeypatch) -> None:
    """Let a small image be a large one."""
    monkeypatch.setattr(parts, "ONE_PASS", 100 * 100)
    monkeypatch.setitem(parts._MIDDLE, 2, 50)
    monkeypatch.setattr(tiling, "_OFFER_EVERY_S", 0.0)
    monkeypatch.setitem(tiles.DEFAULT_TILE, 2, 70)
    monkeypatch.setattr(pyramid, "_ALONE", {2: 128})
    monkeypatch.setattr(pyramid, "_COARSEST", 64)


@pytest.fixture
def opened_on(viewer, qtbot, small) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def open_it(data=None, **attributes) -> Bench:
        viewer.add_image(slide() if data is None else data, name="slide", **attributes)
        _, inspector = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
        model = Gated()
        inspector.add_network(ns.wrap(model, SPEC, name="gated", device="cpu"))
        qtbot.waitUntil(inspector.ready, timeout=PATIENCE_MS)
        inspector.choose_method("score_map")
        inspector.choose_classes([1])
        made.append(Bench(viewer, qtbot, inspector, model))
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
    assert layer.name == f"Score map · car (2 of {TILES})"
    finest = layer.data[0]
    first = np.isfinite(finest[:, :])
    assert 0 < first.sum() < first.size
    np.testing.assert_allclose(finest[:, :][first], whole[first], atol=1e-5)
    assert bench.more(2, 4) is layer
    second = np.isfinite(finest[:, :])
    assert second[first].all()
    assert second.sum() > first.sum()
    assert bench.viewer.canvas.overlays.text.text == f"Score map: 4 of {TILES} tiles so far"
    bench.finish()
    assert bench.maps() == [layer]
    assert layer.name == "Score map · car"
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

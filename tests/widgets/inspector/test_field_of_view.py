"""What is in view is explained as it is in the map of the whole, and lies exactly over the image."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import dask.array
import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.explain import crop as parts
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.tiles import tiling as tiles
from napari_neuroscope.viewer.image.camera import camera_of, window_in_view
from napari_neuroscope.viewer.image.image_pixels import Pixels
from napari_neuroscope.widgets.inspector.inspector import Inspector

# Of any size, so that a view is explained to its last row.
SPEC = {
    "task": "segmentation", "classes": ["sky", "car", "road"],
    "input": {"channels": 1, "size": {"min": 1, "step": 1}},
}  # fmt: skip
PATIENCE_MS = 20_000
SIDES = (150, 200)


class Halving(nn.Module):
    """A segmenter whose second layer halves the image; it counts its passes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.begin = nn.Conv2d(1, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)
        self.head = nn.Conv2d(4, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.up(torch.relu(self.down(torch.relu(self.begin(x))))))


class Classifier(nn.Module):
    """Two classes of images of any size."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.begin, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.begin(x)).mean((2, 3)))


def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, SIDES, np.uint8)


class Bench:
    """An inspector on an image, of which what is in view is chosen."""

    def __init__(self, viewer, qtbot, inspector: Inspector) -> None:
        self.viewer, self.qtbot, self.inspector = viewer, qtbot, inspector
        self.network = inspector.session.network
        self.image = viewer.layers["photo"]

    def maps(self) -> list:
        return [layer for layer in self.viewer.layers if KEY in layer.metadata]

    def look_at(self, window) -> None:
        """Move the camera so that a window (of an image that is not turned) fills the canvas."""
        ends = np.array(window, float)
        low, high = (
            self.image.data_to_world((*self.place(), *p))[-2:]
            for p in (ends[:, 0] - 0.5, ends[:, 1] - 0.5)
        )
        camera, size = camera_of(self.viewer), np.array(self.viewer.canvas.size)
        camera.center = tuple((np.array(low) + high) / 2)
        camera.zoom = float((size / (np.array(high) - low)).max())

    def place(self) -> tuple[int, ...]:
        return (0,) * (self.image.ndim - 2)

    def in_view(self):
        return window_in_view(Pixels.of(self.image, 2, self.viewer), self.viewer)

    def explain(self):
        """Explain, and return the layer and the pixels of the image that it lies on."""
        self.inspector.explain()
        self.settled()
        (layer,) = [one for one in self.maps() if "in view" in one.name]
        return layer, self.covers(layer)

    def settled(self) -> None:
        self.qtbot.waitUntil(lambda: not self.inspector.jobs.busy, timeout=PATIENCE_MS)

    def covers(self, layer) -> tuple[slice, ...]:
        """Return which pixels of the image a map lies on, from the transforms of both layers."""
        ndim = layer.ndim - self.image.ndim
        corners = [np.zeros(layer.ndim), np.array(layer.data.shape) - 1.0]
        half = np.zeros(layer.ndim)
        half[-2:] = 0.5
        first, last = (
            np.array(self.image.world_to_data(layer.data_to_world(corner)[ndim:]))[-2:]
            for corner in (corners[0] - half, corners[1] + half)
        )
        return tuple(
            slice(round(a + 0.5), round(b + 0.5)) for a, b in zip(first, last, strict=True)
        )


@pytest.fixture
def opened_on(viewer, qtbot) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def open_it(data=None, network: ns.Network | None = None, **attributes) -> Bench:
        viewer.add_image(photo() if data is None else data, name="photo", **attributes)
        _, inspector = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
        inspector.choose_method("grad_cam")
        inspector.add_network(network or ns.wrap(Halving(), SPEC, name="halving", device="cpu"))
        qtbot.waitUntil(inspector.ready, timeout=PATIENCE_MS)
        inspector.choose_method("score_map")
        inspector.choose_classes([1])
        inspector.form.extent.choose("in view")
        made.append(Bench(viewer, qtbot, inspector))
        return made[0]

    yield open_it
    for bench in made:
        bench.inspector.close_work()
    assert not [t for t in threading.enumerate() if t.name == "neuroscope compute"]


WINDOW = ((40, 101), (60, 121))


@pytest.mark.parametrize(
    ("method", "layer"),
    [("score_map", None), ("saliency", None), ("layer_cam", "down"), ("hires_cam", "begin")],
)
def test_values_in_view_are_those_of_the_whole(opened_on, method: str, layer: str | None) -> None:
    bench = opened_on()
    bench.inspector.choose_method(method)
    if layer:
        bench.inspector.choose_layers([layer])
    bench.look_at(WINDOW)
    shown, (rows, columns) = bench.explain()
    whole = ns.explain(bench.network, photo(), method, 1, layer)
    first = [
        round(start / step)
        for start, step in zip((rows.start, columns.start), whole.grid.scale, strict=True)
    ]
    cut = tuple(slice(i, i + n) for i, n in zip(first, shown.data.shape, strict=True))
    np.testing.assert_allclose(shown.data, whole.values[cut], atol=1e-4)
    (top, bottom), (left, right) = bench.in_view()
    assert top - 2 < rows.start <= top
    assert bottom <= rows.stop < bottom + 2
    assert left - 2 < columns.start <= left
    assert right <= columns.stop < right + 2
    assert bench.inspector.form.extent.note.text() == (
        f"{bottom - top} × {right - left} of 150 × 200 pixels, as in the map of the whole."
    )


def test_the_map_in_view_has_a_layer_of_its_own(opened_on) -> None:
    bench = opened_on()
    bench.inspector.form.extent.choose("whole")
    bench.inspector.explain()
    bench.settled()
    bench.inspector.form.extent.choose("in view")
    bench.look_at(WINDOW)
    layer, _ = bench.explain()
    assert {one.name for one in bench.maps()} == {
        "car · Score map (out of date)",
        "car · Score map · in view",
    }
    assert [one.visible for one in bench.maps()] == [False, True]
    bench.look_at(((0, 40), (0, 40)))
    again, (rows, columns) = bench.explain()
    assert again is layer, "the same layer goes with the view"
    (_, bottom), (left, right) = bench.in_view()
    assert rows.start == 0
    assert bottom <= rows.stop < bottom + 2
    assert columns.start <= left < right <= columns.stop


@pytest.mark.parametrize(
    "attributes",
    [
        {"scale": (0.5, 0.25), "translate": (30, -7), "units": ("um", "um")},
        {"rotate": 30, "scale": (2, 2)},
        {"shear": [0.4], "translate": (5, 9)},
        {"affine": [[0, -1, 100], [1, 0, 3], [0, 0, 1]]},
    ],
)
def test_a_moved_turned_or_sheared_image(opened_on, attributes) -> None:
    bench = opened_on(**attributes)
    pixel = (70.0, 90.0)
    camera = camera_of(bench.viewer)
    camera.center = bench.image.data_to_world(pixel)
    camera.zoom = 20 / np.mean(attributes.get("scale", 1))
    layer, (rows, columns) = bench.explain()
    whole = ns.explain(bench.network, photo(), "score_map", 1).values
    np.testing.assert_allclose(layer.data, whole[rows, columns], atol=1e-4)
    # All that the canvas shows is there: its corners and its middle.
    half = np.array(bench.viewer.canvas.size) / camera.zoom / 2
    for sign in ((0, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)):
        y, x = bench.image.world_to_data(np.array(camera.center[-2:]) + half * sign)
        inside = 0 <= y <= SIDES[0] - 1 and 0 <= x <= SIDES[1] - 1
        assert not inside or (
            rows.start - 0.5 <= y <= rows.stop - 0.5
            and columns.start - 0.5 <= x <= columns.stop - 0.5
        )
    assert layer.data.size < photo().size


def test_live_follows_the_camera_to_where_it_ends(opened_on) -> None:
    bench = opened_on()
    bench.look_at(WINDOW)
    bench.inspector.form.live.setChecked(True)
    bench.qtbot.waitUntil(lambda: len(bench.maps()) == 1, timeout=PATIENCE_MS)
    (layer,) = bench.maps()
    for step in range(8):
        bench.look_at(((10 + step, 50 + step), (20 + step, 60 + step)))
    bench.qtbot.waitUntil(lambda: bench.covers(layer)[0].start == 16, timeout=PATIENCE_MS)
    bench.settled()
    rows, columns = bench.covers(layer)
    whole = ns.explain(bench.network, photo(), "score_map", 1).values
    np.testing.assert_allclose(layer.data, whole[rows, columns], atol=1e-4)
    assert bench.maps() == [layer]


def test_weights_of_grad_cam_are_of_the_view_and_the_dock_says_so(opened_on) -> None:
    bench = opened_on()
    bench.inspector.choose_method("grad_cam")
    bench.inspector.choose_layers(["begin"])
    bench.look_at(WINDOW)
    bench.explain()
    assert "the channels' weights are of the window alone" in bench.inspector.message.text()
    assert (
        "but for channels' weights, which are theirs alone"
        in bench.inspector.form.extent.note.text()
    )


def test_a_view_of_nothing_is_said(opened_on) -> None:
    bench = opened_on()
    camera_of(bench.viewer).center = (9000, 9000)
    bench.inspector.explain()
    assert not bench.inspector.jobs.busy
    assert bench.inspector.message.text() == (
        "Nothing of “photo” is in view; move there, or choose the whole image."
    )
    assert bench.in_view() is None


def test_a_view_of_everything_is_the_whole(opened_on) -> None:
    bench = opened_on()
    camera_of(bench.viewer).zoom = 0.1
    bench.inspector.explain()
    bench.settled()
    assert [layer.name for layer in bench.maps()] == ["car · Score map"]


def test_a_classifier_sees_the_view_as_an_image_of_its_own(opened_on) -> None:
    spec = {"task": "classification", "classes": ["cat", "dog"], "input": {"channels": 1}}
    bench = opened_on(network=ns.wrap(Classifier(), spec, name="classifier", device="cpu"))
    bench.inspector.choose_method("saliency")
    bench.look_at(WINDOW)
    layer, (rows, columns) = bench.explain()
    (top, bottom), (left, right) = bench.in_view()
    assert (rows, columns) == (slice(top, bottom), slice(left, right))
    alone = ns.explain(bench.network, photo()[rows, columns], "saliency", 1)
    np.testing.assert_array_equal(layer.data, alone.values)
    assert bench.inspector.form.extent.note.text() == (
        f"{bottom - top} × {right - left} of 150 × 200 pixels, as an image of their own: "
        f"a classifier answers once for an image."
    )
    assert "were explained as an image of their own" in bench.inspector.message.text()


def test_a_method_of_the_whole_sees_the_view_as_an_image_of_its_own(opened_on) -> None:
    bench = opened_on()
    bench.inspector.choose_method("occlusion")
    bench.inspector.choose_options({"window": 16, "stride": 16})
    bench.look_at(WINDOW)
    layer, (rows, columns) = bench.explain()
    alone = ns.explain(bench.network, photo()[rows, columns], "occlusion", 1, window=16, stride=16)
    np.testing.assert_allclose(layer.data, alone.values, atol=1e-5)
    assert "Occlusion looks at an image as a whole" in bench.inspector.form.extent.note.text()


def test_of_a_lazy_slide_only_what_is_in_view_is_read(opened_on, monkeypatch) -> None:
    monkeypatch.setattr(parts, "ONE_PASS", 100 * 100)
    monkeypatch.setitem(parts._MIDDLE, 2, 48)
    monkeypatch.setitem(tiles.DEFAULT_TILE, 2, 64)
    read: list[tuple[int, ...]] = []
    values = np.random.default_rng(0).integers(0, 256, (1000, 1200), np.uint8)

    def block(block_info=None) -> np.ndarray:
        place = block_info[None]["array-location"]
        read.append(tuple(first for first, _ in place))
        return values[tuple(slice(*ends) for ends in place)]

    lazy = dask.array.map_blocks(
        block, chunks=((50,) * 20, (50,) * 24), dtype=np.uint8, meta=np.empty((0, 0), np.uint8)
    )
    bench = opened_on([lazy, values[::4, ::4]], multiscale=True)
    bench.look_at(((400, 440), (600, 640)))
    bench.qtbot.wait(50)
    read.clear()
    layer, (rows, columns) = bench.explain()
    assert {first // 50 for first, _ in read} <= {7, 8, 9}
    assert {first // 50 for _, first in read} <= {11, 12, 13, 14}
    whole = ns.explain(bench.network, values, "score_map", 1).values
    np.testing.assert_allclose(layer.data, whole[rows, columns], atol=1e-4)


def test_long_views_begin_when_they_are_asked_for(opened_on, monkeypatch) -> None:
    monkeypatch.setattr(parts, "ONE_PASS", 50 * 50)
    bench = opened_on()
    bench.look_at(((10, 140), (20, 180)))
    bench.inspector.form.live.setChecked(True)
    bench.qtbot.wait(400)
    assert not bench.maps()
    assert bench.inspector.form.extent.note.text().endswith(
        "It begins with Explain, not as you choose."
    )
    bench.look_at(((10, 40), (20, 50)))
    bench.qtbot.waitUntil(lambda: len(bench.maps()) == 1, timeout=PATIENCE_MS)

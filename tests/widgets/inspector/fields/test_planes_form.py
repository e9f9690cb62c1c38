"""Slices in the dock: this one, a range or all; each read when it is its turn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import torch
import xarray
import zarr
from napari.layers import Image
from torch import nn
from zarr.storage import LocalStore

import napari_neuroscope as ns
from napari_neuroscope.engine.explanation.colormaps import limits
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.session.stack_extent import stack_of
from napari_neuroscope.viewer.image.shown_image import ShownImage
from napari_neuroscope.widgets.evolution.shown_stack import ShownStack
from napari_neuroscope.widgets.inspector.inspector import Inspector

FILM = np.random.default_rng(0).random((4, 3, 16, 24)).astype(np.float32)
PLACE = {"scale": (5, 2, 0.5, 0.5), "translate": (10, 0, 1, 2), "units": ("s", "um", "um", "um"),
         "axis_labels": ("t", "z", "y", "x")}  # fmt: skip


class Gated(nn.Module):
    """A segmenter that can be held up before a pass, and counts its passes."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.begin = nn.Conv2d(channels, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 3, 1)
        self.open = threading.Event()
        self.open.set()
        self.passes = 0
        self.held_from = 1 << 30

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        if self.passes >= self.held_from:
            assert self.open.wait(20)
        return self.head(torch.relu(self.begin(x)))


def wrapped(model: nn.Module, channels: int = 1) -> ns.Network:
    spec = {"task": "segmentation", "classes": ["sky", "car", "road"],
            "input": {"channels": channels, "value_range": [0, 1]}}  # fmt: skip
    return ns.wrap(model, spec, name="gated", device="cpu")


@pytest.fixture
def dock(viewer, qtbot) -> Iterator[Callable[..., Inspector]]:
    made: list[Inspector] = []

    def open_it(network: ns.Network, data: Any, **place: Any) -> Inspector:
        viewer.add_image(data, name="film", **place)
        viewer.dims.set_current_step(0, 1)
        viewer.dims.set_current_step(1, 2)
        _, inspector = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
        inspector.choose_method("grad_cam")
        made.append(inspector)
        inspector.add_network(network)
        qtbot.waitUntil(inspector.ready, timeout=10_000)
        inspector.choose_layers(["begin"])
        inspector.choose_classes([1])
        return inspector

    yield open_it
    for inspector in made:
        inspector.close_work()


@pytest.fixture
def blocks() -> tuple[dask.array.Array, list[tuple[int, ...]]]:
    """A film that is read block by block, a block a slice, and which blocks were."""
    read: list[tuple[int, ...]] = []

    def block(block_info: Any = None) -> np.ndarray:
        where = block_info[None]["chunk-location"]
        read.append(where[:2])
        return FILM[where[:2]][None, None]

    lazy = dask.array.map_blocks(
        block, chunks=((1,) * 4, (1,) * 3, 16, 24), dtype=FILM.dtype, meta=np.zeros((0,) * 4, "f4")
    )
    return lazy, read


def maps(viewer) -> list[Any]:
    return [layer for layer in viewer.layers if "method" in layer.metadata.get(KEY, {})]


def test_all_slices_lie_over_their_image(viewer, dock, explained) -> None:
    network = wrapped(Gated())
    inspector = dock(network, FILM, **PLACE)
    assert inspector.form.planes.isVisibleTo(inspector)
    inspector.form.planes.choose("all")
    assert inspector.form.planes.note.text().startswith("12 slices")
    explained(inspector)
    (layer,) = maps(viewer)
    assert layer.name == "car · Grad-CAM · begin · 12 slices"
    whole = ns.explain_stack(network, FILM, "grad_cam", 1, "begin", axes="tzyx")
    np.testing.assert_array_equal(layer.data, whole.values)
    image = viewer.layers["film"]
    for name in ("scale", "translate", "axis_labels"):
        assert list(getattr(layer, name)) == list(getattr(image, name))
    assert [str(unit) for unit in layer.units] == [str(unit) for unit in image.units]
    # Each slice has a contrast of its own.
    for step in ((0, 0), (3, 2), (1, 2)):
        for axis, at in enumerate(step):
            viewer.dims.set_current_step(axis, at)
        expected = limits(whole.values[step], signed=False)
        assert layer.contrast_limits == pytest.approx(expected, rel=1e-5)
    # The slice that is shown is its own layer, which stays when the sliders move.
    inspector.form.planes.choose("this")
    explained(inspector)
    assert len(maps(viewer)) == 2
    np.testing.assert_array_equal(maps(viewer)[1].data[0, 0], whole.values[1, 2])


def test_a_range_is_read_slice_by_slice(viewer, dock, blocks, explained) -> None:
    lazy, read = blocks
    inspector = dock(wrapped(Gated()), lazy, contrast_limits=(0, 1), **PLACE)
    read.clear()
    inspector.form.planes.choose_range("t", 2, 3)
    inspector.form.planes.choose_range("z", 1, 1)
    assert inspector.form.planes.note.text().startswith("2 of 12 slices")
    explained(inspector)
    # What napari itself reads is the slice that is shown.
    assert set(read) - {(1, 2)} == {(2, 1), (3, 1)}
    (layer,) = maps(viewer)
    assert layer.data.shape == (2, 1, 16, 24)
    np.testing.assert_allclose(layer.translate, (20, 2, 1, 2))
    np.testing.assert_allclose(layer.scale, (5, 2, 0.5, 0.5))


def test_the_map_grows_and_what_is_stopped_stays(viewer, dock, qtbot) -> None:
    model = Gated()
    inspector = dock(wrapped(model), FILM, **PLACE)
    inspector.form.planes.choose("all")
    model.held_from = model.passes + 5
    model.open.clear()
    seen: list[str] = []
    inspector.jobs.progressed.connect(lambda done, total, what: seen.append(what))
    inspector.explain()
    qtbot.waitUntil(lambda: model.passes >= model.held_from, timeout=10_000)
    qtbot.waitUntil(lambda: bool(maps(viewer)), timeout=10_000)
    (layer,) = maps(viewer)
    done = int(np.isfinite(layer.data).all((2, 3)).sum())
    assert 1 <= done <= 4
    assert "of 12)" in layer.name
    inspector.cancel()
    model.open.set()
    qtbot.waitUntil(lambda: not inspector.jobs.busy, timeout=10_000)
    assert np.isnan(layer.data[3]).all()
    assert np.isfinite(layer.data[0, 0]).all()
    assert layer.metadata[KEY]["unfinished"]["of"] == "planes"
    assert any("of 12 slices" in what for what in seen)


def test_several_slices_begin_only_when_asked(viewer, dock, qtbot, explained) -> None:
    model = Gated()
    inspector = dock(wrapped(model), FILM)
    inspector.session.live = True
    qtbot.waitUntil(lambda: bool(maps(viewer)) and not inspector.jobs.busy, timeout=10_000)
    inspector.form.planes.choose("all")
    assert "begins with Explain" in inspector.form.planes.note.text()
    passes = model.passes
    viewer.dims.set_current_step(0, 3)
    inspector.choose_classes([2])
    qtbot.wait(400)
    assert model.passes == passes
    assert not inspector.jobs.busy
    explained(inspector)
    assert maps(viewer)[-1].name.endswith("12 slices")
    # Two maps of one slice would be seen as one of stronger colours.
    assert [layer.visible for layer in maps(viewer)] == [False, True]
    inspector.form.planes.choose("this")
    explained(inspector)
    assert [layer.visible for layer in maps(viewer)] == [True, False]


def test_channels_that_the_network_takes_are_no_slices(viewer, dock, explained) -> None:
    network = wrapped(Gated(3), 3)
    inspector = dock(network, FILM, **{**PLACE, "axis_labels": ("t", "c", "y", "x")})
    inspector.form.planes.choose("all")
    assert inspector.form.planes.note.text().startswith("4 slices")
    explained(inspector)
    (layer,) = maps(viewer)
    assert layer.data.shape == (4, 1, 16, 24)
    np.testing.assert_allclose(layer.translate, (10, 4, 1, 2))
    alone = ns.explain(network, FILM[2], "grad_cam", 1, "begin")
    np.testing.assert_array_equal(layer.data[2, 0], alone.values)


def test_images_of_one_slice_have_no_choice(viewer, dock) -> None:
    inspector = dock(wrapped(Gated()), FILM)
    viewer.add_image(FILM[0, 0], name="flat")
    inspector.form.image.setCurrentText("flat")
    assert not inspector.form.planes.isVisibleTo(inspector)
    assert not inspector.form.planes.asks_several()


def test_what_can_t_be_asked_of_several_slices_is_said(viewer, dock, qtbot) -> None:
    inspector = dock(wrapped(Gated()), FILM)
    viewer.add_labels(np.ones(FILM.shape, int), name="mine")
    inspector.choose_labels(viewer.layers["mine"])
    inspector.choose_region("ground_truth")
    qtbot.waitUntil(inspector.ready, timeout=5_000)
    inspector.form.planes.choose("all")
    assert not inspector.ready()
    assert "A region from a layer is of this slice alone" in inspector.form.reason.text()
    inspector.choose_region("everywhere")
    assert inspector.ready()
    inspector.form.extent.choose("in view")
    assert "Of several slices the whole is explained" in inspector.form.reason.text()
    inspector.form.planes.choose("this")
    assert inspector.ready()


def test_several_layers_of_several_slices(viewer, dock, explained, qtbot) -> None:
    network = wrapped(Gated(3), 3)
    inspector = dock(network, FILM)
    inspector.choose_layers(["begin", "head"])
    inspector.form.planes.choose("all")
    explained(inspector)
    (layer,) = maps(viewer)
    assert layer.data.shape == (2, 4, 1, 16, 24)
    # The plot of the layers is of the slice that is shown.
    _, evolution = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Evolution")
    viewer.dims.set_current_step(1, 2)
    stack = ShownStack.of(viewer)
    assert stack is not None
    assert stack.layer.name == layer.name
    values, names = stack.maps()
    np.testing.assert_array_equal(values, layer.data[:, 2, 0])
    assert names == ["begin", "head"]
    evolution.close_work()


@pytest.mark.parametrize("kind", ["zarr", "xarray", "multiscale"])
def test_layers_of_any_kind_are_read_slice_by_slice(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = zarr.create_array(tmp_path / "a", shape=FILM.shape, chunks=(1, 1, 16, 24), dtype="f4")
    array[:] = FILM
    coarse = zarr.create_array(tmp_path / "b", data=FILM[..., ::2, ::2], chunks=(1, 1, 8, 12))
    data: Any = {
        "zarr": array,
        "xarray": xarray.DataArray(dask.array.from_zarr(array), dims=("t", "z", "y", "x")),
        "multiscale": [dask.array.from_zarr(array), dask.array.from_zarr(coarse)],
    }[kind]
    layer = Image(data, multiscale=kind == "multiscale", contrast_limits=(0, 1), **PLACE)
    read: list[str] = []
    get = LocalStore.get

    async def counted(self: LocalStore, key: str, *args: Any, **kwargs: Any) -> Any:
        read.append(key)
        return await get(self, key, *args, **kwargs)

    monkeypatch.setattr(LocalStore, "get", counted)
    finest = layer.data[0] if kind == "multiscale" else layer.data
    network = wrapped(Gated())
    stack = stack_of(ShownImage("film", finest, False, (0, 0, 0, 0)), layer, network)
    assert (stack.axes, stack.shape) == (("t", "z"), (4, 3))
    found = ns.explain_stack(network, stack, "grad_cam", 1, "begin", planes="t=3, z=:2")
    assert sorted(key for key in read if "c/" in key) == ["c/3/0/0/0", "c/3/1/0/0"]
    whole = ns.explain_stack(network, FILM, "grad_cam", 1, "begin", axes="tzyx")
    np.testing.assert_array_equal(found.values[0], whole.values[3, :2])

"""Networks of volumes in the viewer: where maps lie, in 2D and 3D, and every dock on them."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import torch
import xarray
from torch import Tensor, nn

import napari_neuroscope as ns
from napari_neuroscope.engine.evaluation.evolution import Evolution
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.viewer.image.layer_regions import LayerRegion
from napari_neuroscope.widgets.inspector.inspector import Inspector
from napari_neuroscope.widgets.parts.pickers import options_widget

SHAPE = (6, 16, 20)
STEPS = (2.0, 0.5, 0.5)
OURS = "src/napari_neuroscope"
CLASSES = ("background", "cell", "disc")


class Volume(nn.Module):
    """A 3-D network with a pooling over rows and columns alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv3d(1, 4, 3, padding=1), nn.ReLU()
        self.pool = nn.MaxPool3d((1, 2, 2))
        self.deep = nn.Conv3d(4, 4, (1, 3, 3), padding=(0, 1, 1))
        self.up = nn.Upsample(scale_factor=(1, 2, 2))
        self.head = nn.Conv3d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.deep(self.pool(self.relu(self.conv(x)))))
        return self.head(self.up(y))


@pytest.fixture(scope="module")
def network() -> ns.Network:
    torch.manual_seed(1)
    spec = {
        "task": "segmentation",
        "classes": CLASSES,
        "pixel_size": STEPS,
        "input": {"axes": "bczyx", "value_range": (0, 1)},
    }
    return ns.wrap(Volume().eval(), spec, device="cpu")


@pytest.fixture
def volume(rng: np.random.Generator) -> np.ndarray:
    return rng.random(SHAPE, dtype=np.float32)


@pytest.fixture
def at_work(viewer, opened, network, qtbot) -> Callable[..., Inspector]:
    """Open the inspector on a volume, with a network of volumes."""

    def open_on(data: Any, **place: Any) -> Inspector:
        if data is not None:
            viewer.add_image(data, name="Volume", rgb=False, **place)
        inspector = opened(None, None)
        inspector.add_network(network)
        qtbot.waitUntil(inspector.ready, timeout=30_000)
        inspector.choose_layers(["deep"])
        inspector.choose_classes([1])
        return inspector

    return open_on


@pytest.fixture
def dock(viewer, qtbot) -> Iterator[Callable[[str], Any]]:
    made: list[Any] = []

    def open_dock(name: str) -> Any:
        _, widget = viewer.window.add_plugin_dock_widget("napari-neuroscope", name)
        made.append(getattr(widget, "__wrapped__", widget))
        return made[-1]

    yield open_dock
    for one in made:
        one.close_work()


def maps(viewer) -> list[Any]:
    return [layer for layer in viewer.layers if KEY in layer.metadata]


def assert_over(layer: Any, image: Any, leading: int = 0) -> None:
    """Check that a map's corners are the image's, along the axes that it covers."""
    space = len(SHAPE)
    for corner in np.ndindex(*(2,) * space):
        ends = []
        for one in (layer, image):
            sizes = np.array(one.data.shape[-space:])
            at = np.zeros(one.ndim)
            at[-space:] = np.where(corner, sizes - 0.5, -0.5)
            ends.append(np.asarray(one.data_to_world(at))[-space:])
        np.testing.assert_allclose(ends[0], ends[1], rtol=0, atol=1e-9)


PLACES = {
    "scale": {"scale": STEPS, "translate": (3, -2, 8), "units": ("um",) * 3,
              "axis_labels": ("z", "y", "x")},
    "turned": {"scale": STEPS, "rotate": np.array([[0, -1, 0], [0.8, 0, -0.6], [0.6, 0, 0.8]]),
               "shear": (0.1, 0.2, -0.1)},
    "affine": {"scale": STEPS, "affine": np.array([[1, 0.1, 0, 4], [0, 2, 0.3, 0], [0, 0, 1, -7],
                                                   [0, 0, 0, 1]])},
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")
@pytest.mark.parametrize("place", PLACES)
def test_a_map_lies_over_its_volume(place: str, viewer, at_work, explained, network, volume):
    inspector = at_work(volume, **PLACES[place])
    image = viewer.layers["Volume"]
    for method, layer in (("grad_cam", "deep"), ("saliency", None)):
        inspector.choose_method(method)
        explained(inspector)
        shown = maps(viewer)[-1]
        assert_over(shown, image)
        assert shown.units == image.units
        assert shown.axis_labels[-3:] == ("z", "y", "x")
        expected = ns.explain(network, volume, method, 1, layer).values
        np.testing.assert_allclose(shown.data, expected, rtol=1e-4, atol=1e-6)


def test_volumes_over_time(viewer, at_work, explained, network, volume, qtbot) -> None:
    series = np.stack([volume, 1 - volume, volume**2])
    place = {"scale": (30, *STEPS), "units": ("s", "um", "um", "um"),
             "axis_labels": ("t", "z", "y", "x"), "translate": (5, 1, 2, 3)}  # fmt: skip
    inspector = at_work(series, **place)
    viewer.dims.set_current_step(0, 2)
    explained(inspector)
    (layer,) = maps(viewer)
    assert layer.data.shape == (1, 6, 8, 10)
    expected = ns.explain(network, series[2], "grad_cam", 1, "deep").values
    np.testing.assert_allclose(layer.data[0], expected, rtol=1e-4, atol=1e-6)
    assert layer.data_to_world((0, 0, 0, 0))[0] == 5 + 2 * 30
    assert_over(layer, viewer.layers["Volume"])
    # Along z there is nothing to explain anew, along t there is.
    inspector.session.live = True
    qtbot.wait(400)
    qtbot.waitUntil(lambda: not inspector.jobs.busy, timeout=30_000)
    asked: list[str] = []
    inspector.jobs.started.connect(asked.append)
    viewer.dims.set_current_step(1, 1)
    qtbot.wait(400)
    assert not asked
    viewer.dims.set_current_step(0, 0)
    qtbot.waitUntil(lambda: bool(asked) and not inspector.jobs.busy, timeout=30_000)
    expected = ns.explain(network, series[0], "grad_cam", 1, "deep").values
    np.testing.assert_allclose(maps(viewer)[0].data[0], expected, rtol=1e-4, atol=1e-6)


def test_three_dimensions_are_shown(viewer, at_work, explained, volume) -> None:
    inspector = at_work(volume, scale=STEPS)
    viewer.dims.ndisplay = 3
    told = {}
    for method in ("grad_cam", "integrated_gradients", "fusion_score_map"):
        inspector.choose_method(method)
        explained(inspector)
        told[method] = inspector.message.text()
    assert {layer.ndim for layer in maps(viewer)} == {3}
    assert {layer.rendering for layer in maps(viewer) if hasattr(layer, "colorbar")} == {"mip"}
    # What is below zero is never the highest along a line of sight.
    assert "“minip”" in told["integrated_gradients"]
    assert "“minip”" not in told["grad_cam"]


def test_pixels_of_another_size_are_told(viewer, at_work, volume) -> None:
    inspector = at_work(volume, scale=STEPS, units=("um",) * 3)
    note, image = inspector.form.image.size_note, viewer.layers["Volume"]
    assert note.isHidden()
    image.scale = (2.1, 0.5, 0.5)
    assert note.isHidden()
    image.scale = (2.0, 1.0, 1.0)
    assert not note.isHidden()
    assert "“Volume” are 2 × 1 × 1 µm, but the network learnt from 2 × 0.5 × 0.5" in note.text()
    assert "to 1 × 2 × 2 times as many" in note.text()
    image.scale = (0.002, 0.0005, 0.0005)
    assert not note.isHidden()
    image.units = ("mm",) * 3
    assert note.isHidden()
    image.units = ("pixel",) * 3
    assert note.isHidden()


def test_an_option_is_one_number_or_one_an_axis(qtbot) -> None:
    told: list[dict[str, Any]] = []
    made = options_widget(ns.methods["occlusion"], told.append)
    line = made.window.native
    qtbot.addWidget(made.native)
    assert made.asdict()["window"] == 32
    assert line.text() == "32"
    line.setText("4, 16,16")
    assert told[-1]["window"] == (4, 16, 16)
    assert ns.methods["occlusion"].check_options(told[-1])["window"] == (4, 16, 16)
    line.setText("8")
    assert told[-1]["window"] == 8
    made.window.value = (2, 6, 6)
    assert line.text() == "2, 6, 6"
    line.setText("8, wide")
    with pytest.raises(ns.NeuroscopeError, match="can't take window='8, wide'"):
        ns.methods["occlusion"].check_options(told[-1])


def test_a_shape_is_a_region_of_its_own_plane(viewer, at_work, explained, network, volume) -> None:
    inspector = at_work(volume, scale=STEPS)
    corners = [(4.0, y, x) for y, x in ((1, 1), (1, 6), (5, 6), (5, 1))]  # plane 2 of 2 µm
    shapes = viewer.add_shapes([corners], shape_type="polygon", name="ROI")
    inspector.choose_region(LayerRegion(shapes))
    explained(inspector)
    mask = np.zeros(SHAPE, bool)
    mask[2, 2:11, 2:13] = True
    expected = ns.explain(network, volume, "grad_cam", ns.Target(1, mask), "deep").values
    (layer,) = maps(viewer)
    np.testing.assert_allclose(layer.data, expected, rtol=1e-4, atol=1e-6)


def test_a_click_asks_about_a_voxel(viewer, at_work, network, volume, qtbot) -> None:
    inspector = at_work(volume, scale=STEPS)
    inspector.ask_tool.ask_at((6.0, 4.0, 5.0))
    qtbot.waitUntil(lambda: not inspector.jobs.busy, timeout=30_000)
    questions = viewer.layers["Questions"]
    assert questions.data.tolist() == [[3, 8, 10]]
    predicted = int(network.predict(volume).labels[3, 8, 10])
    expected = ns.explain(
        network, volume, "grad_cam", ns.Target(predicted, (3, 8, 10)), "deep"
    ).values
    layer = next(one for one in maps(viewer) if one is not questions)
    np.testing.assert_allclose(layer.data, expected, rtol=1e-4, atol=1e-6)


def test_every_instance_of_a_volume(viewer, at_work, network, volume, qtbot) -> None:
    inspector = at_work(volume, scale=STEPS)
    instances = np.zeros(SHAPE, int)
    instances[1:3, 2:6, 2:6], instances[3:6, 8:14, 9:18] = 1, 2
    labels = viewer.add_labels(instances, name="Cells", scale=STEPS)
    inspector.choose_labels(labels)
    inspector.ask_tool.ask_about_all()
    qtbot.waitUntil(lambda: not inspector.jobs.busy, timeout=30_000)
    found = labels.features.set_index("index")["Neuroscope class"]
    predicted = network.predict(volume).labels
    for label in (1, 2):
        counts = np.bincount(predicted[instances == label], minlength=3)
        assert found[label] == CLASSES[counts.argmax()]


def settle(widget: Any, qtbot: Any) -> None:
    qtbot.wait(250)
    qtbot.waitUntil(lambda: not getattr(widget, "busy", widget.jobs.busy), timeout=30_000)
    qtbot.wait(50)


def test_the_activation_browser_shows_the_plane_that_is_seen(
    viewer, at_work, dock, network, volume, qtbot
) -> None:
    at_work(volume, scale=STEPS)
    browser = dock("Activations")
    viewer.dims.set_current_step(0, 4)
    settle(browser, qtbot)
    assert len(browser.statistics) == 4
    browser.tiles_button.setChecked(True)
    settle(browser, qtbot)
    values = ns.explain(network, volume, "activation", layer="deep").values
    channel = int(browser.tiles.mosaic.names[0])
    top, left = browser.tiles.mosaic.corners[0]
    tile = browser.tiles.mosaic.values[top : top + 8, left : left + 10]
    expected = values[channel, 4] / np.abs(values[channel, 4]).max()
    np.testing.assert_allclose(tile, expected, rtol=1e-4, atol=1e-6)
    viewer.dims.set_current_step(0, 1)
    settle(browser, qtbot)
    tile = browser.tiles.mosaic.values[top : top + 8, left : left + 10]
    expected = values[channel, 1] / np.abs(values[channel, 1]).max()
    np.testing.assert_allclose(tile, expected, rtol=1e-4, atol=1e-6)
    browser.add([channel])
    settle(browser, qtbot)
    (layer,) = maps(viewer)
    np.testing.assert_allclose(layer.data[0], values[channel], rtol=1e-4, atol=1e-6)
    assert_over(layer, viewer.layers["Volume"])


def test_a_stack_of_layers_and_its_evolution(viewer, at_work, explained, dock, volume, qtbot):
    inspector = at_work(volume, scale=STEPS)
    cells = np.zeros(SHAPE, int)
    cells[2:5, 4:12, 3:9] = 1
    viewer.add_labels(cells, name="Cells", scale=STEPS)
    plot = dock("Evolution")
    inspector.choose_layers(["conv", "deep", "up"])
    explained(inspector)
    settle(plot, qtbot)
    (layer,) = maps(viewer)
    assert layer.data.shape == (3, *SHAPE)
    assert_over(layer, viewer.layers["Volume"])
    expected = Evolution.of(layer.data, ["conv", "deep", "up"], cells > 0)
    np.testing.assert_allclose(plot.evolution.share, expected.share, rtol=1e-5)
    viewer.dims.set_current_step(1, 4)
    plot.show_side_by_side()
    pictures = [one for one in viewer.layers if one.name.startswith("Side by side: image")]
    assert [one.ndim for one in pictures] == [2]
    tile = pictures[0].data[: -(-pictures[0].data.shape[0] // 3)]
    assert np.nanmin(tile) >= volume[4].min() - 1e-6
    assert abs(np.nanmean(tile) - volume[4].mean()) < 0.05


def test_the_architecture_shows_maps_of_volumes(viewer, at_work, explained, dock, volume, qtbot):
    inspector = at_work(volume, scale=STEPS)
    graph = dock("Architecture")
    inspector.choose_layers(["conv", "deep"])
    explained(inspector)
    settle(graph, qtbot)
    assert inspector.session.explanation is not None
    assert set(graph.scene.pictures) == {"conv", "deep"}


class Blocks:
    """A lazy series of volumes that knows which were read, and what of ours held the window up."""

    def __init__(self, series: np.ndarray) -> None:
        self.read: set[int] = set()
        self.held_up: list[str] = []

        def load(block_info: Any = None) -> np.ndarray:
            at = block_info[None]["array-location"][0][0]
            self.read.add(at)
            if threading.current_thread() is threading.main_thread():
                ours = [one.line for one in traceback.extract_stack() if OURS in one.filename]
                self.held_up += ours[-1:]
            return series[at : at + 1]

        chunks = ((1,) * len(series), *((n,) for n in series.shape[1:]))
        self.data = da.map_blocks(load, chunks=chunks, dtype=series.dtype, meta=series[:0])


@pytest.mark.parametrize("kind", ["xarray", "multiscale"])  # both of dask
def test_of_a_lazy_series_only_the_volume_that_is_seen_is_read(
    kind: str, viewer, at_work, explained, dock, network, volume, qtbot, monkeypatch
) -> None:
    series = np.stack([volume * (n + 1) / 8 for n in range(7)])
    blocks, truth = Blocks(series), Blocks((series > 0.2).astype(np.int32))
    data: Any = blocks.data
    if kind == "xarray":
        data = xarray.DataArray(data, dims=("t", "z", "y", "x"))
    elif kind == "multiscale":
        data = [data, data[..., ::2, ::2]]
    labels = viewer.add_labels(truth.data, name="Truth", scale=(1, *STEPS))
    viewer.add_image(
        data, name="Volume", scale=(1, *STEPS), contrast_limits=(0, 1),
        multiscale=kind == "multiscale", rgb=False,
    )  # fmt: skip
    viewer.dims.set_current_step(0, 5)
    blocks.read.clear()
    truth.read.clear()
    # Blocks are then read by who asks for them.
    monkeypatch.setitem(dask.config.config, "scheduler", "synchronous")
    inspector = at_work(None)
    browser, _ = dock("Activations"), dock("Evolution")
    judge = dock("Evaluation")
    inspector.choose_labels(labels)
    inspector.choose_region("ground_truth")
    explained(inspector)
    expected = ns.explain(
        network, series[5], "grad_cam", ns.Target(1, series[5] > 0.2), "deep"
    ).values
    np.testing.assert_allclose(maps(viewer)[-1].data[0], expected, rtol=1e-4, atol=1e-6)
    inspector.ask_tool.ask_at((5.0, 6.0, 4.0, 5.0))
    inspector.ask_tool.ask_about_all()
    qtbot.waitUntil(lambda: not inspector.jobs.busy, timeout=30_000)
    for one in (browser, judge):
        settle(one, qtbot)
    assert len(browser.statistics) == 4
    assert blocks.read == {5}
    assert truth.read == {5}
    assert not blocks.held_up + truth.held_up


def test_maps_of_a_volume_are_judged(viewer, at_work, explained, dock, volume, qtbot) -> None:
    inspector = at_work(volume, scale=STEPS)
    explained(inspector)
    judge = dock("Evaluation")
    judge.choice.steps.setValue(4)
    judge.choice.stages.setValue(2)
    judge.choice.layer_list.choose(judge.choice.layer_list.values())
    for name, box in judge.choice.boxes.items():
        box.setChecked(name in ("deletion", "insertion", "sanity_check"))
    judge.measure()
    qtbot.waitUntil(lambda: not judge.busy, timeout=60_000)
    (row,) = judge.evaluation.evaluation().rows
    assert set(row.values) == {"deletion", "insertion", "sanity_check"}
    added: list[Any] = []
    for shown in ("deletion", "sanity_check"):
        before = set(viewer.layers)
        judge.results.buttons[shown].click()
        qtbot.waitUntil(lambda: not judge.busy, timeout=60_000)
        added += set(viewer.layers) - before
    pictures, randomised = added
    assert pictures.data.shape[1:] == (*SHAPE, 3)
    np.testing.assert_array_equal(pictures.scale[1:], STEPS)
    assert randomised.data.shape[1:] == (6, 8, 10)
    assert_over(randomised, viewer.layers["Volume"])


def test_volumes_of_several_channels(viewer, opened, explained, qtbot, rng) -> None:
    torch.manual_seed(2)
    model = Volume()
    model.conv = nn.Conv3d(2, 4, 3, padding=1)
    spec = {"task": "segmentation", "input": {"axes": "bczyx", "value_range": (0, 1)}}
    network = ns.wrap(model.eval(), spec, device="cpu")
    volume = rng.random((2, *SHAPE), dtype=np.float32)
    image = viewer.add_image(volume, name="Volume", scale=(1, *STEPS), rgb=False)
    inspector = opened(None, None)
    inspector.add_network(network)
    qtbot.waitUntil(inspector.ready, timeout=30_000)
    inspector.choose_layers(["deep"])
    inspector.choose_classes([1])
    explained(inspector)
    (layer,) = maps(viewer)
    expected = ns.explain(network, volume, "grad_cam", 1, "deep").values
    np.testing.assert_allclose(layer.data.reshape(expected.shape), expected, rtol=1e-4, atol=1e-6)
    assert_over(layer, image)

"""The inspector in a real viewer: what it asks, what it shows, and what it survives."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QTimer
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.explanation.colormaps import limits
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.session.network_catalog import DEMO_TITLES


def shown(viewer, method: str):
    return [layer for layer in viewer.layers if layer.metadata.get(KEY, {}).get("method") == method]


def last_notification() -> str:
    return notification_manager.records[-1].message


def test_the_dock_opens_from_the_manifest_and_says_what_is_missing(viewer, opened, qtbot) -> None:
    inspector = opened(sample=None, network=None)
    assert not inspector.form.explain_button.isEnabled()
    assert inspector.form.reason.text() == "Choose a network."
    inspector.choose_network(DEMO_TITLES["nuclei"])
    qtbot.waitUntil(lambda: not inspector.jobs.busy, timeout=30_000)
    assert "Choose an image layer" in inspector.form.reason.text()
    viewer.open_sample("napari-neuroscope", "nuclei")
    qtbot.waitUntil(inspector.ready, timeout=30_000)
    inspector.choose_layers([])
    assert inspector.form.reason.text() == "Choose at least one layer."
    inspector.choose_layers(["dec1"])
    inspector.choose_classes([])
    assert inspector.form.reason.text() == "Choose at least one class."
    assert not inspector.form.explain_button.isEnabled()
    inspector.choose_classes([1])
    assert inspector.form.explain_button.isEnabled()


def test_a_run_adds_the_map_over_the_image(viewer, opened, explained) -> None:
    inspector = opened()
    image = viewer.layers["Nuclei"]
    image.scale, image.translate = (0.5, 0.5), (10, 20)
    inspector.choose_layers(["enc3"])
    inspector.choose_classes([1])
    explained(inspector)
    (layer,) = shown(viewer, "grad_cam")
    assert layer.name == "nucleus · Grad-CAM · enc3"
    expected = ns.explain(ns.load("demo:nuclei"), image.data, "grad_cam", "nucleus", "enc3")
    np.testing.assert_allclose(layer.data, expected.values, rtol=1e-5, atol=1e-6)
    assert layer.scale == pytest.approx([2.0, 2.0])
    corner = layer.data_to_world((-0.5, -0.5))
    assert corner == pytest.approx(image.data_to_world((-0.5, -0.5)), abs=1e-9)


def test_several_layers_and_classes_make_a_stack_with_names(viewer, opened, explained) -> None:
    inspector = opened()
    inspector.choose_layers(["enc1", "enc4", "dec1"])
    inspector.choose_classes([1, 2])
    explained(inspector)
    (layer,) = shown(viewer, "grad_cam")
    assert layer.data.shape == (2, 3, 360, 360)
    assert viewer.dims.axis_labels[:2] == ("class", "layer")
    assert viewer.dims.current_step[:2] == (0, 2), "it starts at the first class and last layer"
    overlay = viewer.canvas.overlays.text
    assert overlay.text == "nucleus · Grad-CAM · dec1 · 16 × 360 × 360"
    viewer.dims.set_current_step(1, 0)
    assert overlay.text == "nucleus · Grad-CAM · enc1 · 16 × 360 × 360"
    assert layer.contrast_limits == pytest.approx(limits(layer.data[0, 0], signed=False))
    layer.contrast_limits = (0, 123.0)
    viewer.dims.set_current_step(1, 1)
    assert tuple(layer.contrast_limits) == (0, 123.0), "the user's own limits stay"


def test_another_class_updates_the_layer_in_place(viewer, opened, explained) -> None:
    inspector = opened()
    inspector.choose_layers(["dec1"])
    inspector.choose_classes([1])
    explained(inspector)
    (layer,) = shown(viewer, "grad_cam")
    first = layer.data.copy()
    layer.opacity, layer.colormap, layer.visible = 0.3, "viridis", False
    inspector.choose_classes([0])
    explained(inspector)
    (again,) = shown(viewer, "grad_cam")
    assert again.name == "background · Grad-CAM · dec1"
    assert not np.array_equal(again.data, first)
    assert (again.opacity, again.colormap.name) == (0.3, "viridis")
    assert again.visible, "what was asked for is seen"


def test_kept_maps_stay(viewer, opened, explained) -> None:
    inspector = opened()
    explained(inspector)
    inspector.form.keep_button.click()
    inspector.choose_classes([2])
    explained(inspector)
    assert len(shown(viewer, "grad_cam")) == 2


def test_live_updates_follow_the_choice(viewer, opened, qtbot) -> None:
    inspector = opened()
    inspector.form.live.setChecked(True)
    inspector.choose_layers(["enc2"])
    qtbot.waitUntil(lambda: len(shown(viewer, "grad_cam")) == 1, timeout=20_000)
    inspector.choose_layers(["dec2"])

    def follows() -> bool:
        return shown(viewer, "grad_cam")[0].metadata[KEY]["layers"] == ["dec2"]

    qtbot.waitUntil(follows, timeout=20_000)
    assert len(shown(viewer, "grad_cam")) == 1


@pytest.mark.parametrize("method", list(ns.methods))
def test_every_method_runs_from_the_dock(method: str, viewer, opened, explained) -> None:
    inspector = opened()
    inspector.choose_method(method)
    inspector.choose_layers(["dec1"])
    # Few passes are enough to see that they are made.
    for option, few in {
        "masks": 16,
        "steps": 4,
        "samples": 4,
        "window": 120,
        "stride": 120,
    }.items():
        if option in ns.methods[method].options:
            inspector.form.method.options[option].value = few
    if ns.Needs.ATTENTION in ns.methods[method].needs:
        # The network has none, and that is said.
        assert not inspector.ready()
        assert "needs attention" in inspector.form.reason.text()
        return
    assert inspector.ready(), inspector.form.reason.text()
    explained(inspector)
    assert shown(viewer, method)
    tip = inspector.form.method.box.toolTip()
    assert "When it misleads" in tip


def test_options_of_a_method_become_widgets(viewer, opened, explained) -> None:
    inspector = opened()
    inspector.choose_layers(["dec1"])
    inspector.form.method.options["relu"].value = False
    assert inspector.session.options == {"relu": False}
    explained(inspector)
    (layer,) = shown(viewer, "grad_cam")
    low, high = layer.contrast_limits
    assert low == pytest.approx(-high)


def test_classes_are_sorted_by_score_and_searched(viewer, opened) -> None:
    inspector = opened(sample="blood_cells", network="blood-cells")
    viewer.dims.set_current_step(0, 8)
    classes = [inspector.form.classes.rows.item(i).text() for i in range(3)]
    shares = [float(text.split()[-2].rstrip("%")) for text in classes]
    assert shares == sorted(shares, reverse=True)
    inspector.form.layers.search.setText("stage4")
    assert inspector.form.layers.values()
    assert all("stage4" in name for name in inspector.form.layers.values())


def test_a_stack_of_images_is_explained_plane_by_plane(viewer, opened, explained) -> None:
    inspector = opened(sample="blood_cells", network="blood-cells")
    stack = viewer.layers["Blood cells"]
    viewer.dims.set_current_step(0, 7)
    inspector.choose_layers(["stage4"])
    inspector.choose_classes([1])
    explained(inspector)
    (layer,) = shown(viewer, "grad_cam")
    expected = ns.explain(ns.load("demo:blood-cells"), stack.data[7], "grad_cam", 1, "stage4")
    np.testing.assert_allclose(layer.data[0], expected.values, rtol=1e-4, atol=1e-6)
    assert layer.data_to_world((0, -0.5, -0.5)) == pytest.approx((7, -0.5, -0.5))


class Slow(nn.Module):
    """Takes some seconds, in many small steps, and counts them."""

    def __init__(self, steps: int = 300, seconds: float = 0.02) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 2, 1)
        self.parts = nn.ModuleList(nn.Conv2d(2, 2, 1) for _ in range(steps))
        self.seconds, self.done, self.slow = seconds, 0, False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for part in self.parts:
            x = part(x)
            if self.slow:
                self.done += 1
                time.sleep(self.seconds)
        return x


def slow_network() -> tuple[Slow, ns.Network]:
    model = Slow()
    spec = {"task": "segmentation", "classes": ["a", "b"]}
    return model, ns.wrap(model, spec, name="slow", device="cpu")


def test_cancel_stops_the_work_and_leaves_all_usable(viewer, opened, explained, qtbot) -> None:
    inspector = opened(network=None)
    model, network = slow_network()
    inspector.add_network(network)
    qtbot.waitUntil(inspector.ready, timeout=30_000)
    network.traces.clear()
    model.slow = True
    before = len(viewer.layers)
    inspector.explain()
    qtbot.waitUntil(lambda: model.done > 5, timeout=10_000)
    assert inspector.form.cancel_button.isEnabled()
    assert inspector.form.progress.maximum() > 0
    inspector.form.cancel_button.click()
    assert not inspector.jobs.busy
    qtbot.wait(200)
    done = model.done
    qtbot.wait(200)
    assert model.done == done < 300, "the work itself has stopped"
    assert len(viewer.layers) == before
    assert not [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks]
    model.slow = False
    explained(inspector)
    assert shown(viewer, "grad_cam")


def test_the_window_answers_while_it_computes(viewer, opened, qtbot) -> None:
    inspector = opened(network=None)
    model, network = slow_network()
    inspector.add_network(network)
    qtbot.waitUntil(inspector.ready, timeout=30_000)
    network.traces.clear()
    model.slow = True
    ticks = []
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(1))
    timer.start(5)
    inspector.explain()
    qtbot.waitUntil(lambda: model.done > 50, timeout=20_000)
    timer.stop()
    inspector.cancel()
    # A thousand milliseconds of work: a window that waited for it would not have ticked at all.
    assert len(ticks) > 20


def test_the_latest_question_wins(viewer, opened, qtbot) -> None:
    inspector = opened()
    inspector.choose_layers(["dec1"])
    for index in (0, 1, 2):
        inspector.choose_classes([index])
        inspector.explain()
    qtbot.waitUntil(lambda: not inspector.jobs.busy, timeout=30_000)
    (layer,) = shown(viewer, "grad_cam")
    assert layer.metadata[KEY]["targets"][0]["class"] == "border"


def test_closing_the_dock_while_computing_is_clean(viewer, opened, qtbot) -> None:
    inspector = opened(network=None)
    model, network = slow_network()
    inspector.add_network(network)
    qtbot.waitUntil(inspector.ready, timeout=30_000)
    network.traces.clear()
    model.slow = True
    inspector.explain()
    qtbot.waitUntil(lambda: model.done > 2, timeout=10_000)
    viewer.window.remove_dock_widget("all")
    inspector.close_work()
    assert not [t for t in threading.enumerate() if t.name == "neuroscope compute"]
    assert model.done < 300
    viewer.dims.set_current_step(0, 0)
    viewer.layers.clear()


def test_closing_the_viewer_while_computing_is_clean(make_napari_viewer, qtbot) -> None:
    viewer = make_napari_viewer()
    viewer.open_sample("napari-neuroscope", "nuclei")
    _, inspector = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
    model, network = slow_network()
    inspector.add_network(network)
    qtbot.waitUntil(inspector.ready, timeout=30_000)
    network.traces.clear()
    model.slow = True
    inspector.explain()
    qtbot.waitUntil(lambda: model.done > 2, timeout=10_000)
    viewer.close()
    del inspector

    def ended() -> bool:
        return not [t for t in threading.enumerate() if t.name == "neuroscope compute"]

    qtbot.waitUntil(ended, timeout=10_000)
    assert model.done < 300


def test_a_removed_image_is_no_mishap(viewer, opened, qtbot) -> None:
    inspector = opened()
    inspector.explain()
    viewer.layers.remove("Nuclei")
    qtbot.waitUntil(lambda: not inspector.jobs.busy, timeout=30_000)
    assert not shown(viewer, "grad_cam")
    assert "Choose an image" in inspector.form.reason.text()


def test_a_removed_map_is_made_anew(viewer, opened, explained) -> None:
    inspector = opened()
    explained(inspector)
    viewer.layers.remove(shown(viewer, "grad_cam")[0])
    explained(inspector)
    assert len(shown(viewer, "grad_cam")) == 1


class Raises(nn.Module):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.conv, self.error, self.broken = nn.Conv2d(3, 2, 3), error, False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.broken:
            raise self.error
        return self.conv(x)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ValueError("the weights are on strike"), "ValueError: the weights are on strike"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has"),
            "out of memory",
        ),
    ],
)
def test_a_network_that_raises_is_a_sentence_and_no_loss(
    error: Exception, says: str, viewer, opened, explained, qtbot
) -> None:
    inspector = opened(network=None)
    model = Raises(error)
    network = ns.wrap(model, {"task": "segmentation"}, name="raises", device="cpu")
    inspector.add_network(network)
    qtbot.waitUntil(inspector.ready, timeout=30_000)
    explained(inspector)
    before = [layer.name for layer in viewer.layers]
    network.traces.clear()
    model.broken = True
    explained(inspector)
    assert says in last_notification()
    assert "Traceback" not in last_notification()
    assert [layer.name for layer in viewer.layers] == before
    model.broken = False
    explained(inspector)
    assert inspector.ready()


def test_an_image_that_does_not_fit_is_said_and_another_chosen(viewer, opened, qtbot) -> None:
    viewer.add_image(np.full((64, 64), np.nan), name="nothing")
    inspector = opened(sample=None, network=None)
    inspector.choose_network(DEMO_TITLES["nuclei"])
    qtbot.waitUntil(lambda: not inspector.jobs.busy, timeout=30_000)
    assert "no finite value" in inspector.form.reason.text()
    assert "no finite value" in last_notification()
    assert not inspector.form.explain_button.isEnabled()
    viewer.add_image(np.random.default_rng(0).random((64, 64)), name="something")
    inspector.form.image.setCurrentText("something")
    qtbot.waitUntil(inspector.ready, timeout=30_000)


def test_networks_of_the_console_are_offered_once(viewer, opened, qtbot) -> None:
    inspector = opened(network=None)
    network = ns.wrap(nn.Conv2d(3, 2, 3), {"task": "segmentation"}, name="mine", device="cpu")
    other = ns.wrap(nn.Conv2d(3, 4, 3), {"task": "segmentation"}, name="mine", device="cpu")
    for one in (network, network, other):
        inspector.add_network(one)
    qtbot.waitUntil(inspector.ready, timeout=30_000)
    assert list(inspector.session.networks)[-2:] == ["mine", "mine 2"]
    assert inspector.session.network is other


def test_preferences_reach_the_network(viewer, opened, monkeypatch) -> None:
    from napari_neuroscope.session import settings

    monkeypatch.setattr(settings, "configured", lambda: settings.Settings("cpu", 12345))
    inspector = opened()
    assert inspector.session.network.traces.limit == 12345

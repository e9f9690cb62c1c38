"""Maps of many passes refine where they are shown, and say how far they are until they are done."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from qtpy.QtCore import QTimer
from torch import nn

import napari_neuroscope as ns
from gated import PATIENCE_MS, GatedBench, reached
from napari_neuroscope.engine.explain import maps as explaining
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.record import Record, Unfinished
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.results.save import save
from napari_neuroscope.viewer.layers.maps.layer_manager import LayerManager
from napari_neuroscope.viewer.state.layer_origin import explained_by
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs
from napari_neuroscope.widgets.parts.jobs.long_work import TimeLeft, duration

SPEC = {"task": "segmentation", "classes": ["sky", "car", "road"], "input": {"channels": 1}}
OPTIONS = {"masks": 12, "cells": 3, "batch": 2, "seed": 5}


class Gated(nn.Module):
    """A segmenter that lets batches through one by one, as it is allowed to."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Conv2d(1, 3, 3, padding=1)
        self.shut = False
        self.allowed = threading.Semaphore(0)
        self.begun = self.let_through = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.shut and len(x) > 1:
            self.begun += 1
            assert self.allowed.acquire(timeout=30), "no test lets the batch through"
        return self.head(x)

    def let(self, batches: int) -> None:
        """Let so many batches through in all."""
        self.allowed.release(batches - self.let_through)
        self.let_through = batches

    def open(self) -> None:
        """Let all through from now on."""
        self.shut = False
        self.allowed.release(100)


class Bench(GatedBench):
    """An inspector on an image, with RISE chosen and the network shut."""

    def reach(self, done: int):
        """Have as many masks asked, and wait until their map is shown; return its layer."""
        self.model.let(done // OPTIONS["batch"])
        return self.shown(done)

    def expected(self, target: int = 1, **options) -> np.ndarray:
        return ns.explain(
            self.network, self.image.data, "rise", target, **{**OPTIONS, **options}
        ).values


@pytest.fixture
def bench(viewer, qtbot, monkeypatch) -> Iterator[Bench]:
    monkeypatch.setattr(explaining, "_OFFER_EVERY_S", (0.0, 0.0))
    viewer.add_image(np.random.default_rng(0).random((16, 24)).astype(np.float32), name="photo")
    _, inspector = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
    inspector.choose_method("grad_cam")
    model = Gated()
    inspector.add_network(ns.wrap(model, SPEC, name="gated", device="cpu"))
    qtbot.waitUntil(inspector.ready, timeout=PATIENCE_MS)
    inspector.choose_method("rise")
    inspector.choose_options(OPTIONS)
    inspector.choose_classes([1])
    assert inspector.session.options["batch"] == 2
    # Whether images of a batch see each other is asked once, and not when the network is shut.
    ns.explain(inspector.session.network, np.zeros((16, 24), np.float32), "rise", 0, masks=2)
    model.shut = True
    yield Bench(viewer, qtbot, inspector, model, "photo")
    model.open()
    inspector.close_work()
    assert not [t for t in threading.enumerate() if t.name == "neuroscope compute"]


def test_a_map_refines_in_its_layer_until_it_is_what_explain_gives(bench: Bench) -> None:
    bench.inspector.explain()
    layer = bench.reach(2)
    assert layer.name == "car · RISE (2 of 12)"
    first = np.array(layer.data)
    assert bench.reach(4) is layer
    assert layer.name == "car · RISE (4 of 12)"
    assert not np.array_equal(layer.data, first)
    assert bench.inspector.session.explanation is None, "not yet an answer"
    assert bench.viewer.canvas.overlays.text.text == ("car · RISE\nRISE: 4 of 12 passes so far")
    bench.finish()
    assert bench.maps() == [layer]
    assert layer.name == "car · RISE"
    assert "unfinished" not in layer.metadata[KEY]
    assert bench.viewer.canvas.overlays.text.text == "car · RISE"
    np.testing.assert_array_equal(layer.data, bench.expected())
    assert bench.inspector.session.explanation.unfinished == ""


def test_what_is_shown_so_far_is_the_map_of_so_many_masks(bench: Bench) -> None:
    bench.inspector.explain()
    shown = np.array(bench.reach(6).data)
    bench.finish()
    np.testing.assert_array_equal(shown, bench.expected(masks=6))


def test_the_window_answers_while_the_network_works(bench: Bench) -> None:
    bench.inspector.explain()
    bench.reach(2)
    answered: list[bool] = []
    QTimer.singleShot(0, lambda: answered.append(bench.inspector.jobs.busy))
    bench.wait(lambda: bool(answered))
    assert answered == [True]
    assert not bench.inspector.form.progress.isHidden()
    assert bench.inspector.form.cancel_button.isEnabled()


def test_a_cancelled_map_stays_and_says_how_far_it_came(bench: Bench, tmp_path) -> None:
    bench.inspector.explain()
    layer = bench.reach(4)
    kept = np.array(layer.data)
    bench.inspector.form.cancel_button.click()
    bench.model.open()
    bench.wait(lambda: bench.model.begun > 0 and not bench.inspector.jobs.busy)
    bench.qtbot.wait(100)
    assert bench.maps() == [layer]
    np.testing.assert_array_equal(layer.data, kept)
    assert layer.name == "car · RISE (4 of 12)"
    assert layer.metadata[KEY]["unfinished"] == {"done": 4, "total": 12}
    assert bench.inspector.message.text() == (
        "Stopped. What was found so far stays as “car · RISE (4 of 12)”."
    )
    assert bench.inspector.session.explanation is None
    explained = explained_by(layer)
    assert explained.explanation.unfinished == "4 of 12 passes"
    save(explained.explanation, bench.image.data, tmp_path / "map.npy")
    record = json.loads((tmp_path / "map.json").read_text("utf-8"))
    assert record["unfinished"] == {"done": 4, "total": 12}
    # Asked again, the same layer goes on.
    bench.inspector.explain()
    bench.wait(lambda: not bench.inspector.jobs.busy)
    assert bench.maps() == [layer]
    assert layer.name == "car · RISE"


def test_a_new_question_drops_what_the_old_one_found(bench: Bench) -> None:
    bench.inspector.explain()
    layer = bench.reach(2)
    told: list[str] = []
    layer.events.name.connect(lambda event: told.append(layer.name))
    bench.inspector.choose_classes([2])
    bench.inspector.explain()
    bench.finish()
    assert bench.maps() == [layer]
    assert told
    assert all("car" not in name or "out of date" in name for name in told), told
    np.testing.assert_array_equal(layer.data, bench.expected(2))


def test_removing_the_map_stops_it(bench: Bench) -> None:
    bench.inspector.explain()
    layer = bench.reach(2)
    bench.viewer.layers.remove(layer)
    assert not bench.inspector.jobs.busy
    assert bench.inspector.message.text() == "Stopped, since its map was removed."
    bench.model.open()
    bench.qtbot.wait(100)
    assert not bench.maps()


def test_removing_the_image_leaves_the_map_as_it_is(bench: Bench) -> None:
    bench.inspector.explain()
    layer = bench.reach(2)
    bench.viewer.layers.remove(bench.image)
    bench.model.open()
    bench.wait(lambda: not bench.inspector.jobs.busy)
    bench.qtbot.wait(50)
    assert bench.maps() == [layer]
    assert reached(layer) == 2


def test_closing_the_dock_leaves_the_map_as_it_is(bench: Bench) -> None:
    bench.inspector.explain()
    layer = bench.reach(2)
    bench.model.open()
    bench.inspector.close_work()
    bench.qtbot.wait(50)
    assert bench.maps() == [layer]
    assert reached(layer) > 0
    assert layer.name.endswith(" of 12)")


def test_a_kept_map_stays_while_another_goes_on(bench: Bench) -> None:
    bench.inspector.explain()
    kept = bench.reach(2)
    bench.inspector.form.keep_button.click()
    bench.reach(4)
    assert reached(kept) == 2
    bench.finish()
    finished = next(layer for layer in bench.maps() if layer is not kept)
    assert kept.name == "car · RISE (2 of 12) (kept)"
    np.testing.assert_array_equal(finished.data, bench.expected())


def test_how_it_looks_is_the_users(bench: Bench) -> None:
    bench.inspector.explain()
    layer = bench.reach(2)
    layer.opacity, layer.visible, layer.colormap = 0.3, False, "viridis"
    layer.contrast_limits = (-1.0, 12.5)
    bench.reach(4)
    bench.finish()
    assert (layer.opacity, layer.visible, layer.colormap.name) == (0.3, False, "viridis")
    assert tuple(layer.contrast_limits) == (-1.0, 12.5)


def limits_while_refining(viewer, maxima: list[float], last: float) -> list[tuple[float, float]]:
    """Show maps of these maxima as they refine, then the finished one; return each contrast."""
    layer_manager, found = LayerManager(viewer), []
    grid = Grid.of_image((2, 2))
    for number, most in enumerate([*maxima, last]):
        unfinished = None if number == len(maxima) else Unfinished(number, 99)
        made = Explanation(
            values=np.array([[0, 0], [0, most]], np.float32), axes=("y", "x"), labels={},
            grid=grid, image=grid, signed=most < 0, unit="",
            record=Record(method="rise", title="RISE", unfinished=unfinished),
        )  # fmt: skip
        (layer,) = layer_manager.show(made.to_layer_data(), ("a", "map"))
        found.append(tuple(layer.contrast_limits))
    assert len(viewer.layers) == 1
    layer_manager.close()
    return found


def test_contrast_is_steady_while_a_map_refines_and_fits_at_the_end(viewer) -> None:
    found = limits_while_refining(viewer, [10, 9, 10.4, 7, 11, 10.5, 5], 9.5)
    most = [10, 10, 10, 10, 11, 11, 5, 9.5]
    np.testing.assert_allclose(found, [(0, one) for one in most])


def test_a_map_that_turns_signed_stays_in_its_layer_in_other_colours(viewer) -> None:
    assert limits_while_refining(viewer, [4, -4], -4) == [(0, 4), (-4, 4), (-4, 4)]
    assert viewer.layers[0].colormap.name == "neuroscope signed"


def test_classes_refine_together(bench: Bench) -> None:
    bench.inspector.choose_classes([1, 2])
    bench.inspector.explain()
    layer = bench.reach(2)
    assert layer.data.shape == (2, 16, 24)
    assert layer.name == "2 classes · RISE (2 of 12)"
    bench.finish()
    assert bench.maps() == [layer]
    expected = [bench.expected(index) for index in bench.inspector.session.classes]
    np.testing.assert_array_equal(layer.data, np.stack(expected))


def test_a_click_is_answered_bit_by_bit(bench: Bench) -> None:
    bench.inspector.ask_tool.ask_at((5.0, 7.0))
    bench.wait(lambda: bench.model.begun == 1)
    layer = bench.reach(2)
    assert len([one for one in bench.maps() if "questions" in one.metadata[KEY]]) == 0
    bench.finish()
    assert layer in bench.viewer.layers
    assert "unfinished" not in layer.metadata[KEY]
    assert bench.viewer.layers["Questions"].features["method"].tolist() == ["RISE"]


def test_long_maps_begin_when_they_are_asked_for(bench: Bench) -> None:
    inspector = bench.inspector
    bench.model.open()
    findings = inspector.session.network_summary
    slow = type(findings.pace)(10.0, findings.pace.shape, 2)
    object.__setattr__(findings, "pace", slow)
    inspector.form.live.setChecked(True)
    inspector.choose_classes([2])
    bench.qtbot.wait(50)
    assert not bench.maps(), "not at each choice"
    assert inspector.form.cost_note.text() == (
        "12 passes through the network: about 2 min. It begins with Explain, not as you choose."
    )
    inspector.explain()
    bench.wait(lambda: not inspector.jobs.busy and bool(bench.maps()))
    inspector.choose_method("saliency")
    bench.wait(lambda: [x.metadata[KEY]["method"] for x in bench.maps()] == ["saliency"])
    assert inspector.form.cost_note.isHidden(), "what takes one pass follows the choice"


def test_a_choice_does_not_stop_a_long_map(bench: Bench) -> None:
    inspector = bench.inspector
    findings = inspector.session.network_summary
    object.__setattr__(findings, "pace", type(findings.pace)(10.0, findings.pace.shape, 2))
    inspector.form.live.setChecked(True)
    inspector.explain()
    layer = bench.reach(2)
    inspector.choose_classes([2])
    bench.finish()
    assert layer.name == "car · RISE (out of date)"
    np.testing.assert_array_equal(layer.data, bench.expected(1))


def test_the_cost_is_told_before(bench: Bench) -> None:
    inspector = bench.inspector
    assert not inspector.form.cost_note.text(), "few passes are soon over"
    inspector.choose_options({"masks": 2000})
    assert inspector.form.cost_note.text().startswith("2,000 passes through the network: ")
    inspector.choose_method("grad_cam")
    assert not inspector.form.cost_note.text()


def test_batches_that_are_soon_over_are_suggested_and_the_users_stays(bench: Bench) -> None:
    inspector, findings = bench.inspector, bench.inspector.session.network_summary
    object.__setattr__(findings, "pace", type(findings.pace)(0.1, findings.pace.shape, 4))
    inspector.choose_method("occlusion")
    assert inspector.session.options["batch"] == 4
    inspector.choose_options({"batch": 3})
    inspector.session.events.network_summary.emit(findings, None)
    assert inspector.session.options["batch"] == 3


def test_offers_that_wait_are_dropped_for_the_last(qtbot) -> None:
    jobs, offered, going = Jobs(), threading.Event(), threading.Event()
    seen: list[object] = []

    def work(report) -> str:
        for value in (1, 2, 3):
            report.offer(value)
        offered.set()
        assert going.wait(20)
        return "end"

    jobs.submit("offers", work, seen.append, lambda error: None, seen.append)
    # No event is handled meanwhile, as where the window is busy.
    assert offered.wait(20)
    going.set()
    qtbot.waitUntil(lambda: "end" in seen, timeout=PATIENCE_MS)
    qtbot.wait(20)
    assert seen == [3, "end"]
    jobs.close()


def test_offers_end_with_the_job(qtbot) -> None:
    jobs, offered, going, ended = Jobs(), threading.Event(), threading.Event(), threading.Event()
    seen: list[object] = []

    def work(report) -> None:
        report.offer("before")
        offered.set()
        assert going.wait(20)
        try:
            report.offer("after")
        finally:
            ended.set()

    jobs.submit("offers", work, seen.append, seen.append, seen.append)
    assert offered.wait(20)
    jobs.cancel()
    going.set()
    assert ended.wait(20)
    qtbot.wait(50)
    assert seen == []
    jobs.close()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "a moment"),
        (7.2, "about 7 s"),
        (33, "about 35 s"),
        (58, "about 1 min"),
        (185, "about 3 min"),
        (3590, "about 1.0 h"),
        (9000, "about 2.5 h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_time_left_is_told_from_the_pace(monkeypatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(
        "napari_neuroscope.widgets.parts.jobs.long_work.time.monotonic", lambda: clock[0]
    )
    left = TimeLeft()
    assert left(10, 110, "RISE") == ""
    clock[0] += 0.5
    assert left(20, 110, "RISE") == "", "too early to tell"
    clock[0] += 9.5
    assert left(60, 110, "RISE") == "about 10 s", "50 took 10 s, 50 are left"
    assert left(1, 5, "Occlusion") == "", "other work has another pace"
    assert left(0, 0, "Looking") == ""

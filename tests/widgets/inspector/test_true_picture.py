"""At every rest what is seen is what the dock says, or is marked; one explanation is seen at a time."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.explanation.overlays.registry import is_map
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.engine.methods.interface import Needs
from napari_neuroscope.viewer.image.camera import camera_of
from napari_neuroscope.viewer.layers.maps.stack_follower import text_overlay

SPEC = {
    "task": "segmentation",
    "classes": ["sky", "car", "road"],
    "image_axes": "yx",
    "input": {"value_range": (0, 1)},
}
METHODS = ("grad_cam", "hires_cam", "saliency", "score_map", "guided_segmented_score_map")
LAYERS = ("first", "down", "up")
MARKED = " (out of date)"


class Small(nn.Module):
    """A segmenter whose second layer halves the image."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.up = nn.Upsample(scale_factor=2)
        self.head = nn.Conv2d(4, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.up(torch.relu(self.down(torch.relu(self.first(x))))))


@pytest.fixture
def dock(viewer, opened, qtbot) -> Any:
    """Two networks, a stack and an image in the window of a small screen, each layer seen alone."""
    random_state = np.random.default_rng(0)
    viewer.add_image(random_state.random((3, 24, 32), np.float32), name="stack")
    viewer.add_image(random_state.random((24, 32), np.float32), name="flat")
    inspector = opened(sample=None, network=None)
    for number in (0, 1):
        inspector.add_network(ns.wrap(Small(number), SPEC, name=f"net{number}", device="cpu"))
        qtbot.waitUntil(inspector.ready, timeout=30_000)
    return inspector


class Walker:
    """Chooses at random, rests, and looks at what is seen.

    Parameters
    ----------
    dock, viewer, qtbot
        The inspector, its window, and what waits for it.
    seed
        Of what is chosen.
    """

    def __init__(self, dock: Any, viewer: Any, qtbot: Any, seed: int) -> None:
        self.dock, self.viewer, self.qtbot = dock, viewer, qtbot
        self.random = random.Random(seed)
        self.other_docks: list[Any] = []
        self.done: list[str] = []

    def step(self) -> None:
        """Do one thing that a hand can do."""
        choose = self.random.choice(
            (self.method, self.layers, self.classes, self.explain, self.explain, self.slider,
             self.image, self.network, self.region, self.live, self.keep, self.theme,
             self.paint_image, self.open_or_close, self.hide)
        )  # fmt: skip
        self.done.append(choose.__name__)
        choose()

    def method(self) -> None:
        self.dock.choose_method(self.random.choice(METHODS))

    def layers(self) -> None:
        self.dock.choose_layers(self.random.sample(LAYERS, self.random.choice((1, 1, 2))))

    def classes(self) -> None:
        self.dock.choose_classes(self.random.sample(range(3), self.random.choice((1, 1, 2))))

    def explain(self) -> None:
        if self.dock.ready():
            self.dock.form.explain_button.click()

    def slider(self) -> None:
        self.viewer.dims.set_current_step(self.viewer.dims.ndim - 3, self.random.randrange(3))

    def image(self) -> None:
        self.dock.form.image.choose(self.viewer.layers[self.random.choice(("stack", "flat"))])

    def network(self) -> None:
        self.dock.choose_network(f"net{self.random.randrange(2)}")

    def region(self) -> None:
        self.dock.choose_region(self.random.choice(("everywhere", "predicted")))

    def live(self) -> None:
        self.dock.form.live.toggle()

    def keep(self) -> None:
        self.dock.form.keep_button.click()

    def theme(self) -> None:
        self.viewer.theme = "light" if self.viewer.theme == "dark" else "dark"

    def paint_image(self) -> None:
        """Put another image into the same layer, as the list of images does."""
        layer = self.viewer.layers["flat"]
        layer.data = np.random.default_rng(self.random.randrange(99)).random((24, 32), np.float32)
        if self.dock.image_layer() == layer:
            self.dock.session.show_layer(layer)

    def open_or_close(self) -> None:
        if self.other_docks:
            dock = self.other_docks.pop()
            dock.close_work()
            self.viewer.window.remove_dock_widget(dock)
            return
        title = self.random.choice(("Architecture", "Evolution", "Confusion matrix"))
        _, dock = self.viewer.window.add_plugin_dock_widget("napari-neuroscope", title, tabify=True)
        self.other_docks.append(getattr(dock, "__wrapped__", dock))

    def hide(self) -> None:
        for layer in self.maps():
            layer.visible = False

    def rest(self) -> None:
        """Wait until nothing is computed and nothing is about to be."""
        self.qtbot.wait(30)
        self.qtbot.waitUntil(lambda: not self.dock.jobs.busy, timeout=30_000)
        if self.dock.session.live and self.dock.ready():
            self.qtbot.wait(320)
            self.qtbot.waitUntil(lambda: not self.dock.jobs.busy, timeout=30_000)

    def maps(self) -> list[Any]:
        """Return the maps that are seen."""
        layers = [layer for layer in self.viewer.layers if is_map(layer.metadata)]
        return [layer for layer in layers if layer.visible]

    def look(self) -> int:
        """Look at what is seen; return how many maps were compared with code."""
        seen = self.maps()
        assert len(seen) <= 1, [layer.name for layer in seen]
        said = text_overlay(self.viewer).text
        outdated = [layer for layer in seen if layer.name.endswith(MARKED)]
        assert ("out of date" in said) == bool(outdated)
        if seen:
            button = self.dock.form.explain_button.text()
            assert button == ("Explain anew" if outdated else "Explain")
        for layer in seen:
            assert layer.metadata[KEY]["title"] in said
            if layer not in outdated and " (kept)" not in layer.name:
                self.compare(layer)
                return 1
        return 0

    def compare(self, layer: Any) -> None:
        """Compare a map with what code says of what the dock says."""
        session, network = self.dock.session, self.dock.session.network
        source = self.dock.image_layer()
        data = np.asarray(source.data)
        if data.ndim == 3:
            data = data[int(self.viewer.dims.current_step[self.viewer.dims.ndim - 3])]
        needs = session.chosen_method().needs_with(session.options)
        targets = session.targets(network, self.viewer)
        layers: Any = list(session.layers) if len(session.layers) > 1 else session.layers[0]
        said = ns.explain(
            network, data, session.method,
            list(targets) if len(targets) > 1 else targets[0],
            layers if Needs.LAYER in needs else None,
            **session.options,
        )  # fmt: skip
        assert layer.name.startswith(said.record.full_title)
        np.testing.assert_array_equal(
            np.asarray(layer.data).reshape(said.values.shape), said.values
        )


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_seen_is_what_the_dock_says_or_is_marked(seed, dock, viewer, qtbot) -> None:
    walker = Walker(dock, viewer, qtbot, seed)
    walker.explain()
    walker.rest()
    camera = camera_of(viewer)
    camera.zoom, camera.center = 7.5, (0.0, 11.0, 14.0)
    compared = 0
    for _ in range(36):
        walker.step()
        walker.rest()
        try:
            compared += walker.look()
            assert camera.zoom == pytest.approx(7.5)
            assert tuple(camera.center)[-2:] == pytest.approx((11.0, 14.0))
        except AssertionError as error:
            raise AssertionError(f"after {', '.join(walker.done)}: {error}") from error
    assert compared > 5


def test_going_back_to_the_choices_takes_the_mark_away(dock, viewer, explained) -> None:
    dock.choose_method("saliency")
    dock.choose_classes([1])
    explained(dock)
    (layer,) = [x for x in viewer.layers if is_map(x.metadata)]
    assert layer.name == "car · Saliency"
    answer = dock.message.text()
    dock.choose_classes([2])
    assert layer.name == f"car · Saliency{MARKED}"
    assert text_overlay(viewer).text == f"car · Saliency{MARKED}"
    assert dock.message.text().startswith("Out of date")
    dock.choose_classes([1])
    assert layer.name == "car · Saliency"
    assert text_overlay(viewer).text == "car · Saliency"
    assert dock.message.text() == answer


def test_a_kept_map_is_named_so_and_hidden_by_the_next(dock, viewer, explained) -> None:
    dock.choose_method("saliency")
    dock.choose_classes([1])
    explained(dock)
    dock.form.keep_button.click()
    assert "“car · Saliency (kept)”" in dock.message.text()
    dock.choose_classes([2])
    explained(dock)
    maps = {x.name: x.visible for x in viewer.layers if is_map(x.metadata)}
    assert maps == {"car · Saliency (kept)": False, "road · Saliency": True}


def test_the_shown_layer_stays_by_its_name(dock, viewer, explained) -> None:
    dock.choose_method("grad_cam")
    dock.choose_layers(["first", "down", "up"])
    explained(dock)
    assert "· up ·" in text_overlay(viewer).text, "at first the last one"
    (layer,) = [x for x in viewer.layers if is_map(x.metadata)]
    viewer.dims.set_current_step(0, 1)
    assert "· down ·" in text_overlay(viewer).text
    dock.choose_method("hires_cam")
    explained(dock)
    assert "HiResCAM · down ·" in text_overlay(viewer).text
    dock.choose_layers(["down", "up"])
    explained(dock)
    assert "HiResCAM · down ·" in text_overlay(viewer).text
    assert [x for x in viewer.layers if is_map(x.metadata)] == [layer], "it is shown in place"


def test_what_was_made_with_a_map_goes_with_it(dock, viewer, explained) -> None:
    dock.choose_method("guided_segmented_score_map")
    dock.choose_classes([1])
    explained(dock)
    count = len(viewer.layers)
    assert any(x.name.startswith("Order of car") for x in viewer.layers)
    explained(dock)
    assert len(viewer.layers) == count
    dock.choose_method("saliency")
    explained(dock)
    assert not any(x.name.startswith("Order of") for x in viewer.layers)

"""Live: what is shown follows each choice, and a storm of choices ends in the last of them."""

from __future__ import annotations

import gc
import random
import threading
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from qtpy.QtWidgets import QApplication
from torch import nn

import napari_neuroscope as ns
from napari_neuroscope.engine.explanation.record_format import KEY
from napari_neuroscope.widgets.inspector.inspector import Inspector

SPEC = {"task": "segmentation", "classes": ["sky", "car", "road"], "input": {"channels": 1}}
LAYERS = ("begin", "down", "head")
METHODS = ("grad_cam", "grad_cam_plus_plus", "saliency", "score_map")
CHOICES = 100


class Small(nn.Module):
    """A segmenter whose second layer halves the image; it counts its passes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.begin = nn.Conv2d(1, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.up = nn.Upsample(scale_factor=2)
        self.head = nn.Conv2d(4, 3, 1)
        self.passes = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        return self.head(self.up(torch.relu(self.down(torch.relu(self.begin(x))))))


def network() -> tuple[Small, ns.Network]:
    model = Small()
    return model, ns.wrap(model, SPEC, name="small", device="cpu")


def movie(seed: int, planes: int = 4) -> np.ndarray:
    """Return planes over time, or of a volume."""
    return np.random.default_rng(seed).random((planes, 16, 24)).astype(np.float32)


@pytest.fixture
def live(viewer, qtbot):
    """Open the inspector on two movies, with live on."""
    made: list[Inspector] = []

    def open_it(net: ns.Network) -> Inspector:
        viewer.add_image(movie(1), name="one")
        viewer.add_image(movie(2), name="two")
        marked = np.zeros((4, 16, 24), int)
        marked[:, 2:9, 3:15] = 1
        viewer.add_labels(marked, name="mine")
        viewer.dims.set_current_step(0, 0)
        _, inspector = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
        made.append(inspector)
        inspector.add_network(net)
        qtbot.waitUntil(inspector.ready, timeout=10_000)
        inspector.choose_layers(["begin"])
        inspector.form.live.setChecked(True)
        return inspector

    yield open_it
    for inspector in made:
        inspector.close_work()
    assert not [t for t in threading.enumerate() if t.name == "neuroscope compute"]


def maps_of(viewer) -> list:
    return [layer for layer in viewer.layers if KEY in layer.metadata]


def expected(viewer, inspector: Inspector, net: ns.Network) -> ns.Explanation:
    """Explain what is chosen now, without the dock."""
    session = inspector.session
    image = session.image.data[viewer.dims.current_step[-3]]
    region = session.region
    if not isinstance(region, str):
        region = np.asarray(region.layer.data[viewer.dims.current_step[-3]]) > 0
    elif region == "predicted":
        region = "predicted_or_everywhere"
    needs_layer = ns.Needs.LAYER in ns.methods[session.method].needs
    targets = [ns.Target(index, region, session.score) for index in session.classes]
    layers = list(session.layers)
    return ns.explain(
        net,
        np.array(image),
        session.method,
        targets if len(targets) > 1 else targets[0],
        (layers if len(layers) > 1 else layers[0]) if needs_layer else None,
        **session.options,
    )


def shown_is(viewer, inspector: Inspector, net: ns.Network) -> bool:
    """Whether the map of the chosen image and method is that of the present choice."""
    found = expected(viewer, inspector, net)
    return any(
        described(layer.metadata[KEY]) == described(found.provenance)
        and np.allclose(
            np.asarray(layer.data).reshape(found.values.shape), found.values, rtol=1e-4, atol=1e-6
        )
        for layer in maps_of(viewer)
    )


def described(made: dict) -> tuple:
    """Return what was asked; a region's words are left out, for its values say what it was."""
    targets = [(target["class"], target["score"]) for target in made["targets"]]
    return made["method"], made["options"], made["layers"], targets, made["image"]


def settled(inspector: Inspector, qtbot) -> None:
    """Wait until nothing is computed, and nothing put off has come for longer than the delay."""
    quiet = 0

    def at_rest() -> bool:
        nonlocal quiet
        quiet = 0 if inspector.jobs.busy else quiet + 1
        return quiet > 50

    qtbot.waitUntil(at_rest, timeout=30_000)


CHANGES: dict[str, Callable[[object, Inspector], object]] = {
    "layer": lambda viewer, dock: dock.choose_layers(["down"]),
    "layers": lambda viewer, dock: dock.choose_layers(["begin", "head"]),
    "class": lambda viewer, dock: dock.choose_classes([2]),
    "method": lambda viewer, dock: dock.choose_method("saliency"),
    "option": lambda viewer, dock: dock.choose_options({"relu": False}),
    "image": lambda viewer, dock: dock.form.image.setCurrentText("two"),
    "region": lambda viewer, dock: dock.choose_region("everywhere"),
    "score": lambda viewer, dock: setattr(dock.session, "score", "probability"),
    "slider": lambda viewer, dock: viewer.dims.set_current_step(viewer.dims.ndim - 3, 3),
}


@pytest.mark.parametrize("what", CHANGES)
def test_each_choice_updates_what_is_shown(what: str, viewer, live, qtbot) -> None:
    _, net = network()
    inspector = live(net)
    inspector.choose_classes([1])
    settled(inspector, qtbot)
    assert shown_is(viewer, inspector, net)
    CHANGES[what](viewer, inspector)
    settled(inspector, qtbot)
    assert inspector.ready(), inspector.form.reason.text()
    assert shown_is(viewer, inspector, net)


def test_another_layer_takes_no_pass(viewer, live, qtbot) -> None:
    model, net = network()
    inspector = live(net)
    settled(inspector, qtbot)
    passes = model.passes
    inspector.choose_layers(["down"])
    inspector.choose_classes([2])
    settled(inspector, qtbot)
    assert shown_is(viewer, inspector, net)
    assert model.passes == passes, "what is kept of the image served"


@pytest.mark.parametrize("seed", [0, 1])
def test_a_hundred_choices_in_a_row_end_in_the_last(seed: int, viewer, live, qtbot) -> None:
    _, net = network()
    inspector = live(net)
    settled(inspector, qtbot)
    chance = random.Random(seed)
    # All of these have positions, whichever class is chosen.
    regions = [
        "everywhere",
        "predicted",
        *(r for r in regions_of(inspector) if not isinstance(r, str)),
    ]

    def some(of: tuple) -> list:
        return sorted(chance.sample(of, chance.randint(1, len(of))), key=of.index)

    choices: dict[str, Callable[[], object]] = {
        "layer": lambda: inspector.choose_layers(some(LAYERS)),
        "class": lambda: inspector.choose_classes(some((0, 1, 2))),
        "method": lambda: inspector.choose_method(chance.choice(METHODS)),
        "option": lambda: inspector.choose_options({"relu": chance.random() < 0.5}),
        "image": lambda: inspector.form.image.setCurrentText(chance.choice(("one", "two"))),
        "region": lambda: inspector.choose_region(chance.choice(regions)),
        "slider": lambda: viewer.dims.set_current_step(viewer.dims.ndim - 3, chance.randrange(4)),
    }
    made = set()
    for _ in range(CHOICES):
        what = chance.choice(list(choices))
        made.add(what)
        choices[what]()
        if chance.random() < 0.3:
            QApplication.processEvents()
    assert made == set(choices)
    settled(inspector, qtbot)
    assert inspector.ready(), inspector.form.reason.text()
    assert shown_is(viewer, inspector, net)
    maps = maps_of(viewer)
    assert len(maps) <= 2 * len(METHODS), "one layer an image and method"
    assert not inspector.jobs.busy
    inspector.close_work()
    assert not [t for t in threading.enumerate() if t.name == "neuroscope compute"]


def regions_of(inspector: Inspector) -> list:
    box = inspector.form.target.region_box
    return [box.itemData(row) for row in range(box.count())]


def test_what_is_dropped_is_let_go(viewer, live, qtbot) -> None:
    model, net = network()
    inspector = live(net)
    settled(inspector, qtbot)
    for step in (1, 2, 3, 0):
        viewer.dims.set_current_step(viewer.dims.ndim - 3, step)
        inspector.choose_classes([step % 3])
        QApplication.processEvents()
    settled(inspector, qtbot)
    gone = [weakref.ref(thing) for thing in (model, net, inspector.session.explanation)]
    inspector.session.catalog.replace(net, network()[1])
    inspector.form.networks.box.setCurrentIndex(0)
    settled(inspector, qtbot)
    del model, net
    gc.collect()
    assert [ref() for ref in gone] == [None, None, None]

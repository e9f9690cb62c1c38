"""What all docks share: they follow until they are closed, or the window is."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import QWidget

from napari_neuroscope.session.session import Session
from napari_neuroscope.widgets.parts.dock import Dock

DOCKS = ["Neuroscope", "Model options", "Architecture", "Images", "Confusion matrix", "Evolution",
         "Activations", "Second network"]  # fmt: skip


class Counter(Dock):
    """Counts the calls of its method."""

    def __init__(self, viewer, session: Session) -> None:
        super().__init__(viewer, session)
        self.calls: list[str] = []
        self.soon = self.debounced(lambda: self.calls.append("soon"), 1)

    def count(self, *_: object) -> None:
        self.calls.append("now")


def test_a_dock_follows_until_it_is_closed(viewer, qtbot) -> None:
    dock = Counter(viewer, Session())
    qtbot.addWidget(dock)
    for _ in range(2):
        dock.follow(dock.session.events.score, dock.count)
        dock.follow(viewer.dims.events.current_step, dock.count)
    dock.session.score = "probability"
    assert dock.calls == ["now"], "following twice is following once"
    viewer.dims.events.current_step()
    assert dock.calls == ["now", "now"]
    steps: list[int] = []
    dock.at_end(lambda: steps.append(1))
    dock.at_end(lambda: steps.append(2))
    dock.soon()
    assert not dock.closed
    dock.close()
    dock.close_work()
    assert dock.closed
    assert steps == [2, 1], "the last first, and once"
    dock.session.score = "logit"
    viewer.dims.events.current_step()
    qtbot.wait(30)
    assert dock.calls == ["now", "now"]


def test_a_layer_that_is_followed_can_go(viewer) -> None:
    dock = Counter(viewer, Session())
    layer = Image(np.zeros((2, 2)))
    dock.follow(layer.events.name, dock.count)
    gone = weakref.ref(layer)
    del layer
    gc.collect()
    assert gone() is None
    dock.close_work()


@pytest.mark.parametrize("name", DOCKS)
def test_the_cross_of_a_dock_ends_its_work(name: str, viewer, qtbot) -> None:
    _, dock = viewer.window.add_plugin_dock_widget("napari-neuroscope", name)
    assert not dock.closed
    # napari takes the widget out of the dock, and deletes that alone.
    dock.parent().destroyOnClose()
    assert dock.closed
    _, again = viewer.window.add_plugin_dock_widget("napari-neuroscope", name)
    assert again is not dock
    assert not again.closed
    again.close_work()
    gone = weakref.ref(dock)
    del dock
    QCoreApplication.sendPostedEvents(None, int(QEvent.Type.DeferredDelete.value))
    qtbot.waitUntil(lambda: bool(gc.collect() >= 0) and gone() is None, timeout=30_000)


@pytest.mark.parametrize("name", DOCKS)
def test_a_closed_window_leaves_nothing_that_follows(name: str, make_napari_viewer, qtbot) -> None:
    viewer = make_napari_viewer()
    layer = viewer.add_image(np.arange(4.0).reshape(2, 2))
    _, dock = viewer.window.add_plugin_dock_widget("napari-neuroscope", name)
    ends: list[QWidget] = []
    dock.destroyed.connect(ends.append)
    session = dock.session
    viewer.close()
    qtbot.waitUntil(lambda: dock.closed, timeout=10_000)
    assert ends
    # Each of these called a method of a deleted widget, had it been followed still.
    session.layers, session.method, session.live = ("conv",), "saliency", True
    session.network_summary = session.explanation = session.scores = session.comparison = None
    session.networks = ()
    layer.name, layer.visible = "another", False
    viewer.dims.events.current_step()
    viewer.theme = "light"
    viewer.layers.clear()
    assert not [t for t in threading.enumerate() if t.name == "neuroscope compute"]

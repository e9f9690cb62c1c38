"""A viewer with the inspector, and ways to wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from napari_neuroscope.session.network_catalog import DEMO_TITLES
from napari_neuroscope.widgets.inspector.inspector import Inspector


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    return make_napari_viewer_proxy()


@pytest.fixture
def opened(viewer, qtbot) -> Iterator[Callable[..., Inspector]]:
    """Open the dock as the menu does, on a sample and a network."""
    made: list[Inspector] = []

    def open_dock(sample: str | None = "nuclei", network: str | None = "nuclei") -> Inspector:
        if sample:
            viewer.open_sample("napari-neuroscope", sample)
        _, inspector = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
        made.append(inspector)
        if network:
            inspector.choose_network(DEMO_TITLES[network])
            qtbot.waitUntil(inspector.ready, timeout=30_000)
        return inspector

    yield open_dock
    for inspector in made:
        inspector.close_work()
    # One that was left behind ends when its job does.
    qtbot.waitUntil(
        lambda: not [t for t in threading.enumerate() if t.name == "neuroscope compute"],
        timeout=30_000,
    )


@pytest.fixture
def explained(qtbot) -> Callable[[Inspector], None]:
    """Explain, and wait until the answer is shown."""

    def explain(inspector: Inspector) -> None:
        inspector.explain()
        qtbot.waitUntil(lambda: not inspector.jobs.busy, timeout=30_000)

    return explain

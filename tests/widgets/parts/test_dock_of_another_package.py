"""The open interface: a dock of another package follows what is chosen, as ours do.

The package is ``tests/example_dock``; here it is found by its manifest, as one that is installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from npe2 import PluginManager, PluginManifest

import napari_neuroscope as ns
from napari_neuroscope.session.network_catalog import DEMO_TITLES
from places import TESTS

PACKAGE = TESTS / "example_dock" / "layer_counter"


@pytest.fixture
def counter(viewer, opened, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(PACKAGE.parent)
    plugins = PluginManager.instance()
    # Each window of a test before this one still listens, and would add the same command again.
    with plugins.events.plugins_registered.blocked():
        plugins.register(PluginManifest.from_file(PACKAGE / "napari.yaml"))
    _, dock = viewer.window.add_plugin_dock_widget("layer-counter", "Layer count")
    yield getattr(dock, "__wrapped__", dock)
    dock.close_work()
    plugins.unregister("layer-counter")


def test_a_dock_of_another_package_follows_the_network(counter, opened, qtbot) -> None:
    assert "Choose a network" in counter.message.text()
    inspector = opened(sample=None, network=None)
    for name in ("nuclei", "blood-cells"):
        inspector.choose_network(DEMO_TITLES[name])
        said = f"{len(ns.load(f'demo:{name}').layers)} layers"
        qtbot.waitUntil(lambda said=said: counter.message.text() == said, timeout=30_000)
    counter.close_work()
    inspector.choose_network(DEMO_TITLES["nuclei"])
    qtbot.waitUntil(lambda: not inspector.jobs.busy, timeout=30_000)
    assert counter.message.text() == said

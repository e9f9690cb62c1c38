"""What packages offer is looked up by name, and what is wrong with another's is left out with a warning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine import plugin_catalogue
from napari_neuroscope.engine.plugin_catalogue import PluginCatalogue, load_entry_points


@dataclass
class Tool:
    name: str


def test_items_are_found_once_and_by_name() -> None:
    looks = []

    def find() -> Iterator[Tool]:
        looks.append(1)
        yield from (Tool("hammer"), Tool("saw"))

    tools = PluginCatalogue("tool", find)
    assert not looks
    assert list(tools) == ["hammer", "saw"]
    assert tools["saw"] == Tool("saw")
    assert "nail" not in tools
    assert tools.get("saw") == Tool("saw")
    assert tools.get("sow") is None
    assert len(looks) == 1
    with pytest.raises(ns.NeuroscopeError, match=r"There is no tool “sow”.*saw"):
        tools["sow"]
    tools.refresh()
    assert len(tools) == 2
    assert len(looks) == 2


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Any:
    def offered(*entries: tuple[str, str]) -> None:
        points = [EntryPoint(name, value, "tools") for name, value in entries]
        monkeypatch.setattr(plugin_catalogue, "entry_points", lambda group: points)

    return offered


def test_a_broken_package_stops_no_other(offer) -> None:
    offer(("b", "collections:OrderedDict"), ("a", "no_such_module:thing"))
    with pytest.warns(ns.NeuroscopeWarning, match="The tool “a” .* can't be used: No module"):
        assert len(list(load_entry_points("tools", "tool"))) == 1


def test_one_of_ours_lacks_its_extra_quietly_and_fails_aloud(offer) -> None:
    offer(("a", "napari_neuroscope.no_such_extra:thing"))
    assert not list(load_entry_points("tools", "tool"))
    offer(("a", "napari_neuroscope.engine.errors:no_such_name"))
    with pytest.raises(AttributeError):
        list(load_entry_points("tools", "tool"))


def test_a_broken_package_of_methods_leaves_the_others(offer) -> None:
    from napari_neuroscope.engine.methods.registry import methods

    offer(("a", "no_such_module:thing"))
    try:
        methods.refresh()
        with pytest.warns(ns.NeuroscopeWarning, match="The method “a” .* can't be used"):
            assert "grad_cam" in methods
    finally:
        methods.refresh()

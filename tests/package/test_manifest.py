"""The manifest: every command resolves, every menu exists."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from napari._app_model.constants import MenuId
from napari.layers import Layer
from npe2 import PluginManifest
from pydantic import ImportString, TypeAdapter

from places import ROOT

MANIFEST = PluginManifest.from_file(Path(str(files("napari_neuroscope"))) / "napari.yaml")
CONTRIBUTIONS = MANIFEST.contributions


def imported(python_name: str):
    return TypeAdapter(ImportString).validate_python(python_name)


@pytest.mark.parametrize("command", CONTRIBUTIONS.commands, ids=lambda command: command.id)
def test_commands_resolve(command) -> None:
    assert callable(imported(command.python_name))


def test_menus_exist_in_napari() -> None:
    declared = {submenu.id for submenu in CONTRIBUTIONS.submenus or []}
    known = {str(menu.value) for menu in MenuId.contributables()} | declared
    assert CONTRIBUTIONS.menus
    assert set(CONTRIBUTIONS.menus) <= known


def test_commands_are_used_and_uses_are_declared() -> None:
    declared = {command.id for command in CONTRIBUTIONS.commands}
    used = {widget.command for widget in CONTRIBUTIONS.widgets}
    used |= {reader.command for reader in CONTRIBUTIONS.readers}
    used |= {writer.command for writer in CONTRIBUTIONS.writers}
    used |= {sample.command for sample in CONTRIBUTIONS.sample_data}
    used |= {item.command for items in CONTRIBUTIONS.menus.values() for item in items}
    assert used == declared


def test_the_link_at_the_root_is_the_manifest() -> None:
    root = ROOT / "napari.yaml"
    assert root.is_symlink()
    assert root.resolve() == (Path(str(files("napari_neuroscope"))) / "napari.yaml").resolve()


@pytest.mark.parametrize("sample", CONTRIBUTIONS.sample_data, ids=lambda sample: sample.key)
def test_samples_open(sample) -> None:
    (command,) = [c for c in CONTRIBUTIONS.commands if c.id == sample.command]
    layers = imported(command.python_name)()
    made = [Layer.create(*layer) for layer in layers]
    assert made[0].data.size
    if len(made) > 1:
        assert made[0].data.shape == made[1].data.shape


def test_preferences_have_what_napari_needs() -> None:
    (section,) = CONTRIBUTIONS.configurations.values()
    assert set(section.properties) == {"device", "cache_size"}
    for entry in section.properties.values():
        assert entry.title
        assert entry.default is not None

"""What napari's list of layers offers where a map is clicked with the right button."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import napari
from app_model import Action
from app_model.expressions import Constant

from napari_neuroscope.engine.explanation.overlays.registry import is_map
from napari_neuroscope.viewer.state.viewer_state import state_of

Command = Callable[[Any], object]
"""Does something with the layer of a map."""

_MENU = "napari/layers/context"
_GROUP = "0_neuroscope"
_TITLES = {
    "explain": "Explain it anew",
    "save": "Save map…",
    "recipe": "Save recipe…",
    "card": "How it was made",
}


class MapCommands:
    """What can be done with the maps of a viewer, while an inspector is open."""

    def __init__(self) -> None:
        self._offers: list[Mapping[str, Command]] = []

    @classmethod
    def of(cls, viewer: Any) -> MapCommands:
        """Return those of a viewer."""
        return state_of(viewer, cls)

    def offer(self, **commands: Command) -> Mapping[str, Command]:
        """Offer commands by name, until they are withdrawn."""
        self._offers.append(commands)
        return commands

    def withdraw(self, commands: Mapping[str, Command]) -> None:
        """Offer what was offered no longer."""
        self._offers = [offered for offered in self._offers if offered is not commands]

    def find(self, name: str) -> Command | None:
        """Return what was offered first under a name; None where nothing is."""
        return next((offered[name] for offered in self._offers if name in offered), None)


class _MapSelection(Constant[bool]):
    """Whether a command is offered for the selected layer, asked when napari opens its menu."""

    def __init__(self, name: str) -> None:
        super().__init__(False)
        self.command_name = name

    def eval(self, context: Any = None, **names: Any) -> bool:
        return _selected(self.command_name) is not None


def _selected(name: str) -> tuple[Command, Any] | None:
    """Return a command and the map that it is for; None where there is none."""
    viewer = napari.current_viewer()
    layer = None if viewer is None else viewer.layers.selection.active
    if layer is None or not is_map(layer.metadata):
        return None
    command = MapCommands.of(viewer).find(name)
    return None if command is None else (command, layer)


def _run(name: str) -> None:
    if (selected := _selected(name)) is not None:
        command, layer = selected
        command(layer)


def add_to_napari() -> None:
    """Have napari's menu of a layer offer the commands; a second time changes nothing."""
    try:
        # napari has no public way to its own menus yet.
        from napari._app_model import get_app_model
    except ImportError:
        return
    app = get_app_model()
    if f"napari-neuroscope.map.{next(iter(_TITLES))}" in app.commands:
        return
    for order, (name, title) in enumerate(_TITLES.items()):
        rule: Any = {"id": _MENU, "group": _GROUP, "order": order, "when": _MapSelection(name)}
        app.register_action(
            Action(
                id=f"napari-neuroscope.map.{name}",
                title=title,
                # A default holds the name: it is another one each time round.
                callback=lambda name=name: _run(name),
                menus=[rule],
                palette=False,
            )
        )

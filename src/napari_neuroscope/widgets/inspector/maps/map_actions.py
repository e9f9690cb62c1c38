"""The buttons below an inspector's form that act on a map that is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QWidget

from napari_neuroscope.session.session import Session
from napari_neuroscope.widgets.inspector.maps.map_card import show_card
from napari_neuroscope.widgets.inspector.maps.map_menu import MapCommands, add_to_napari
from napari_neuroscope.widgets.inspector.maps.recipe_menu import RecipeMenu
from napari_neuroscope.widgets.inspector.maps.save_map import SaveMapButton
from napari_neuroscope.widgets.inspector.maps.show_table import ShowTableButton


class MapActions(QWidget):
    """Saves the selected map, shows its numbers, keeps and opens recipes; also from its layer.

    Parameters
    ----------
    viewer, session
        The inspector's.
    open_recipe
        Takes the file of a recipe that is to be made again.
    say, fail
        Show what was done, and what went wrong.

    Attributes
    ----------
    save, table, recipe
        The buttons.
    asked_anew
        What the layer of a map shows is to be explained again.
    """

    asked_anew = Signal(object)

    def __init__(
        self,
        viewer: Any,
        session: Session,
        open_recipe: Callable[[Path], None],
        say: Callable[[str], None],
        fail: Callable[[Exception], None],
    ) -> None:
        super().__init__()
        self.save = SaveMapButton(viewer, session, say, fail)
        self.table = ShowTableButton(viewer, session, fail)
        self.recipe = RecipeMenu(viewer, session, open_recipe, say, fail)
        self._commands = MapCommands.of(viewer)
        self._offered = self._commands.offer(
            explain=self.asked_anew.emit,
            save=lambda _: self.save.ask_where(),
            recipe=lambda _: self.recipe.ask_where(),
            card=lambda layer: show_card(self, layer),
        )
        add_to_napari()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for button in (self.save, self.table, self.recipe):
            layout.addWidget(button)

    def close_work(self) -> None:
        """Wait for what is being saved, and offer nothing any more."""
        self._commands.withdraw(self._offered)
        self.save.close_work()
        self.recipe.close_work()

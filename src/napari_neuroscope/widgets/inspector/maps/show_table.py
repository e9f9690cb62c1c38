"""The button that shows the numbers of a layer in napari's own table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtWidgets import QPushButton

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.session.session import Session

# What napari calls it, by the plugin that has it.
_PLACES = (("napari", "Features table widget"), ("napari", "Features table"))


def open_table(viewer: Any, layer: Any) -> None:
    """Select a layer, and show its features in napari's table.

    Raises
    ------
    NeuroscopeError
        Where this napari has no such table.
    """
    viewer.layers.selection.active = layer
    for plugin, name in _PLACES:
        try:
            dock, _ = viewer.window.add_plugin_dock_widget(plugin, name, tabify=True)
        except (KeyError, ValueError):
            continue
        dock.show()
        dock.raise_()
        return
    raise NeuroscopeError(
        f"This napari has no table of features; in Python, viewer.layers[{layer.name!r}].features "
        f"has the numbers."
    )


class ShowTableButton(QPushButton):
    """Shows the table of the selected layer, or else of the last layer that has one.

    Parameters
    ----------
    viewer, session
        The inspector's.
    fail
        Shows what went wrong.
    """

    def __init__(self, viewer: Any, session: Session, fail: Callable[[Exception], None]) -> None:
        super().__init__("Show table")
        self._viewer, self._session, self._fail = viewer, session, fail
        self.setToolTip(
            "Shows the numbers of the selected layer in napari's table: of instances, of clicks, of "
            "classes."
        )
        self.clicked.connect(self.open)

    def layer(self) -> Any:
        """Return the layer whose table is shown; None where none has numbers."""
        active = self._viewer.layers.selection.active
        first = [active, self._session.labels, *reversed(list(self._viewer.layers))]
        return next((layer for layer in first if _has_numbers(layer)), None)

    def open(self, *_: Any) -> None:
        """Show the table, or say why there is none."""
        layer = self.layer()
        try:
            if layer is None:
                raise NeuroscopeError(
                    "No layer has a table yet: “Ask about every instance” or “Ask by clicking” makes "
                    "one."
                )
            open_table(self._viewer, layer)
        except NeuroscopeError as error:
            self._fail(error)


def _has_numbers(layer: Any) -> bool:
    features = getattr(layer, "features", None)
    return features is not None and len(features) > 0 and len(features.columns) > 0

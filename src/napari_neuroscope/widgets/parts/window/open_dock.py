"""Opening a dock of the plugin from another, as its menu does."""

from __future__ import annotations

from typing import Any


def open_dock(viewer: Any, name: str) -> None:
    """Open the dock of a name, or bring it to the front where it is open."""
    dock, _ = viewer.window.add_plugin_dock_widget("napari-neuroscope", name, tabify=True)
    dock.raise_()

"""Recipes that are dropped on napari: opened in the inspector, which makes them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.recipe_document import SUFFIX

Read = Callable[..., list[tuple[None]]]


def recipe_reader(path: str | Sequence[str]) -> Read | None:
    """Return what opens recipes, for napari; None for other files."""
    paths = [path] if isinstance(path, str) else list(path)
    return read_recipe if all(name.endswith(SUFFIX) for name in paths) else None


def read_recipe(path: str | Sequence[str], **_: Any) -> list[tuple[None]]:
    """Open recipes in the dock “Neuroscope”, and return no layers: the maps come when made."""
    import napari
    from qtpy.QtCore import QTimer

    viewer = napari.current_viewer()
    if viewer is None:
        raise NeuroscopeError(
            "A recipe is made again in napari's window; without one, use Recipe.load(path).run(…) "
            "or napari-neuroscope run."
        )
    paths = [path] if isinstance(path, str) else list(path)
    if len(paths) > 1:
        raise NeuroscopeError("One recipe at a time is made again; open them one by one.")
    _, inspector = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
    # Images that are dropped with it are opened first.
    QTimer.singleShot(0, lambda: inspector.open_recipe(Path(paths[0])))
    return [(None,)]

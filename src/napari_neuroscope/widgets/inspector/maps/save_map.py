"""The button that saves a map with all that it is: recipe, scale, units and colours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.io.map_files import (
    WRITERS,
    map_with_companions,
    save_map,
    watch_saving,
    with_ending,
)
from napari_neuroscope.viewer.state.latest_explanation import chosen_map
from napari_neuroscope.widgets.parts.dialogs.question_box import agrees
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs
from napari_neuroscope.widgets.parts.jobs.work_thread import WorkThread
from napari_neuroscope.widgets.parts.labels import file_name
from napari_neuroscope.widgets.parts.notices import tell

_KINDS = {f"{words} (*{ending})": ending for ending, (words, _) in WRITERS.items()}


class SaveMapButton(QPushButton):
    """Saves the selected map, or the last one, with its label maps.

    Parameters
    ----------
    viewer, session
        The inspector's.
    say, fail
        Show what was done, and what went wrong.
    """

    def __init__(
        self,
        viewer: Any,
        session: Session,
        say: Callable[[str], None],
        fail: Callable[[Exception], None],
    ) -> None:
        super().__init__("Save map…")
        self._viewer, self._session = viewer, session
        self._say, self._fail = say, fail
        watch_saving(viewer, tell)
        # Large maps are written while others are computed.
        self._files = Jobs(WorkThread("neuroscope saving"))
        self.setToolTip(
            "Saves the selected map, or the last one: its values with their recipe, scale, units and "
            "colours, or a picture of it over its image."
        )
        self.clicked.connect(self.ask_where)

    def close_work(self) -> None:
        """Wait for what is being saved."""
        self._files.close()

    def ask_where(self, *_: Any) -> None:
        """Ask for a file, and save the map there."""
        try:
            layer = chosen_map(self._viewer, self._session.explanation)
            layers = map_with_companions(self._viewer, layer)
        except NeuroscopeError as error:
            self._fail(error)
            return
        name, kind = QFileDialog.getSaveFileName(
            self, "Save map", file_name(layer.name), ";;".join(_KINDS)
        )
        if not name:
            return
        path = with_ending(Path(name), _KINDS.get(kind, next(iter(WRITERS))))
        # The dialog has asked already whether to replace the file that it knows of.
        if str(path) != name and path.exists() and not self._may_replace(path):
            return
        title = layer.name
        self._files.submit(
            f"Saving “{title}”",
            lambda _: save_map(path, layers),
            lambda saved: self._say(f"“{title}” is saved as {saved}. Drop it on napari to see it."),
            self._fail,
        )

    def _may_replace(self, path: Path) -> bool:
        words = f"{path} is there already. Replace it?"
        return agrees(self, "Replace the map?", words, "Replace")

"""Asking where something is saved, and saving it there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QFileDialog, QWidget

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.widgets.parts.notices import tell_error


def ask_and_save(
    parent: QWidget,
    title: str,
    name: str,
    kinds: str,
    save: Callable[[Path], Any],
    failed: Callable[[NeuroscopeError], Any] = lambda error: tell_error(str(error)),
) -> None:
    """Ask for a file and have it written; the dialog has asked whether one that is there may go.

    Parameters
    ----------
    parent
        The window's part that asks.
    title
        The dialog's title.
    name
        What the file is called unless the user says otherwise.
    kinds
        The kinds of file that are offered, as Qt takes them.
    save
        Writes the file, over one of the same name.
    failed
        Is told why it can't be written; a notification tells it if not given.
    """
    path, _ = QFileDialog.getSaveFileName(parent, title, name, kinds)
    if not path:
        return
    try:
        save(Path(path))
    except NeuroscopeError as error:
        failed(error)

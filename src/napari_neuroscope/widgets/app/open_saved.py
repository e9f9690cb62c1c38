"""Saved explanations of any name, opened from the menu."""

from __future__ import annotations

from qtpy.QtWidgets import QFileDialog

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.viewer.io.readers import read
from napari_neuroscope.viewer.layers.plain_names import named

# Folders are dropped on the window.
_KINDS = "Saved explanations (*.tif *.tiff *.npy)"


def open_saved() -> None:
    """Ask for saved explanations, and show them as the overlays that they were.

    Raises
    ------
    NeuroscopeError
        Where a file holds none.
    """
    import napari

    viewer = napari.current_viewer()
    if viewer is None:
        raise NeuroscopeError("There is no window to open an explanation in; open napari first.")
    names, _ = QFileDialog.getOpenFileNames(None, "Open saved explanations", "", _KINDS)
    for name in names:
        for array, attributes, kind in read(name):
            getattr(viewer, f"add_{kind}")(array, **named(attributes))

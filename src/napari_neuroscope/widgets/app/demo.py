"""The demo: a real image, its prediction and ground truth, and Grad-CAM through the layers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.session.network_catalog import DEMO_TITLES
from napari_neuroscope.viewer.io.samples import nuclei
from napari_neuroscope.widgets.inspector.inspector import Inspector

LAYERS = ("enc1", "enc2", "enc3", "enc4", "dec3", "dec2", "dec1")


def build_demo(viewer: napari.Viewer, *, patience: float = 120.0) -> Inspector:
    """Fill a viewer with the demo, and return its inspector, ready to play with."""
    for array, attributes, kind in nuclei():
        getattr(viewer, f"add_{kind}")(array, **attributes)
    inspector: Inspector
    _, inspector = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
    inspector.choose_network(DEMO_TITLES["nuclei"])
    wait_for(inspector.ready, patience)
    inspector.show_prediction()
    wait_for(lambda: not inspector.form.prediction_button.jobs.busy, patience)
    inspector.choose_layers(LAYERS)
    # What speaks for the nuclei where they are found, not where they are not.
    inspector.choose_region("predicted")
    inspector.explain()
    wait_for(lambda: not inspector.jobs.busy, patience)
    viewer.layers["Nuclei, ground truth"].contour = 2
    viewer.layers["Nuclei, ground truth"].visible = True
    stack = viewer.layers[-1]
    viewer.layers.selection.active = stack
    viewer.dims.axis_labels = (*viewer.dims.axis_labels[:-2], "y", "x")
    viewer.reset_view()
    return inspector


def run_demo(screenshot: Path | None = None) -> None:
    """Open napari with the demo; with `screenshot`, save a picture of the window and close it."""
    viewer = napari.Viewer(title="napari · Neuroscope demo", show=True)
    viewer.window.resize(1480, 940)
    build_demo(viewer)
    if screenshot is None:
        napari.run()
        return
    settle()
    viewer.screenshot(str(screenshot), canvas_only=False, flash=False)
    viewer.close()


def wait_for(ready: Callable[[], bool], patience: float) -> None:
    """Let the window live until something is ready.

    Raises
    ------
    NeuroscopeError
        Where it is not within `patience` seconds.
    """
    end = time.monotonic() + patience
    while not ready():
        if time.monotonic() > end:
            raise NeuroscopeError(f"The demo was not ready after {patience:.0f} seconds.")
        QApplication.processEvents()
        time.sleep(0.01)


def settle(seconds: float = 1.0) -> None:
    """Let the window draw what it has to."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)

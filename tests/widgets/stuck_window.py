"""A window with a network whose pass never ends: it goes on, closes, and the program ends."""

from __future__ import annotations

import time

import napari
import numpy as np
import torch
from qtpy.QtWidgets import QApplication

import napari_neuroscope as ns
from napari_neuroscope.engine.frameworks import model_lock
from napari_neuroscope.session.session import DEMO_TITLES
from napari_neuroscope.widgets.parts.jobs import work_thread


class Endless(torch.nn.Module):
    """Its loop runs in C++, where no Python stops it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        while bool(x.sum() > -1.0):
            x = x * 1.0
        return x


def wait_for(ready, seconds: float = 60.0) -> None:
    """Let the window live until something is so."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end
        QApplication.processEvents()
        time.sleep(0.01)


def main() -> None:
    """Play it through."""
    torch.set_num_threads(1)
    work_thread.PATIENCE_S = model_lock._LAST_WAIT_S = 0.2
    viewer = napari.Viewer(show=True)
    viewer.add_image(np.random.default_rng(0).random((64, 64)).astype(np.float32), name="image")
    _, inspector = viewer.window.add_plugin_dock_widget("napari-neuroscope", "Neuroscope")
    spec = {"task": "segmentation", "classes": ["a"], "input": {"axes": "bcyx"}}
    network = ns.wrap(torch.jit.script(Endless()), spec, name="endless", device="cpu")
    inspector.add_network(network)
    wait_for(lambda: work_thread.COMPUTE._running is not None)
    inspector.cancel()
    assert "Stopped" in inspector._reason.text()
    # The same network says that it is at work; another answers.
    inspector._choose_network()
    wait_for(lambda: "still at work" in inspector._reason.text())
    inspector.choose_network(DEMO_TITLES["nuclei"])
    wait_for(inspector.ready)
    # A window that is closed while a network is stuck waits for it a moment only.
    inspector.choose_network("endless")
    wait_for(lambda: inspector.jobs.busy)
    begun = time.monotonic()
    viewer.close()
    QApplication.processEvents()
    assert time.monotonic() - begun < 6
    print("closed", flush=True)


if __name__ == "__main__":
    main()

"""What window tests ask of a network that lets work through step by step."""

from __future__ import annotations

from collections.abc import Callable

from napari_neuroscope.viewer.layers.layer_data import KEY
from napari_neuroscope.widgets.inspector.inspector import Inspector

PATIENCE_MS = 20_000


class GatedBench:
    """An inspector on an image, with a network that can be shut and opened."""

    def __init__(self, viewer, qtbot, inspector: Inspector, model, image: str) -> None:
        self.viewer, self.qtbot, self.inspector, self.model = viewer, qtbot, inspector, model
        self.network = inspector.session.network
        self.image = viewer.layers[image]

    def maps(self) -> list:
        return [layer for layer in self.viewer.layers if KEY in layer.metadata]

    def wait(self, until: Callable[[], bool]) -> None:
        self.qtbot.waitUntil(until, timeout=PATIENCE_MS)

    def shown(self, done: int):
        """Wait until a map of so many steps is shown; return its layer."""
        self.wait(lambda: done in [reached(layer) for layer in self.maps()])
        return next(layer for layer in self.maps() if reached(layer) == done)

    def finish(self) -> None:
        self.model.open()
        self.wait(lambda: not self.inspector.jobs.busy)


def reached(layer) -> int:
    """Return of how many steps an unfinished layer is; 0 where it is finished."""
    return layer.metadata[KEY].get("unfinished", {"done": 0})["done"]

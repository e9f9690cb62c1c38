"""A dock that follows the network which is chosen in the dock “Neuroscope”."""

from __future__ import annotations

import napari

from napari_neuroscope.session.session import Session
from napari_neuroscope.widgets.parts.dock import Dock


class LayerCounter(Dock):
    """Shows how many layers the chosen network has."""

    name = "layer-count"

    def __init__(self, napari_viewer: napari.Viewer, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        self.lay_out(self.message)
        self.follow(self.session.events.network, self.count)
        self.count()

    def count(self) -> None:
        """Count the layers, in the thread that computes for all docks."""
        network = self.session.network
        if network is None:
            self.message.setText("Choose a network in the dock “Neuroscope”.")
            return
        self.jobs.submit(
            "Counting the layers",
            lambda progress: len(network.layers),
            lambda number: self.message.setText(f"{number} layers"),
            self.fail,
        )

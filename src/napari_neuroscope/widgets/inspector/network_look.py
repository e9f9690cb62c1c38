"""A chosen network is loaded and looks at the chosen image, in the compute thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_neuroscope.session.network_summary import NetworkSummary
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.image.shown_image import ShownImage
from napari_neuroscope.widgets.inspector.fields.network_choice import NetworkChoice
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs


class NetworkLook:
    """Loads the network of a title, and finds out what its layers and classes are.

    Parameters
    ----------
    viewer, session, jobs
        The inspector's.
    networks
        Where the network is chosen; it asks what opening a file still needs.
    failed
        Told why the network can't be looked at.
    """

    def __init__(
        self,
        viewer: Any,
        session: Session,
        jobs: Jobs,
        networks: NetworkChoice,
        failed: Callable[[Exception], None],
    ) -> None:
        self._viewer, self._session, self._jobs = viewer, session, jobs
        self._networks, self._failed = networks, failed

    def begin(self, layer: Any) -> None:
        """Look at an image layer with the chosen network; None: at the network alone."""
        title, session = self._networks.title, self._session
        shown = None if layer is None else ShownImage.of(layer, self._viewer)
        session.network_summary = None

        def work(progress: Any) -> NetworkSummary:
            network = session.catalog.open(title)
            if shown is None:
                return NetworkSummary.of(network, None, progress)
            image, window = shown.glance(network)
            return NetworkSummary.of(network, image, progress, window)

        def done(summary: NetworkSummary) -> None:
            session.network = summary.network
            session.network_summary = summary

        def failed(error: Exception) -> None:
            if not self._networks.ask_more(error):
                self._failed(error)

        self._jobs.submit("Looking at the network", work, done, failed)

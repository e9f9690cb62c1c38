"""The button that shows what the network predicts of the image, and hides it again."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtWidgets import QPushButton

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.prediction import Prediction
from napari_neuroscope.session.network_summary import NetworkSummary, lying_in
from napari_neuroscope.viewer.image.shown_image import ShownImage
from napari_neuroscope.viewer.layers.prediction_layers import PredictionLayers
from napari_neuroscope.widgets.inspector.answer_view import AnswerView
from napari_neuroscope.widgets.parts.dock import Dock
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs

_MOST_CLASSES = 5


class PredictionButton(QPushButton):
    """Shows the predicted classes over the image, or says those of a classifier.

    It is down while the prediction of the chosen network and image is seen.

    Parameters
    ----------
    dock, viewer
        The dock that it is in, and its viewer.
    answers
        Says what a classifier predicts, and what went wrong.

    Attributes
    ----------
    jobs
        Its predictions, which are made beside the dock's explanations.
    """

    def __init__(self, dock: Dock, viewer: Any, answers: AnswerView) -> None:
        super().__init__("Prediction")
        self.setToolTip("Show what the network predicts of the image, and hide it again.")
        self.setCheckable(True)
        self._viewer, self._session, self._answers = viewer, dock.session, answers
        self.jobs = dock.owned(Jobs())
        self._layers = dock.owned(PredictionLayers(viewer))
        # The plane of which the prediction is, or is being made.
        self._plane: tuple[int, ...] | None = None
        self.clicked.connect(self._toggle)
        events = self._session.events
        for signal in (events.network, events.image):
            dock.follow(signal, self.forget)
        dock.follow(events.network_summary, self._refresh)
        dock.follow(viewer.dims.events.current_step, self._follow_slider)
        dock.follow(viewer.layers.events.removed, self._refresh)
        self._dock = dock
        self._refresh()

    def _toggle(self, on: bool) -> None:
        if on:
            try:
                self.show_prediction()
            except NeuroscopeError as error:
                self._fail(error)
        else:
            self.jobs.cancel()
            self._plane = None
            self._layers.hide(restore=True)

    def show_prediction(self) -> None:
        """Have the shown image predicted, and show it when it is there.

        Raises
        ------
        NeuroscopeError
            Where no network or image is chosen.
        """
        summary, layer = self._session.network_summary, self._session.image
        network = self._session.network
        if network is None or summary is None or layer is None:
            raise NeuroscopeError("Choose a network and an image first.")
        shown = ShownImage.of(layer, self._viewer)
        self._plane = shown.plane(network)
        self.setChecked(True)
        self.jobs.submit(
            "Predicting",
            lambda _: _predicted(network, summary, shown),
            lambda prediction: self._show(network, prediction, layer, shown),
            self._fail,
        )

    def forget(self, *_: Any) -> None:
        """Hide the prediction: it is of another image or network."""
        self.jobs.cancel()
        self._plane = None
        self._layers.hide(restore=False)
        self._refresh()

    def give_way(self, *_: Any) -> None:
        """Hide predictions, also that of the dock “Images”, as a map is shown."""
        if self._plane is not None:
            self.forget()
        self._layers.hide_all()

    def _fail(self, error: Exception) -> None:
        self._plane = None
        self._refresh()
        self._answers.fail(error)

    def _show(
        self, network: Network, prediction: Prediction, layer: Any, shown: ShownImage
    ) -> None:
        if prediction.grid is None:
            self._plane = None
            self._answers.say(_in_words(network, prediction))
        elif layer in self._viewer.layers:
            seen = self._layers.show(network, prediction, layer, shown.place(network))
            self._dock.follow(seen.events.visible, self._refresh)
            # It may have been hidden and shown again meanwhile.
            self._plane = shown.plane(network)
        self._refresh()

    def _follow_slider(self, *_: Any) -> None:
        """Have another plane predicted where the sliders have come to one."""
        network, layer = self._session.network, self._session.image
        if self._plane is None or network is None or layer not in self._viewer.layers:
            return
        try:
            plane = ShownImage.of(layer, self._viewer).plane(network)
        except NeuroscopeError:
            # It has just been given other axes, of which the next look tells.
            return
        if plane != self._plane:
            self.show_prediction()

    def _refresh(self, *_: Any) -> None:
        """Be down while the prediction is seen or made."""
        self.setEnabled(self._session.network_summary is not None)
        if not self.jobs.busy and not self._layers.visible:
            self._plane = None
        self.setChecked(self.jobs.busy or self._layers.visible)


def _predicted(network: Network, summary: NetworkSummary, shown: ShownImage) -> Prediction:
    """Return the prediction of what is shown; of a large image that of its middle."""
    image, window = shown.glance(network)
    if summary.prediction is not None and summary.digests == network.digests(image):
        return summary.prediction
    prediction = network.predict(image)
    return prediction if window is None else lying_in(prediction, window)


def _in_words(network: Network, prediction: Prediction) -> str:
    shares = np.asarray(prediction.probabilities)
    best = np.argsort(-shares)[:_MOST_CLASSES]
    return (
        "Predicted: " + ", ".join(f"{network.class_names[n]} {shares[n]:.1%}" for n in best) + "."
    )

"""The layers of the image of a list that is shown: itself, its prediction, truth and errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError, Progress
from napari_neuroscope.engine.evaluation.plane_pairs import truth_labels
from napari_neuroscope.engine.explanation.overlays.place import Place
from napari_neuroscope.engine.images.formats.lazy_image import LazyImage
from napari_neuroscope.engine.images.pairing.pair import Pair
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.prediction import Prediction
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.image.image_pixels import go_to_step
from napari_neuroscope.viewer.image.shown_image import ShownImage
from napari_neuroscope.viewer.layers.error_layers import Comparison, error_data
from napari_neuroscope.viewer.layers.error_layers import Part as ErrorKind
from napari_neuroscope.viewer.layers.gallery import Gallery
from napari_neuroscope.viewer.layers.maps.layer_manager import LayerManager
from napari_neuroscope.viewer.layers.prediction_layers import prediction_data


class PairLayers:
    """Shows one pair of an image and its ground truth at a time, each in the place of the last.

    Parameters
    ----------
    viewer, session
        The dock's.

    Attributes
    ----------
    gallery
        The layers of images that are files.
    """

    def __init__(self, viewer: Any, session: Session) -> None:
        self._viewer, self._session = viewer, session
        self._layer_manager = LayerManager(viewer)
        self.gallery = Gallery(viewer, self._layer_manager)
        # Of which class and kind errors were shown last.
        self._errors: tuple[int, ErrorKind] | None = None

    def close(self) -> None:
        """Follow the layers no longer."""
        self._layer_manager.close()

    def show(
        self,
        pair: Pair,
        layer: Any,
        network: Network | None,
        answer: tuple[LazyImage, Prediction | None, Any],
    ) -> str:
        """Show a pair with what the network makes of it; return what is to be said.

        Parameters
        ----------
        pair
            The image and its ground truth.
        layer
            The user's layer that has the image; None where it is a file.
        network
            What has predicted, if anything has.
        answer
            What `answer_to` returned.
        """
        image, prediction, truth = answer
        plane: Sequence[int | None] = pair.image.plane
        if layer is not None and layer in self._viewer.layers:
            for axis, step in enumerate(plane):
                if step is not None:
                    go_to_step(layer, axis, step, self._viewer)
        else:
            layer = self.gallery.show(np.asarray(image.data), pair.name, image.spacing.axes)
            plane = ()
        notes = [] if truth is None else list(truth.notes)
        if network is not None and prediction is not None:
            labels = None if truth is None else truth.labels
            place = self._place(layer, plane, network)
            if prediction.grid is not None:
                self._layer_manager.show(
                    prediction_data(network, prediction, layer, place), ("prediction",)
                )
                # The lines of the truth lie over what is filled.
                self.gallery.show_truth(labels, network, layer, place)
            else:
                notes.insert(0, _class_in_words(pair, network, prediction))
            self._session.comparison = Comparison(
                pair.name, network, layer, place, prediction, labels
            )
        self._renew_errors(network, prediction, truth)
        # The inspector explains what is shown; the same layer may hold another image now.
        self._session.show_layer(layer)
        return f"{pair.name}: {'; '.join(notes)}." if notes else ""

    def _place(self, layer: Any, plane: Sequence[int | None], network: Network) -> Place:
        """Return where on the axes of a layer a plane of it lies, wherever the sliders stand."""
        shown = ShownImage.of(layer, self._viewer)
        steps = [*plane, *(None,) * (len(shown.steps) - len(plane))]
        sliders = zip(shown.steps, steps, strict=False)
        steps_of_plane = (slider if step is None else step for slider, step in sliders)
        return replace(shown, steps=tuple(steps_of_plane)).place(network)

    def show_errors(self, class_index: int, kind: ErrorKind) -> None:
        """Show where prediction and ground truth of the shown image agree about a class.

        Raises
        ------
        NeuroscopeError
            Where no image with ground truth is shown, or the network tells one class for all of it.
        """
        comparison = self._session.comparison
        if comparison is None or comparison.source not in self._viewer.layers:
            raise NeuroscopeError("Choose an image with ground truth in the list first.")
        if comparison.prediction.grid is None:
            raise NeuroscopeError("A classifier says one class for the whole image.")
        # They are seen alone: colours below them or above would be read as theirs.
        self._layer_manager.hide_others("prediction", "ground truth", "comparison")
        layers = error_data(comparison, class_index, kind)
        self._layer_manager.show(layers, ("errors", kind))[0].visible = True
        self._errors = class_index, kind

    def _renew_errors(
        self, network: Network | None, prediction: Prediction | None, truth: Any
    ) -> None:
        """Show the errors in the image that is shown now, where those of the last are seen."""
        if self._errors is None:
            return
        index, kind = self._errors
        layer = self._layer_manager.layer(("errors", kind, "0"))
        if layer is None or not layer.visible:
            return
        may_be_compared = prediction is not None and prediction.grid is not None
        if network is None or truth is None or not may_be_compared:
            layer.visible = False
        elif index < len(network.class_names):
            self.show_errors(index, kind)


def answer_to(
    pair: Pair, network: Network | None, reading: dict[str, Any], progress: Progress
) -> tuple[LazyImage, Prediction | None, Any]:
    """Return an image, what a network predicts of it, and its ground truth as labels.

    Parameters
    ----------
    pair
        The image with its ground truth.
    network
        What predicts; without one there is the image alone.
    reading
        How ground truth is read, as `truth_labels` takes it.
    progress
        Told how far it is.
    """
    image = pair.image.in_memory()
    if network is None:
        return image, None, None
    network.discover(image, progress)
    prediction = network.predict(image)
    return image, prediction, truth_labels(network, pair, prediction, **reading)


def _class_in_words(pair: Pair, network: Network, prediction: Prediction) -> str:
    likely = int(prediction.labels)
    share = float(prediction.probabilities[likely])
    truth = f", true {pair.truth}" if pair.truth is not None else ""
    return f"predicted {network.class_names[likely]} ({share:.1%}){truth}"

"""What is known of a network and an image before anything is explained."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError, Progress
from napari_neuroscope.engine.explain.cost import Pace, pace_of
from napari_neuroscope.engine.explain.crop import moved_by
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.prediction import Prediction
from napari_neuroscope.engine.tiles.geometry import Geometry, Window


@dataclass(frozen=True, eq=False)
class NetworkSummary:
    """A network that was run on an image, and what is known since.

    Attributes
    ----------
    network
        The network; its layers are discovered.
    prediction
        Its answer to the image; None where there is no image.
    classes
        The number and name of each class, with its share of the pixels or its probability.
    pace
        How long a pass of the image takes; None where there is no image.
    digests
        Those of the network and the image.
    """

    network: Network
    prediction: Prediction | None
    classes: tuple[tuple[int, str, float], ...]
    pace: Pace | None = None
    digests: tuple[str, str] = ("", "")

    @classmethod
    def of(
        cls,
        network: Network,
        image: np.ndarray | None,
        progress: Progress,
        window: Window | None = None,
    ) -> NetworkSummary:
        """Discover a network's layers, and predict an image; may take a while.

        The image may be a window of a large one: its prediction then lies there.
        """
        if image is None:
            return cls(network, None, tuple((i, name, 0.0) for i, name in _classes(network)))
        network.discover(image, progress)
        if network.spec.task == "segmentation":
            # How tiles see is kept with the layers; found here, no window waits for it.
            with suppress(NeuroscopeError):
                Geometry.of(network.layers, network.spec)
        begun = time.perf_counter()
        prediction = network.predict(image)
        pace = pace_of(network, image, time.perf_counter() - begun)
        shares = _shares(network, prediction)
        classes = tuple((i, name, float(shares[i])) for i, name in _classes(network))
        if window is not None:
            prediction = lying_in(prediction, window)
        return cls(network, prediction, classes, pace, network.digests(image))


def lying_in(prediction: Prediction, window: Window) -> Prediction:
    """Return the prediction of a window of an image, lying where that is in the image."""
    return replace(
        prediction,
        grid=prediction.grid and moved_by(prediction.grid, window),
        image=moved_by(prediction.image, window),
    )


def _classes(network: Network) -> list[tuple[int, str]]:
    return list(enumerate(network.class_names))


def _shares(network: Network, prediction: Prediction) -> np.ndarray:
    """Return the share of the pixels of each class, or its probability."""
    if network.spec.task != "segmentation":
        return prediction.probabilities
    # Pixels that the network does not see are of no class.
    seen = prediction.labels[prediction.labels >= 0]
    counts = np.bincount(seen.ravel(), minlength=len(network.class_names))
    return counts / max(seen.size, 1)

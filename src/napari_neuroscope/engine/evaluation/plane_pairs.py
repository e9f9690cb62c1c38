"""One image of many: the planes of a stack, and its true classes beside a prediction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.evaluation.scoring import read_truth_of
from napari_neuroscope.engine.images.ground_truth.kind import TruthKind
from napari_neuroscope.engine.images.ground_truth.reader import LabelledTruth, TruthReader
from napari_neuroscope.engine.images.pairing.pair import Pair, Truth
from napari_neuroscope.engine.images.source import Source
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.prediction import Prediction


def plane_pairs(pairs: Iterable[Pair], network: Network | None) -> list[Pair]:
    """Return the pairs with each plane of a stack as a pair of its own; nothing is read whole.

    Parameters
    ----------
    pairs
        Images with their ground truth.
    network
        What tells which axes are of a stack; None leaves all as they are.
    """
    expanded: list[Pair] = []
    for pair in pairs:
        positions, stack = ((), ()) if network is None else _stack(pair.image, network)
        if not stack:
            expanded.append(pair)
            continue
        for plane in np.ndindex(*stack):
            name = f"{pair.name} [{', '.join(map(str, plane))}]"
            image = pair.image.at(positions, plane, name)
            expanded.append(Pair(name, image, _plane_of(pair.truth, plane)))
    return expanded


def _stack(image: Source, network: Network) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the positions and sizes of the axes of an image that a network doesn't take."""
    try:
        shape, axes = image.axes(network)
    except NeuroscopeError:
        return (), ()  # it is told of when it is read
    return axes.stack, tuple(shape[n] for n in axes.stack)


def _plane_of(truth: Truth, plane: tuple[int, ...]) -> Truth:
    if truth is None or isinstance(truth, str | int):
        return truth  # a class holds for each of the planes
    if isinstance(truth, Source):
        return Source(truth.name, truth.origin, (*truth.plane, *plane))
    return [Source(source.name, source.origin, (*source.plane, *plane)) for source in truth]


def truth_labels(
    network: Network,
    pair: Pair,
    prediction: Prediction,
    truth_kind: TruthKind = "auto",
    **options: Any,
) -> LabelledTruth | None:
    """Return the true class of each pixel of an image, on the image's own grid.

    The options are those of `TruthReader`. None where it has no ground truth, or the network says one class for the whole image.

    Raises
    ------
    NeuroscopeError
        Where the ground truth can't be read, or doesn't fit.
    """
    if pair.truth is None or prediction.grid is None:
        return None
    reader = TruthReader.of(network, truth_kind, **options)
    return reader.labels(read_truth_of(pair, network.class_names), prediction.image.shape)

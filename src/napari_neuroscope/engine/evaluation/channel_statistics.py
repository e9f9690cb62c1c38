"""Statistics of a layer's channels: how strongly each answers, and how much it matters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError, Progress, no_progress
from napari_neuroscope.engine.images.axes import in_read_order
from napari_neuroscope.engine.images.preprocessing import as_array
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.target import Target


@dataclass(frozen=True, eq=False)
class ChannelStatistics:
    """Statistics of each channel of an activation, and the distribution of all its values.

    Attributes
    ----------
    mean, max, min
        Over a channel's positions, float64 (channel,).
    zeros
        The share of a channel's values that are zero, float64 (channel,).
    dead
        Whether a channel is never above zero, or the same at all of several positions: it then
        tells nothing of this image, bool (channel,).
    relevance
        Σ_i g_k(i) A_k(i), a channel's share in the score to first order, float64 (channel,); None
        without a gradient.
    counts, edges
        The histogram of all finite values, (bin,) and (bin + 1,).
    note
        Why there is no relevance, as a sentence; "" where there is.
    """

    mean: np.ndarray
    max: np.ndarray
    min: np.ndarray
    zeros: np.ndarray
    dead: np.ndarray
    relevance: np.ndarray | None
    counts: np.ndarray
    edges: np.ndarray
    note: str = ""

    @classmethod
    def of(
        cls, activation: Tensor, gradient: Tensor | None = None, *, bins: int = 64, note: str = ""
    ) -> ChannelStatistics:
        """Measure an activation.

        Parameters
        ----------
        activation
            Real numbers (channel, *space).
        gradient
            ∂T/∂activation, of the same shape.
        bins
            How many the histogram has.
        note
            Why there is no gradient.
        """
        if not activation.numel():
            raise NeuroscopeError(f"The activation of shape {tuple(activation.shape)} is empty.")
        flat = _flat(activation)
        high, low = flat.amax(1), flat.amin(1)
        dead = high <= 0
        if flat.shape[1] > 1:
            dead |= high == low
        relevance = None
        if gradient is not None:
            relevance = (flat * _flat(gradient)).sum(1, dtype=torch.float64).numpy()
        counts, edges = _histogram(flat.numpy(), bins)
        return cls(
            mean=flat.mean(1, dtype=torch.float64).numpy(),
            max=high.double().numpy(),
            min=low.double().numpy(),
            zeros=(flat == 0).double().mean(1).numpy(),
            dead=dead.numpy(),
            relevance=relevance,
            counts=counts,
            edges=edges,
            note=note,
        )

    def __len__(self) -> int:
        return len(self.mean)

    @property
    def dead_share(self) -> float:
        """The share of the channels that are dead."""
        return float(self.dead.mean())


def _flat(values: Tensor) -> Tensor:
    return values.detach().to("cpu", torch.float32).reshape(len(values), -1)


def _histogram(values: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    # In float64 even the narrowest range of float32 can be divided into bins.
    finite = values[np.isfinite(values)].astype(np.float64)
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    if low == high:
        half = max(0.5, abs(low) / 2)
        low, high = low - half, high + half
    return np.histogram(finite, bins, (low, high))


def channel_statistics(
    network: Network,
    image: Any,
    layer: str,
    target: Target | None = None,
    progress: Progress = no_progress,
) -> ChannelStatistics:
    """Measure the channels of a layer for an image.

    Parameters
    ----------
    network, image
        The network, and an array with the spec's ``image_axes``.
    layer
        The name of the layer, which need not have positions.
    target
        What the channels are relevant to; without one, or where no gradient reaches the layer,
        there is no relevance, and the statistics' note says why.
    progress
        Follows the work, and may stop it.

    Raises
    ------
    NeuroscopeError
        Where the layer's activation can't be had.
    """
    activation = methods["activation"]
    if refusal := network.why_not(activation):
        raise NeuroscopeError(refusal)
    array = as_array(in_read_order(image, network.spec, network.channels))
    network.discover(array, progress)
    (layer,) = network.layers.select([layer], positions=False)
    note = network.why_not(activation, {"rank": "relevance"}) or ""
    with network.frozen():
        trace = network.trace(array, [layer], progress=progress)
        gradient = None
        if target is None:
            note = note or "Choose a class to see how much each channel matters for it."
        elif not note:
            try:
                network.layers.select([layer], positions=False, gradient=True)
                gradient = trace.gradient(trace.resolve(target), layer)
            except NeuroscopeError as error:
                # The activation is worth seeing all the same.
                note = str(error)
        statistics = ChannelStatistics.of(trace.activation(layer), gradient, note=note)
    return statistics

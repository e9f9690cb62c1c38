"""Values of 0..1 become what a network was trained on, by the spec's `Normalization`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.spec.input_spec import Normalization


def normalised(
    values: Tensor, unit: np.ndarray, rule: Normalization, channels: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return normalised values, and the gain and shift of each channel that made them so.

    Statistics are of `unit`, the whole image before it was resized.
    """
    gain = torch.ones(channels, dtype=torch.float64)
    shift = torch.zeros(channels, dtype=torch.float64)
    shape = (-1,) + (1,) * (values.ndim - 1)
    for step in rule.steps:
        if step.changes_nothing:
            continue
        mean, spread = _mean_and_spread(step, unit, channels)
        gain, shift = gain / spread, (shift - mean) / spread
        # The mean first: large values of little contrast would lose digits to a large shift.
        values = _divided(values - mean.float().reshape(shape), spread.reshape(shape))
        if step.then is not None:
            unit = (unit - mean.numpy().reshape(shape)) / spread.numpy().reshape(shape)
        if step.clip is not None:
            values = values.clamp(*step.clip)
            unit = np.clip(unit, *step.clip) if step.then is not None else unit
    return values, gain.float(), shift.float()


def _divided(values: Tensor, spread: Tensor) -> Tensor:
    """Divide by what is float64; whole numbers that were divided by 255, say, come back exactly."""
    factor = (1 / spread).round()
    if (factor * spread - 1).abs().max() < 1e-12:
        return values * factor.float()
    return values / spread.float()


def _mean_and_spread(step: Normalization, unit: np.ndarray, channels: int) -> tuple[Tensor, Tensor]:
    """Return what is taken from each channel's values, and what they are then divided by."""
    parts = unit.reshape(len(unit) if step.per_channel else 1, -1)
    if step.percentile is not None:
        low, high = np.percentile(parts, step.percentile, axis=1).astype(np.float64)
        mean, std = low, high - low
    elif step.per_image:
        mean, std = parts.mean(1, dtype=np.float64), parts.std(1, dtype=np.float64)
    else:
        mean = np.array(step.mean or (0.0,), np.float64)
        std = np.array(step.std or (1.0,), np.float64)
    if step.percentile is not None or step.per_image:
        # An image of one value has no spread to divide by.
        std = std + step.eps if step.eps else np.maximum(std, 1e-6)
    for name, numbers in (("mean", mean), ("std", std)):
        if len(numbers) not in (1, channels):
            raise NeuroscopeError(
                f"The spec's normalisation has {len(numbers)} numbers for "
                f"{name}, but the network takes {channels} channels."
            )
    return (
        torch.from_numpy(np.broadcast_to(mean, channels).copy()),
        torch.from_numpy(np.broadcast_to(std, channels).copy()),
    )

"""A class activation map of another package, which runs on whole images and tile by tile."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from napari_neuroscope.engine.methods.interface import (
    ChannelWeights,
    Needs,
    PassCount,
    Sums,
    method,
)


def absolute_gradient(activation: Tensor, gradient: Tensor, before: Tensor | None) -> Tensor:
    """Return what is added up of each channel over the positions of an image, or of a tile."""
    return gradient.abs().sum(1)


@method(
    "Sensitivity-CAM",
    needs=Needs.LAYER | Needs.POSITIONS | Needs.TARGET | Needs.GRADIENTS,
    reference="Ours et al., 2026, arXiv:2601.00000",
    instead=("score_cam", "rise"),
    passes=PassCount(backward=1),
    tiles=ChannelWeights((Sums(absolute_gradient),), lambda sums, count: sums[0] / count),
)
def sensitivity_cam(
    trace: Any,
    target: Any,
    layer: str,
    weights: Tensor,
    *,
    power: Annotated[
        float, Field(gt=0, le=4, description="Larger powers leave only the largest values.")
    ] = 1.0,
) -> Tensor:
    """Where a layer answers with channels that the score is sensitive to, for or against it.

    (Σ_k w_k |A_k|)^``power`` with w_k the mean of |∂T/∂A_k| over the layer's positions. Returns
    (*space) on the layer's grid.

    Misleads
    --------
    What speaks against the class shows as what speaks for it.
    """
    values = torch.einsum("k,k...->...", weights, trace.activation(layer).abs())
    return values.pow(power)

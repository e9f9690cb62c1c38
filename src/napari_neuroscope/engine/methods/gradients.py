"""Gradients of the target with respect to the input."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeWarning
from napari_neuroscope.engine.methods.interface import Local, Map, Needs, PassCount, method
from napari_neuroscope.engine.methods.interface.shared_options import Channels
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace
from napari_neuroscope.engine.passes.variants import Passes

CONTRIBUTION = "contribution"
"""The unit of maps whose values are shares of the score, and add up."""


def is_signed(options: Mapping[str, Any]) -> bool:
    """Whether a map whose channels are joined so has values about zero."""
    return options["channels"] in ("signed_max", "sum", "keep")


def reduce_channels(gradient: Tensor, channels: Channels) -> Tensor:
    """Join the channels of an input gradient (channel, *space), or keep them."""
    if channels == "keep":
        return gradient
    if channels == "l2":
        lengths: Tensor = gradient.norm(dim=0)
        return lengths
    if channels == "sum":
        return gradient.sum(0)
    if channels == "max_abs":
        return gradient.abs().amax(0)
    highest, lowest = gradient.amax(0), gradient.amin(0)
    return torch.where(highest >= -lowest, highest, lowest)


def input_map(
    values: Tensor, channels: Channels, notes: tuple[str, ...] = (), unit: str = "gradient"
) -> Map:
    """Return the map of a value of each input channel, joined or as a leading axis."""
    reduced = reduce_channels(values, channels)
    if channels != "keep":
        return Map(reduced, unit=unit, notes=notes)
    names = tuple(str(number) for number in range(len(reduced)))
    return Map(reduced, ("channel",), {"channel": names}, unit=unit, notes=notes)


@method(
    "Saliency",
    family="gradient",
    needs=Needs.TARGET | Needs.GRADIENTS,
    passes=PassCount(backward=1),
    tiles=Local(),
    signed=is_signed,
    reference="Simonyan et al., ICLR 2014 workshop, arXiv:1312.6034",
)
def saliency(
    trace: Trace, target: ResolvedTarget, layer: str | None, *, channels: Channels = "max_abs"
) -> Map:
    """How strongly each pixel would change the score: |∂T/∂x|, the largest of its channels.

    ∂T/∂x by one backward pass, its channels joined as ``channels`` says. Returns (*space) on the
    input's grid, or (channel, *space) where they are kept.

    Misleads
    --------
    Sensitivity is no share: a pixel can matter much and the score not change with it. The map is
    noisy, and shows edges where the score is flat.
    """
    return input_map(trace.input_gradient(target), channels)


@method(
    "Input × gradient",
    family="gradient",
    needs=Needs.TARGET | Needs.GRADIENTS,
    passes=PassCount(backward=1),
    tiles=Local(),
    signed=is_signed,
    reference="Shrikumar et al., ICML 2017, arXiv:1704.02685; Shrikumar et al. 2016, "
    "arXiv:1605.01713",
)
def input_x_gradient(
    trace: Trace, target: ResolvedTarget, layer: str | None, *, channels: Channels = "sum"
) -> Map:
    """What each pixel adds to the score, were the network as linear as it is here: x · ∂T/∂x.

    x · ∂T/∂x, x as the network takes it, by the same backward pass as the saliency; its channels
    joined as ``channels`` says. Of a network of linear and ReLU layers without biases it adds up
    to T. Returns (*space) on the input's grid, or (channel, *space) where they are kept.

    Misleads
    --------
    What the network takes as zero gets nothing, however much it matters: with an image that is
    normalised that is its mean, and not black. It is as noisy as the gradient, and shows the image
    in itself.
    """
    return input_map(trace.input * trace.input_gradient(target), channels, unit=CONTRIBUTION)


def mean_gradients(
    passes: Passes, inputs: Callable[[int, int], Tensor], weights: np.ndarray
) -> Iterator[tuple[int, Tensor]]:
    """Yield how many inputs are over, and the weighted mean of their gradients so far.

    Parameters
    ----------
    passes
        What asks the network.
    inputs
        Makes the inputs from start to stop: (input, channel, *space).
    weights
        Of each input, above zero: (input,).

    Yields
    ------
    tuple
        The number, and float32 (target, channel, *space).
    """
    x = passes.trace.input
    each_weight = torch.as_tensor(weights, dtype=torch.float32, device=x.device)
    covered = np.cumsum(weights)
    total = torch.zeros(len(passes.targets), *x.shape, device=x.device)

    def weighted(start: int, stop: int) -> Tensor:
        gradients = passes.gradients(inputs(start, stop))[1]
        return each_weight[start:stop] @ gradients.flatten(2)

    for _, stop, part in passes.each(len(weights), weighted):
        total += part.reshape(total.shape)
        yield stop, total / float(covered[stop - 1])


def guided(trace: Trace, target: ResolvedTarget) -> tuple[Tensor, tuple[str, ...]]:
    """Return the guided gradient (channel, *space), and what is to be known of it."""
    notes = trace.network.guided_notes()
    gradient, count = trace.guided_gradient(target)
    notes = (*notes, *trace.guided_notes())
    if not count:
        notes = (
            *notes,
            "no activation was found that could be guided: the map equals the plain gradient",
        )
    for note in notes:
        warnings.warn(f"Guided backpropagation: {note}.", NeuroscopeWarning, stacklevel=4)
    return gradient, tuple(notes)


@method(
    "Guided backpropagation",
    family="gradient",
    needs=Needs.TARGET | Needs.GUIDED,
    passes=PassCount(backward=1),
    tiles=Local(),
    signed=is_signed,
    reference="Springenberg et al., ICLR 2015 workshop, arXiv:1412.6806",
    instead=("saliency", "occlusion"),
)
def guided_backprop(
    trace: Trace, target: ResolvedTarget, layer: str | None, *, channels: Channels = "signed_max"
) -> Map:
    """Fine structure that speaks for the class, by letting only positive gradient through.

    Every pointwise nonlinearity passes back R_in = max(R_out, 0) · f'(z): ReLU and its kin, and
    the smooth ones (GELU, SiLU, sigmoid, tanh and others), however they are written: what a network
    computes from each value of one tensor, as x · sigmoid(x) or by a custom Function, is one
    activation f. What may as well be other arithmetic (a clamp, a power, exp alone) or can't be
    looked into passes the plain gradient, and a note names it. Returns (*space) on the input's
    grid, or (channel, *space) where channels are kept.

    Misleads
    --------
    It looks sharp because it redraws edges of the image; it hardly changes with the class, nor
    when layers are randomised (Adebayo et al. 2018). Don't argue from it alone.
    """
    gradient, notes = guided(trace, target)
    return input_map(gradient, channels, notes)

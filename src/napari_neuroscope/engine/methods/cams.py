"""Class activation maps: the channels of a layer, weighted by the target's gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_neuroscope.engine.grid import resample
from napari_neuroscope.engine.methods.gradients import Channels, _is_signed, guided, input_map
from napari_neuroscope.engine.methods.registry import Map, Needs, method
from napari_neuroscope.engine.target import ResolvedTarget
from napari_neuroscope.engine.trace import Trace

_CAM = Needs.LAYER | Needs.POSITIONS | Needs.TARGET | Needs.GRADIENTS


def weighted(activation: Tensor, weights: Tensor) -> Tensor:
    """Return Σ_k w_k A_k: activation (channel, *space) and weights (channel,) to (*space)."""
    return torch.mv(activation.flatten(1).T, weights).reshape(activation.shape[1:])


def _grad_cam(trace: Trace, target: ResolvedTarget, layer: str) -> Tensor:
    weights = trace.gradient(target, layer).flatten(1).mean(1)
    return weighted(trace.activation(layer), weights)


@method(
    "Grad-CAM",
    needs=_CAM,
    reference="Selvaraju et al., ICCV 2017",
    signed=lambda options: not options["relu"],
)
def grad_cam(trace: Trace, target: ResolvedTarget, layer: str, *, relu: bool = True) -> Tensor:
    """Where a layer holds evidence for the class: channels weighted by their mean gradient.

    relu(Σ_k w_k A_k) with w_k the mean of ∂T/∂A_k over the layer's positions; without ``relu`` the
    map keeps what speaks against the class. Returns (*space) on the layer's grid.

    Misleads
    --------
    Early layers average gradients of both signs and say little. In a segmentation evidence far
    from the region is averaged into the same weights. An all-zero map means that nothing spoke
    for the class, not that nothing was there: look at it without relu.
    """
    values = _grad_cam(trace, target, layer)
    return values.relu() if relu else values


@method(
    "Guided Grad-CAM",
    needs=_CAM | Needs.GUIDED,
    signed=_is_signed,
    reference="Selvaraju et al., ICCV 2017",
)
def guided_grad_cam(
    trace: Trace, target: ResolvedTarget, layer: str, *, channels: Channels = "signed_max"
) -> Map:
    """Fine structure inside of what Grad-CAM finds: their product, pixel by pixel.

    The Grad-CAM of the layer is resampled linearly to the input's grid. Returns (*space) there, or
    (channel, *space).

    Misleads
    --------
    It takes its edges from guided backpropagation, with all of that method's faults.
    """
    cam = _grad_cam(trace, target, layer).relu()
    grid = trace.prepared.grid
    fine = resample(cam, grid.divided(cam.shape), grid)
    gradient, notes = guided(trace, target)
    return input_map(gradient * fine, channels, notes)


@method("Grad-CAM++", needs=_CAM, reference="Chattopadhyay et al., WACV 2018")
def grad_cam_plus_plus(trace: Trace, target: ResolvedTarget, layer: str) -> Tensor:
    """Grad-CAM that gives each of several objects its due, by weighting positions too.

    α_k(i) = g² / (2g² + g³ Σ_j A_k(j)), 0 where that has no value; w_k = Σ_i α_k(i) relu(g_k(i));
    relu(Σ_k w_k A_k). Returns (*space) on the layer's grid.

    Misleads
    --------
    It looks at positive gradient alone, so what speaks against the class is never seen. Its
    derivation supposes an exponential score.
    """
    activation, gradient = trace.activation(layer), trace.gradient(target, layer)
    # relu(g) leaves g > 0 alone, where α = g² / (2g² + g³ ΣA) = 1 / (2 + g ΣA): no square of a
    # small gradient can vanish.
    positive = gradient.flatten(1).relu()
    denominator = (positive * activation.flatten(1).sum(1, keepdim=True)).add_(2)
    denominator.masked_fill_(denominator == 0, torch.inf)
    weights = positive.div_(denominator).sum(1)
    return weighted(activation, weights).relu()

"""Class activation maps: the channels of a layer, weighted by the target's gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from napari_neuroscope.engine.images.grid import resample
from napari_neuroscope.engine.methods.gradients import guided, input_map, is_signed
from napari_neuroscope.engine.methods.interface import (
    ChannelWeights,
    Local,
    Map,
    Needs,
    PassCount,
    Sums,
    method,
)
from napari_neuroscope.engine.methods.interface.shared_options import Channels, Relu
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace

_CAM = Needs.LAYER | Needs.POSITIONS | Needs.TARGET | Needs.GRADIENTS


def weighted(activation: Tensor, weights: Tensor) -> Tensor:
    """Return Σ_k w_k A_k: activation (channel, *space) and weights (channel,) to (*space)."""
    return torch.mv(activation.flatten(1).T, weights).reshape(activation.shape[1:])


def _gradient(activation: Tensor, gradient: Tensor | None, before: Tensor | None) -> Tensor:
    assert gradient is not None
    return gradient.sum(1)


# Sums of float32 over the positions of an image differ by less from what they should be.
_ROUNDING = 1e-5
_CANCELLED = (
    "the gradients of each channel of “{}” cancel out but for rounding, as they do before a norm over "
    "its positions (instance norm), so the weights of this map are noise; HiResCAM, which takes the "
    "gradient of each position, comes nearest"
)


def _cancel_out(gradient: Tensor) -> bool:
    """Whether the mean gradient (channel, *space) of every channel is zero but for rounding."""
    flat = gradient.flatten(1)
    size = flat.abs().mean(1)
    return bool(size.any()) and bool((flat.mean(1).abs() <= _ROUNDING * size).all())


def _doubts(trace: Trace, target: ResolvedTarget, layer: str) -> tuple[str, ...]:
    precise = trace.outputs.raw.dtype in (torch.float32, torch.float64)
    cancelled = precise and _cancel_out(trace.gradient(target, layer))
    return (_CANCELLED.format(layer),) if cancelled else ()


_MEAN_GRADIENT = ChannelWeights((Sums(_gradient),), lambda sums, count: sums[0] / count)


@method(
    "Grad-CAM",
    family="cam",
    needs=_CAM,
    reference="Selvaraju et al., ICCV 2017, doi:10.1109/ICCV.2017.74",
    signed=lambda options: not options["relu"],
    instead=("score_cam", "rise"),
    passes=PassCount(backward=1),
    tiles=replace(_MEAN_GRADIENT, notes=_doubts),
)
def grad_cam(
    trace: Trace, target: ResolvedTarget, layer: str, weights: Tensor, *, relu: Relu = True
) -> Tensor:
    """Where a layer holds evidence for the class: channels weighted by their mean gradient.

    relu(Σ_k w_k A_k) with w_k the mean of ∂T/∂A_k over the layer's positions; without ``relu`` the
    map keeps what speaks against the class. Returns (*space) on the layer's grid.

    Misleads
    --------
    Early layers average gradients of both signs and say little. In a segmentation the mean over all
    positions mixes those of the class with those of its surroundings, so that inner layers may
    light up just what is not the class: of the demo's map of “nucleus”, 0.02, 0.01 and 0.00 lie on
    the nuclei at enc4, dec3 and dec2, of HiResCAM's 0.43, 0.77 and 0.97. Use that there. An all-zero map means that nothing spoke
    for the class, not that nothing was there: look at it without relu.
    """
    values = weighted(trace.activation(layer), weights)
    return values.relu() if relu else values


@method(
    "Guided Grad-CAM",
    family="cam",
    needs=_CAM | Needs.GUIDED,
    signed=is_signed,
    reference="Selvaraju et al., ICCV 2017, doi:10.1109/ICCV.2017.74",
    instead=("grad_cam", "score_cam", "rise"),
    passes=PassCount(backward=2),
    tiles=replace(_MEAN_GRADIENT, positions="input", also=Needs.GUIDED),
)
def guided_grad_cam(
    trace: Trace,
    target: ResolvedTarget,
    layer: str,
    weights: Tensor,
    *,
    channels: Channels = "signed_max",
) -> Map:
    """Fine structure inside of what Grad-CAM finds: their product, pixel by pixel.

    The Grad-CAM of the layer is resampled linearly to the input's grid. Returns (*space) there, or
    (channel, *space).

    Misleads
    --------
    It takes its edges from guided backpropagation, with all of that method's faults.
    """
    cam = weighted(trace.activation(layer), weights).relu()
    grid = trace.prepared.grid
    fine = resample(cam, trace.grid_of_layer(layer), grid, outside=0.0)
    gradient, notes = guided(trace, target)
    return input_map(gradient * fine, channels, notes)


def _activation(activation: Tensor, gradient: Tensor | None, before: Tensor | None) -> Tensor:
    return activation.sum(1)


def _positive_gradient(
    activation: Tensor, gradient: Tensor | None, before: Tensor | None
) -> Tensor:
    """Return Σ_i α(i) relu(g(i)), `before` the sum of the activations over all positions."""
    assert gradient is not None
    assert before is not None
    # relu(g) leaves g > 0 alone, where α = g² / (2g² + g³ ΣA) = 1 / (2 + g ΣA): no square of a
    # small gradient can vanish.
    positive = gradient.relu()
    denominator = (positive * before.to(positive)[:, None]).add_(2)
    denominator.masked_fill_(denominator == 0, torch.inf)
    return positive.div_(denominator).sum(1)


@method(
    "Grad-CAM++",
    family="cam",
    needs=_CAM,
    reference="Chattopadhyay et al., WACV 2018, doi:10.1109/WACV.2018.00097",
    instead=("score_cam", "rise"),
    passes=PassCount(backward=1),
    tiles=ChannelWeights(
        (Sums(_activation, gradients=False), Sums(_positive_gradient)),
        lambda sums, count: sums[1],
        linear=False,
    ),
)
def grad_cam_plus_plus(trace: Trace, target: ResolvedTarget, layer: str, weights: Tensor) -> Tensor:
    """Grad-CAM that gives each of several objects its due, by weighting positions too.

    α_k(i) = g² / (2g² + g³ Σ_j A_k(j)), 0 where that has no value; w_k = Σ_i α_k(i) relu(g_k(i));
    relu(Σ_k w_k A_k). Returns (*space) on the layer's grid.

    Misleads
    --------
    It looks at positive gradient alone, so what speaks against the class is never seen. Its
    derivation supposes an exponential score.
    """
    return weighted(trace.activation(layer), weights).relu()


@method(
    "HiResCAM",
    family="cam",
    needs=_CAM,
    reference="Draelos and Carin, 2020, arXiv:2011.08891",
    signed=lambda options: not options["relu"],
    instead=("score_cam", "rise"),
    passes=PassCount(backward=1),
    tiles=Local(),
)
def hires_cam(trace: Trace, target: ResolvedTarget, layer: str, *, relu: Relu = True) -> Tensor:
    """What each position of a layer adds to the score: its channels times their own gradients.

    relu(Σ_k g_k A_k), element by element, so that a position keeps its own gradient where Grad-CAM
    averages. Without ``relu`` the map keeps what speaks against the class; where only linear
    layers follow, it then sums to T, their biases aside. The first choice for segmentations. Returns
    (*space) on the layer's grid.

    Misleads
    --------
    Where activations follow the layer, the products hold to first order alone and the sum is no
    longer T. The map is rougher than Grad-CAM's, and where a pooling takes the largest value all
    other positions are zero.
    """
    values = (trace.gradient(target, layer) * trace.activation(layer)).sum(0)
    return values.relu() if relu else values


@method(
    "LayerCAM",
    family="cam",
    needs=_CAM,
    reference="Jiang et al., IEEE TIP 2021, doi:10.1109/TIP.2021.3089943",
    instead=("score_cam", "rise"),
    passes=PassCount(backward=1),
    tiles=Local(),
)
def layer_cam(trace: Trace, target: ResolvedTarget, layer: str) -> Tensor:
    """Fine evidence for the class, of early layers too: channels times their positive gradients.

    relu(Σ_k relu(g_k) A_k), element by element. Returns (*space) on the layer's grid.

    Misleads
    --------
    Negative gradients are left out, so a position that speaks for the class with one channel and
    as much against it with another looks like evidence. Early layers show edges.
    """
    return (trace.gradient(target, layer).relu() * trace.activation(layer)).sum(0).relu()


def _activation_and_share(
    activation: Tensor, gradient: Tensor | None, before: Tensor | None
) -> Tensor:
    assert gradient is not None
    return torch.stack([activation.sum(1), (gradient * activation).sum(1)])


def _share_of_activation(sums: Sequence[Tensor], count: int) -> Tensor:
    activations, shares = sums[0]
    return torch.where(activations == 0, 0, shares / torch.where(activations == 0, 1, activations))


@method(
    "XGrad-CAM",
    family="cam",
    needs=_CAM,
    reference="Fu et al., BMVC 2020, arXiv:2008.02312",
    signed=lambda options: not options["relu"],
    instead=("score_cam", "rise"),
    passes=PassCount(backward=1),
    tiles=ChannelWeights((Sums(_activation_and_share),), _share_of_activation),
)
def x_grad_cam(
    trace: Trace, target: ResolvedTarget, layer: str, weights: Tensor, *, relu: Relu = True
) -> Tensor:
    """Grad-CAM whose gradients are weighted by the activation, to share out the score better.

    relu(Σ_k w_k A_k) with w_k = Σ_i g_k(i) A_k(i) / Σ_j A_k(j), 0 where that sum is 0. Without
    ``relu`` the map sums to Σ_ki g_k(i) A_k(i): T itself where only linear layers follow, their
    biases aside. Returns (*space) on the layer's grid.

    Misleads
    --------
    A layer with values of both signs can have a channel whose sum is nearly zero: its weight then
    explodes. Choose a layer behind a relu.
    """
    values = weighted(trace.activation(layer), weights)
    return values.relu() if relu else values


def _products(activation: Tensor, gradient: Tensor | None, before: Tensor | None) -> Tensor:
    """Return the products of all channels, and beside them their sums: (channel, channel + 1)."""
    exact = activation.cpu().double()
    return torch.cat([exact @ exact.T, exact.sum(1, keepdim=True)], 1)


def _first_direction(sums: Sequence[Tensor], count: int) -> Tensor:
    products, totals = sums[0][:, :-1], sums[0][:, -1]
    direction: Tensor = torch.linalg.eigh(products)[1][:, -1]
    # A direction has no sign of its own: the map's sum is positive.
    return -direction if direction @ totals < 0 else direction


@method(
    "Eigen-CAM",
    family="cam",
    needs=Needs.LAYER | Needs.POSITIONS,
    reference="Muhammad and Yeasin, IJCNN 2020, doi:10.1109/IJCNN48605.2020.9206626",
    signed=True,
    instead=("rise",),
    passes=PassCount(),
    tiles=ChannelWeights((Sums(_products, gradients=False),), _first_direction, of_whole=False),
)
def eigen_cam(
    trace: Trace, target: ResolvedTarget | None, layer: str, weights: Tensor | None
) -> Map:
    """What a layer answers most strongly to, whatever the class: its first principal component.

    The activations as a matrix (position, channel), not centred, times its first right singular
    vector v: Σ_k v_k A_k. A singular vector has no sign of its own: here the map's sum is
    positive. Needs neither a target nor gradients. Returns (*space) on the layer's grid.

    Misleads
    --------
    It is the same for every class, so it explains no decision: it shows what stands out to the
    layer, which may be the background. Where two components are equally strong, either is found.
    """
    if weights is None:
        # Of a whole image the component itself is found, from the smaller of two matrices.
        values = trace.once(("eigen_cam", layer), lambda: _first_component(trace.activation(layer)))
    else:
        values = weighted(trace.activation(layer), weights)
    return Map(values, signed=bool(values.min() < 0))


def _first_component(activation: Tensor) -> Tensor:
    """Return activations (channel, *space) along their first principal direction, (*space)."""
    flat = activation.flatten(1).cpu().double()
    values: Tensor
    # Of the smaller Gram matrix, in double precision, for squared singular values lose digits.
    if flat.shape[0] <= flat.shape[1]:
        values = flat.T @ torch.linalg.eigh(flat @ flat.T)[1][:, -1]
    else:
        squares, vectors = torch.linalg.eigh(flat.T @ flat)
        values = vectors[:, -1] * squares[-1].clamp(min=0).sqrt()
    total = values.sum()
    if total.abs() <= 1e-9 * values.abs().sum():
        total = values[values.abs().argmax()]
    values = -values if total < 0 else values
    return values.reshape(activation.shape[1:]).to(activation)

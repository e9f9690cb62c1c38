"""Class activation maps without gradients: each channel's weight from a pass of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from napari_neuroscope.engine.images.grid import resample
from napari_neuroscope.engine.methods.cams import weighted
from napari_neuroscope.engine.methods.interface import CHANNELS, Map, Needs, PassCount, Step, method
from napari_neuroscope.engine.methods.interface.shared_options import Baseline, Batch, Relu
from napari_neuroscope.engine.passes.baselines import baseline_of
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace
from napari_neuroscope.engine.passes.variants import Passes

_CAM = Needs.LAYER | Needs.POSITIONS | Needs.TARGET
# So much of the weight of all channels in one of them makes the map that channel.
_NEARLY_ALL = 0.99
# More than the batch that was asked for would no longer be that batch.
_MOST_TIMES = 4


@method(
    "Score-CAM",
    family="cam",
    needs=_CAM,
    reference="Wang et al., CVPR 2020 workshop, doi:10.1109/CVPRW50498.2020.00020",
    instead=("rise",),
    passes=PassCount(forward=CHANNELS),
)
def score_cam(
    trace: Trace,
    targets: Sequence[ResolvedTarget],
    layer: str,
    *,
    baseline: Baseline = "zero",
    batch: Batch = 16,
) -> Iterator[Step]:
    """Where a layer holds evidence, by how well the class is seen through each of its channels.

    Each channel, resampled linearly to the input and brought to 0..1, is a mask M_k; the rest is
    ``baseline``: x_k = b + M_k (x − b). relu(Σ_k w_k A_k) with w = softmax over the channels of
    T(x_k) − T(b); T(b), the same for all, falls out. The paper's b is zero. Channels that are the
    same everywhere mask nothing and have no weight. Returns (*space) on the layer's grid.

    Cost
    ----
    They serve all targets. Channels that are the same everywhere take none.

    Misleads
    --------
    The softmax depends on the scale of T: of a sum over a large region it leaves one channel
    alone, of a probability it makes all weights alike. Ask for the mean over the region. A masked
    image is unlike any that the network was trained on.
    """
    activation, grid = trace.activation(layer), trace.prepared.grid
    x = trace.input
    b = baseline_of(trace, baseline)
    layer_grid = trace.grid_of_layer(layer)
    flat = activation.flatten(1)
    channels = (flat.amax(1) > flat.amin(1)).nonzero()[:, 0]
    passes = Passes(trace, targets, batch)
    scores = activation.new_full((len(targets), len(activation)), -torch.inf)

    def maps() -> list[Tensor | Map]:
        # Without a channel to look through, nothing has weight.
        weights = scores.softmax(1) if scores.isfinite().any() else torch.zeros_like(scores)
        return [
            Map(weighted(activation, of_target).relu(), notes=(*passes.notes, *_alone(of_target)))
            for of_target in weights
        ]

    if not len(channels):
        yield Step(1, 1, maps)

    def through(start: int, stop: int) -> Tensor:
        masks = resample(activation[channels[start:stop]], layer_grid, grid, outside=None).flatten(
            1
        )
        low = masks.amin(1, keepdim=True)
        width = masks.amax(1, keepdim=True) - low
        masks = (masks - low) / torch.where(width > 0, width, 1)
        return passes.scores(b + masks.reshape(-1, 1, *grid.shape) * (x - b))

    for start, stop, masked in passes.each(len(channels), through):
        scores[:, channels[start:stop]] = masked.to(scores)
        yield Step(stop, len(channels), maps)


def _alone(weights: Tensor) -> tuple[str, ...]:
    """Return what is to be said where the softmax leaves one channel of several."""
    if len(weights) == 1 or float(weights.max()) < _NEARLY_ALL:
        return ()
    return (
        f"channel {int(weights.argmax())} has nearly all of Score-CAM's weight: of large scores "
        f"the softmax leaves one; explain the mean over the region",
    )


@method(
    "Ablation-CAM",
    family="cam",
    needs=_CAM | Needs.RESUMED,
    reference="Desai and Ramaswamy, WACV 2020, doi:10.1109/WACV45572.2020.9093360",
    signed=lambda options: not options["relu"],
    instead=("score_cam", "rise"),
    passes=PassCount(forward=1, behind=CHANNELS + 3),
)
def ablation_cam(
    trace: Trace,
    targets: Sequence[ResolvedTarget],
    layer: str,
    *,
    relu: Relu = True,
    batch: Batch = 16,
) -> Iterator[Step]:
    """Where a layer holds evidence, by how far the score falls without each of its channels.

    relu(Σ_k w_k A_k) with w_k = (T − T_k) / |T|, T_k with channel k set to zero; without ``relu``
    the map keeps what speaks against the class. The paper divides by T, which would turn the map
    of a negative score round; where T is 0 nothing is divided. Returns (*space) on the layer's
    grid.

    Cost
    ----
    They serve all targets. Channels that are zero everywhere take none. The pass forward and two
    behind the layer check that the network can be gone on with from there.

    Misleads
    --------
    Channels that stand in for each other lose little one by one, and get little weight though they
    matter together. Zero is no absence in a layer whose values are of both signs: choose one
    behind a relu.
    """
    activation = trace.activation(layer)
    go_on = trace.resumed(layer)
    passes = Passes(trace, targets, batch * _times_smaller(trace, layer))
    whole = passes.scores_behind(go_on, activation[None]).to(activation)
    size = torch.where(whole == 0, 1, whole.abs())
    weights = activation.new_zeros(len(targets), len(activation))

    def maps() -> list[Tensor | Map]:
        cams = (weighted(activation, of_target) for of_target in weights)
        return [Map(cam.relu() if relu else cam, notes=passes.notes) for cam in cams]

    # A channel that is zero already takes nothing away, nor does one that is not read.
    taken = activation.flatten(1).any(1) & (not trace.layers_run[layer].silent)
    channels = taken.nonzero()[:, 0]
    if not len(channels):
        yield Step(1, 1, maps)

    def without(start: int, stop: int) -> Tensor:
        ablated = channels[start:stop]
        values = activation.expand(len(ablated), *activation.shape).clone()
        values[torch.arange(len(ablated), device=ablated.device), ablated] = 0
        return passes.scores_behind(go_on, values)

    for start, stop, scores in passes.each(len(channels), without):
        weights[:, channels[start:stop]] = (whole - scores.to(whole)) / size
        yield Step(stop, len(channels), maps)


def _times_smaller(trace: Trace, layer: str) -> int:
    """Return how many times less than a whole pass takes one behind the layer, at most 4 times.

    As many times more inputs go through it at once, in the same memory.
    """
    graph = trace.layers_run
    names = list(graph)
    sizes = [math.prod(graph[name].output_shape) for name in names]
    behind = max(sizes[names.index(layer) :])
    return min(_MOST_TIMES, max(1, max(sizes) // max(behind, 1)))

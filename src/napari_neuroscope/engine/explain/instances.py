"""Every instance of a label image asked about: a table, from one pass forward."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from napari_neuroscope.engine.errors import CallbackError, NeuroscopeError, Progress, no_progress
from napari_neuroscope.engine.explain.maps import choose_layers, passing_errors
from napari_neuroscope.engine.frameworks.base import Capability
from napari_neuroscope.engine.images.axes import in_read_order
from napari_neuroscope.engine.images.grid import Grid, resample
from napari_neuroscope.engine.images.preprocessing import as_array
from napari_neuroscope.engine.methods.interface import Method, Needs
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.passes.target import Instance, ResolvedTarget, Score, Target
from napari_neuroscope.engine.passes.trace import Trace

_BATCH_BYTES = 256 << 20
_MOST_AT_ONCE = 32


@dataclass(frozen=True)
class InstanceAnswer:
    """What a network says of one instance, and where it looks for that.

    Attributes
    ----------
    label
        The instance's number in the label image.
    class_
        The class predicted at most of its pixels; "" where the network saw none of them.
    probability
        The mean probability of that class over its pixels.
    value
        T, the sum of the class's score over the instance.
    mean_score
        The same as a mean, which doesn't grow with the instance.
    inside, near
        The share of the map's absolute values that lies on the instance, and within the margin
        around it or on it; NaN where the map is zero everywhere.
    channels
        The layer's channels with the highest relevance Σ_i g_k(i) A_k(i), the highest first.
    """

    label: int
    class_: str
    probability: float
    value: float = math.nan
    mean_score: float = math.nan
    inside: float = math.nan
    near: float = math.nan
    channels: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class _Seen:
    """An instance with its pixels: a mask over a part of the image."""

    label: int
    box: tuple[slice, ...]
    pixels: np.ndarray
    index: int
    probability: float


def explain_instances(
    network: Network,
    image: Any,
    labels: Any,
    method: str = "grad_cam",
    layer: str | None = None,
    *,
    score: Score = "logit",
    margin: float = 5,
    strongest: int = 3,
    progress: Progress = no_progress,
    **options: Any,
) -> list[InstanceAnswer]:
    """Ask about every instance of a label image: which class it is, and what speaks for it.

    Equal to `explain` with the region ``Instance(labels, label)`` for each, but from one pass
    forward and few batched passes back.

    Parameters
    ----------
    network
        A segmentation network.
    image
        As `explain` takes it.
    labels
        Whole numbers on the image's grid (*space); zero and below are background.
    method
        The method whose map is measured.
    layer
        The layer of the map and of the channels. None: the last with positions.
    score
        As in `Target`.
    margin
        How far around an instance is near, in pixels; where the spec's pixel_size says that they
        are farther apart along some axis, fewer of them there.
    strongest
        How many channels are named.
    progress
        Called with (done, total, what) as the work goes on; it may raise `Cancelled`.
    **options
        The method's own options.

    Returns
    -------
    list of InstanceAnswer
        In the order of the labels.

    Raises
    ------
    NeuroscopeError
        Where something asked for does not exist or does not go together: one sentence.
    """
    with torch.inference_mode(False), torch.no_grad():
        try:
            return list(
                _answers(
                    network,
                    as_array(in_read_order(image, network.spec, network.channels)),
                    np.asarray(labels),
                    methods[method],
                    layer,
                    score,
                    margin,
                    strongest,
                    passing_errors(progress),
                    options,
                )
            )
        except CallbackError as stop:
            raise stop.reason from None


def _answers(
    network: Network,
    array: np.ndarray,
    labels: np.ndarray,
    chosen: Method,
    layer: str | None,
    score: Score,
    margin: float,
    strongest: int,
    progress: Progress,
    options: dict[str, Any],
) -> Iterator[InstanceAnswer]:
    if network.spec.task != "segmentation":
        raise NeuroscopeError(
            "Instances are for segmentations: a classifier answers once for the whole image."
        )
    if margin < 0:
        raise NeuroscopeError(f"The margin is 0 pixels or more, not {margin:g}.")
    if refusal := network.why_not(chosen, options):
        raise NeuroscopeError(refusal)
    checked = chosen.check_options(options)
    network.discover(array, progress)
    needs_layer = Needs.LAYER in chosen.needs_with(checked)
    names = choose_layers(network, chosen, layer if needs_layer else None, checked)
    if not needs_layer and (layer := layer or network.layers.last_with_positions()):
        # The map needs none, but its channels can be told all the same.
        names = network.layers.select(layer)
    if len(names) > 1:
        raise NeuroscopeError("Instances are asked about with one layer; name a single one.")

    with network.frozen():
        trace = network.trace(array, names, keep="fit", progress=progress)
        # Says what is wrong with the answer as a whole, before any instance.
        trace.resolve(Target(0, score=score))
        seen = _seen(trace, labels)
        per_target = max(network.bytes_of_layers(trace.prepared.input), 1)
        size = min(max(1, _BATCH_BYTES // per_target), _MOST_AT_ONCE)
        ask = _Asker(trace, chosen, names[0] if names else None, checked, margin, strongest)
        for start in range(0, len(seen), size):
            some = seen[start : start + size]
            resolved = [_resolved(trace, labels, instance, score) for instance in some]
            yield from ask(some, resolved)
            progress(start + len(some), len(seen), "Instances")


def _seen(trace: Trace, labels: np.ndarray) -> list[_Seen]:
    """Find the instances, each with the class that is predicted at most of its pixels."""
    image = trace.prepared.image
    if labels.shape != image.shape:
        raise NeuroscopeError(
            f"The label image has shape {labels.shape}, but the image {image.shape}; they must be "
            f"equal."
        )
    if labels.dtype.kind not in "biu":
        raise NeuroscopeError(f"A label image holds whole numbers, not {labels.dtype}.")
    # Labels may be few and far between: they are counted anew.
    numbers, compact = np.unique(labels, return_inverse=True)
    compact = compact.reshape(labels.shape) + 1
    if not (numbers > 0).any():
        raise NeuroscopeError("The label image has no instance: all of it is background.")
    probabilities = resample(trace.outputs.probabilities, trace.output_grid, image).cpu().numpy()
    scores = resample(trace.outputs.scores, trace.output_grid, image)
    predicted = scores.nan_to_num().argmax(0).cpu().numpy()
    unseen = scores[0].isnan().cpu().numpy()
    seen = []
    for number, box in enumerate(ndimage.find_objects(compact), 1):
        if numbers[number - 1] <= 0:
            continue
        pixels = compact[box] == number
        seen_pixels = pixels & ~unseen[box]
        index, probability = -1, math.nan
        if seen_pixels.any():
            index = int(np.bincount(predicted[box][seen_pixels]).argmax())
            probability = float(probabilities[(index, *box)][seen_pixels].mean())
        seen.append(_Seen(int(numbers[number - 1]), box, pixels, index, probability))
    return seen


def _resolved(
    trace: Trace, labels: np.ndarray, instance: _Seen, score: Score
) -> ResolvedTarget | None:
    """Return an instance as a target; None where the network's output has nothing of it."""
    if instance.index < 0:
        return None
    try:
        return trace.resolve(Target(instance.index, Instance(labels, instance.label), score))
    except NeuroscopeError:
        # All else was found to be right: it is too small for a position of the output.
        return None


@dataclass(frozen=True, eq=False)
class _Asker:
    """Answers for some instances at once."""

    trace: Trace
    chosen: Method
    layer: str | None
    options: dict[str, Any]
    margin: float
    strongest: int

    def __call__(
        self, some: list[_Seen], resolved: list[ResolvedTarget | None]
    ) -> Iterator[InstanceAnswer]:
        trace = self.trace
        targets = [target for target in resolved if target is not None]
        pulled = [self.layer] if self.layer is not None and self._has_gradient(self.layer) else []
        measured: dict[Any, dict[str, Any]] = {}
        for group in trace.together(targets, pulled, briefly=True) if pulled else [targets]:
            for target in group:
                instance = some[resolved.index(target)]
                inside, near = self._shares(target, instance)
                measured[target.key] = {
                    "value": (value := trace.value(target)),
                    "mean_score": value / _count(target), "inside": inside, "near": near,
                    "channels": self._channels(target, pulled[0]) if pulled else (),
                }  # fmt: skip
                trace.forget(target)
        for instance, asked in zip(some, resolved, strict=True):
            name = trace.network.spec.class_name(instance.index) if instance.index >= 0 else ""
            shares = {} if asked is None else measured[asked.key]
            yield InstanceAnswer(instance.label, name, instance.probability, **shares)

    def _has_gradient(self, layer: str) -> bool:
        network = self.trace.network
        return Capability.GRADIENTS in network.capabilities and network.layers[layer].differentiable

    def _channels(self, target: ResolvedTarget, layer: str) -> tuple[int, ...]:
        activation, gradient = self.trace.activation(layer), self.trace.gradient(target, layer)
        relevance = (activation.flatten(1) * gradient.flatten(1)).sum(1)
        return tuple(relevance.argsort(descending=True, stable=True)[: self.strongest].tolist())

    def _shares(self, target: ResolvedTarget, instance: _Seen) -> tuple[float, float]:
        """Return the share of the map on an instance, and on it and around it."""
        trace, image = self.trace, self.trace.prepared.image
        needs = self.chosen.needs_with(self.options)
        needed = self.layer if Needs.LAYER in needs else None
        made = self.chosen(trace, target, needed, **self.options)
        if made.values.ndim == len(made.axes):
            raise NeuroscopeError(f"{self.chosen.title} makes no map; choose a method that does.")
        grid = made.lies_on(trace.prepared.grid)
        fine = resample(made.values.float(), grid, image, outside=0.0).abs()
        weights = fine.reshape(-1, *image.shape).sum(0).cpu().numpy()
        total = float(weights.sum(dtype=np.float64))
        if not total > 0:
            return math.nan, math.nan
        inside = float(weights[instance.box][instance.pixels].sum(dtype=np.float64))
        wide, pixels = _dilated(instance, self.margin, image, trace.network.spec.steps)
        return inside / total, float(weights[wide][pixels].sum(dtype=np.float64)) / total


def _dilated(
    instance: _Seen, margin: float, image: Grid, steps: Sequence[float]
) -> tuple[tuple[slice, ...], np.ndarray]:
    """Return an instance grown by all pixels that are no farther from it than the margin.

    Pixels are `steps` apart along each axis.
    """
    each = [math.ceil(margin / step) for step in steps]
    wide = tuple(
        slice(max(part.start - by, 0), min(part.stop + by, size))
        for part, size, by in zip(instance.box, image.shape, each, strict=True)
    )
    pixels = np.zeros([part.stop - part.start for part in wide], bool)
    inner = tuple(
        slice(part.start - outer.start, part.stop - outer.start)
        for part, outer in zip(instance.box, wide, strict=True)
    )
    pixels[inner] = instance.pixels
    return wide, ndimage.distance_transform_edt(~pixels, sampling=steps) <= margin


def _count(target: ResolvedTarget) -> int:
    """Return how many positions of the output a target has."""
    return 1 if target.positions is None else len(target.positions[0])

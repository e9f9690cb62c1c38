"""Whether a network answers probabilities whose activation is not seen: said, or measured.

Programs, functions and activations of other kinds, such as a hard sigmoid, show no end that could
be cut; but what lies in 0..1 for all inputs is no logit. A package may say so of its network, and is
then believed as far as the network agrees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice

import torch
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.passes.output.outputs import Outputs
from napari_neuroscope.engine.spec.model_spec import ModelSpec

MEASURED = (
    "the network's answers lie in 0..1 for all inputs that were tried, and are taken for "
    "probabilities: if they are none, say output.activation: none"
)
TOLD = (
    "the package says that the network's answers lie in 0..1, and they are taken for probabilities: "
    "if they are none, say output.activation: none"
)
CONTRADICTED = (
    "the package says that the network's answers lie in 0..1, but it gives others as well, and they "
    "are taken for scores: if they are probabilities, say output.activation: sigmoid or softmax"
)
_SIGNED = 3.0
# Of probabilities in half precision or whole numbers.
_ROUNDED, _EXACT = 1e-2, 1e-3
# Images in 0..1, of both signs, and in 0..255.
_SCALES = (1.0, _SIGNED, 255.0, -255.0)
# Of those, the scales that images have once they are normalised.
_USUAL = 2


def with_measured_end(
    spec: ModelSpec,
    layers: LayerGraph,
    outputs: Outputs,
    ask: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    told: bool = False,
) -> ModelSpec:
    """Return the spec, with ``output.activation`` where the answers are probabilities.

    Parameters
    ----------
    spec, layers
        What is known of the network.
    outputs
        Its answer to an input, as it is.
    ask
        Returns its answer to another input of the same shape.
    x
        The input (1, channel, *space).
    told
        Whether the network comes with the word that its answers lie in 0..1.
    """
    if layers.final_activation is not None or spec.output.activation is not None:
        return spec
    if told:
        return _with_told_end(spec, outputs, ask, x)
    if not _are_probabilities(outputs.raw):
        return spec
    if outputs.ends_in is not None and not _is_rounded(outputs.raw):
        # Each answer shows that it is a softmax's.
        return spec
    answers = []
    for trial in _trials(x):
        try:
            answer = ask(trial)
        except NeuroscopeError:
            return spec
        if not _are_probabilities(answer):
            return spec
        answers.append(answer)
    axis = spec.output.axis_of("c", min(1, outputs.raw.ndim - 1))
    of_classes = outputs.raw.shape[axis] > 1 if outputs.raw.ndim else False
    softmax = of_classes and all(_sums_to_one(trial, axis, _ROUNDED) for trial in answers)
    if softmax and all(_sums_to_one(trial, axis, _EXACT) for trial in (outputs.raw, *answers)):
        return spec
    if not softmax and all(map(_sums_along_an_axis, answers)):
        return spec
    # A network that answers the same always says nothing of its end.
    if all(bool((answer == outputs.raw).all()) for answer in answers):
        return spec
    return spec.with_output(activation="softmax" if softmax else "sigmoid")


def _with_told_end(
    spec: ModelSpec, outputs: Outputs, ask: Callable[[Tensor], Tensor], x: Tensor
) -> ModelSpec:
    """Return the spec with an end in probabilities, unless an answer to a usual input is none."""
    answers = [outputs.raw]
    # What lies far from the images of training need not be answered within the range.
    for trial in islice(_trials(x), _USUAL):
        with suppress(NeuroscopeError):
            answers.append(ask(trial))
    if not all(_are_probabilities(answer, _EXACT) for answer in answers):
        return spec
    axis = spec.output.axis_of("c", min(1, outputs.raw.ndim - 1))
    of_classes = outputs.raw.ndim > 0 and outputs.raw.shape[axis] > 1
    softmax = of_classes and all(_sums_to_one(answer, axis, _ROUNDED) for answer in answers)
    return spec.with_output(activation="softmax" if softmax else "sigmoid")


def _are_probabilities(output: Tensor, tolerance: float = 0.0) -> bool:
    within = (output >= -tolerance).all() and (output <= 1 + tolerance).all()
    return bool(torch.isfinite(output).all() and within)


def _is_rounded(output: Tensor) -> bool:
    """Whether values are of half precision, so that other answers may sum to less exactly one."""
    return any(bool((output.to(half).to(output.dtype) == output).all())
               for half in (torch.bfloat16, torch.float16))  # fmt: skip


def _sums_along_an_axis(output: Tensor) -> bool:
    """Whether values sum to one along an axis, as weights of places do that are no classes'."""
    return any(_sums_to_one(output, axis, _EXACT) for axis, n in enumerate(output.shape) if n > 1)


def _sums_to_one(output: Tensor, axis: int, tolerance: float) -> bool:
    total = output.float().sum(axis)
    return torch.allclose(total, torch.ones_like(total), atol=tolerance)


def _trials(x: Tensor) -> Iterator[Tensor]:
    random = torch.Generator().manual_seed(0)
    for scale in _SCALES:
        make = torch.randn if scale == _SIGNED else torch.rand
        yield (scale * make(x.shape, generator=random)).to(x)

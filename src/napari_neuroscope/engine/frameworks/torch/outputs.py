"""Which of a network's outputs is explained, and which ones it offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields as fields_of
from dataclasses import is_dataclass
from typing import Any

import torch
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.frameworks.common import sums_to_one_along
from napari_neuroscope.engine.frameworks.output_choice import (
    HOLDS_LABELS,
    OfferedOutput,
    no_tensor,
    output_at,
)
from napari_neuroscope.engine.spec.model_spec import ModelSpec


def choose_output(answer: Any, index: str | int | None) -> Tensor:
    """Return the output that is explained, of a tensor, dict, tuple or dataclass."""
    if isinstance(answer, Tensor):
        if not answer.is_floating_point():
            raise NeuroscopeError(HOLDS_LABELS)
        return answer
    named = _named_outputs(answer, index)
    if named is not None:
        if index is None:
            usual = [key for key in ("out", "logits") if isinstance(named.get(key), Tensor)]
            index = next(
                iter([*usual, *(k for k, v in named.items() if isinstance(v, Tensor))]), ""
            )
        if index not in named or named[index] is None:
            has = (
                f"its outputs are {', '.join(f'“{k}”' for k in named)}" if named else "it has none"
            )
            asked = f" “{index}”" if index != "" else " that is a tensor"
            raise NeuroscopeError(
                f"The network has no output{asked}: {has}; set the spec's output.index."
            )
        return choose_output(named[index], None)
    if isinstance(answer, list | tuple) and answer:
        return choose_output(output_at(answer, index), None)
    raise no_tensor(answer)


def offered_outputs(answer: Any) -> list[OfferedOutput]:
    """Return the outputs of a pass with gradients; those that are no tensor are left out."""
    named = _named_outputs(answer, None)
    if named is None and isinstance(answer, list | tuple):
        named = dict(enumerate(answer))
    tensors: dict[Any, Tensor] = {}
    for key, value in (named or {}).items():
        first = value
        while isinstance(first, list | tuple) and first:
            first = first[0]
        if isinstance(first, Tensor) and isinstance(key, str | int):
            tensors[key] = first
    return [
        OfferedOutput(
            key, tuple(tensor.shape), tensor.is_floating_point(),
            any(_computed_from(later, tensor) for later in tensors.values()
                if later.shape != tensor.shape),
        )
        for key, tensor in tensors.items()
    ]  # fmt: skip


def _computed_from(later: Tensor, earlier: Tensor) -> bool:
    """Whether a tensor is computed from another."""
    if later.grad_fn is None or earlier.grad_fn is None or not later.is_floating_point():
        return False
    (gradient,) = torch.autograd.grad(later.sum(), earlier, retain_graph=True, allow_unused=True)
    return gradient is not None


def _named_outputs(answer: Any, index: str | int | None) -> Mapping[Any, Any] | None:
    """Return outputs by name: of a dict, a dataclass, or a named tuple that is asked by name."""
    if isinstance(answer, Mapping):
        return answer
    if isinstance(answer, tuple):
        fields = getattr(answer, "_fields", ())
        return dict(zip(fields, answer, strict=True)) if index in fields else None
    if is_dataclass(answer) and not isinstance(answer, type):
        return {field.name: getattr(answer, field.name) for field in fields_of(answer)}
    if hasattr(answer, "__dict__") and vars(answer):
        return dict(vars(answer))
    return None


def with_batch(output: Tensor, given: Tensor, spec: ModelSpec) -> Tensor:
    """Return an answer with its batch of one, where the network squeezed that away."""
    batch = spec.input.axes.find("b")
    if batch < 0 or given.shape[batch] != 1 or spec.output.axes is not None:
        return output
    if output.ndim == 0:
        return output.reshape(1, 1)
    return output if output.shape[0] == 1 else output[None]


def results_agree(several: Tensor | None, single: Tensor | None) -> bool:
    """Whether each answer of a batch is the network's own, as far as rounding goes."""
    if several is None or single is None:
        return several is single
    if several.shape[1:] != single.shape[1:]:
        return False
    most = 1e-4 * float(single.abs().max())
    return bool(torch.allclose(several, single.expand_as(several), rtol=1e-3, atol=most))


def sums_to_one(values: Tensor, spec: ModelSpec) -> bool:
    """Whether values are probabilities over the axis of the classes."""
    batched = "b" in spec.input.axes and values.ndim > 1
    axis = spec.output.axis_of("c", int(batched))
    return sums_to_one_along(values, axis)

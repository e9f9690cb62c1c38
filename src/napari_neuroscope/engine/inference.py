"""What can be found out about a network by asking it: its task, and the sizes that it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from napari_neuroscope.engine.spec import ModelSpec, SizeRule

Ask = Callable[[tuple[int, ...]], Tensor | None]
"""Asks a network about an image of zeros of a spatial shape; None where it fails."""

_SIZES = (64, 128, 224, 256, 32, 299, 384, 512, 28, 448)
_STEPS = (1, 2, 4, 8, 16, 32, 64)


def infer(spec: ModelSpec, ask: Ask, fixed: tuple[int, ...] | None = None) -> ModelSpec:
    """Complete a spec by what the network answers.

    Parameters
    ----------
    spec
        What is known; what it states is left as it is.
    ask
        Asks the network.
    fixed
        The only spatial shape that it takes, where that is known.
    """
    axes = len(spec.input.space)
    size: Any = spec.input.size
    stated_size = size is not None
    if size is None:
        size = fixed or size_rule(ask, axes)
    example = size if isinstance(size, tuple) else _smallest(size, axes, ask)
    answer = ask(example) if example is not None else None
    changes: dict[str, Any] = {}
    if "task" not in spec.model_fields_set and answer is not None:
        changes["task"] = task_of(answer, axes)
    if not stated_size and size is not None and size != SizeRule():
        resize = spec.input.resize
        if "resize" not in spec.input.model_fields_set:
            task = changes.get("task", spec.task)
            # Padding keeps the pixels of a segmentation as they are, where the sizes allow.
            keeps = task == "segmentation" and isinstance(size, SizeRule)
            resize = "pad" if keeps else "stretch"
        changes["input"] = spec.input.model_copy(update={"size": size, "resize": resize})
    return spec.model_copy(update=changes)


def unsaid(stated: ModelSpec, spec: ModelSpec) -> dict[str, str]:
    """Return what only the user can say and has not: fields of the spec, and what they are.

    Parameters
    ----------
    stated
        The spec that was given.
    spec
        The same, completed by what was found out.

    Returns
    -------
    dict
        Of ``classes``, ``normalization`` and ``size``, those that are left to say.
    """
    lacks: dict[str, str] = {}
    if "classes" not in stated.model_fields_set:
        lacks["classes"] = "the names of the classes"
    if "normalization" not in stated.input.model_fields_set:
        lacks["normalization"] = "how images are normalised, if they are"
    sized = "size" in stated.input.model_fields_set or isinstance(spec.input.size, tuple)
    if spec.task == "classification" and not sized:
        lacks["size"] = "the size that it was trained on"
    return lacks


def task_of(answer: Tensor, axes: int) -> str:
    """Return the task that an output is of: one with positions is a segmentation."""
    positions = answer.shape[-axes:] if answer.ndim > axes else ()
    return "segmentation" if positions and max(positions) > 1 else "classification"


def size_rule(ask: Ask, axes: int) -> tuple[int, ...] | SizeRule | None:
    """Return the sizes that a network takes, found by trying; None where none was found."""
    base = next((n for n in _SIZES if ask((n,) * axes) is not None), None)
    if base is None:
        return None

    first, second = ask((base,) * axes), ask((2 * base,) * axes)
    if first is None or second is None:
        return (base,) * axes
    if task_of(first, axes) == "classification":
        growth = 0.0
        if first.shape != second.shape:
            return (base,) * axes
    else:
        growth = (second.shape[-1] - first.shape[-1]) / base

    def works(size: int) -> bool:
        # A size that is cut down on the way and not brought back is no size that it takes.
        answer = ask((size,) * axes)
        return answer is not None and answer.shape[-1] == first.shape[-1] + growth * (size - base)

    step = next((step for step in _STEPS if works(base + step)), base)
    smallest = base
    while smallest - step >= step and smallest > base // 4 and works(smallest - step):
        smallest -= step
    return SizeRule(min=smallest if step > 1 else 1, step=step)


def _smallest(size: SizeRule | None, axes: int, ask: Ask) -> tuple[int, ...] | None:
    rule = size or SizeRule()
    wanted = (rule.smallest_shape((n,) * axes) for n in (64, 128, 224, 256))
    return next((shape for shape in wanted if ask(shape) is not None), None)

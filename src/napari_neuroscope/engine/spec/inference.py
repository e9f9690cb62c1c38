"""What can be found out about a network by asking it: its task, and the sizes that it takes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from torch import Tensor

from napari_neuroscope.engine.spec.answer_shape import Answer, OutputReading, larger, read_answers
from napari_neuroscope.engine.spec.input_spec import SizeRule
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from napari_neuroscope.engine.spec.trial_sizes import trial_sides, usual_shapes

Ask = Callable[[tuple[int, ...]], Tensor | None]
"""Asks a network about an image of zeros of a spatial shape; None where it fails."""

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
    example = next((shape for shape in usual_shapes(size, axes) if _works(ask, shape, size)), None)
    sized = spec.with_input(size=size)
    reading = None if example is None else read(ask, example, sized)
    changes: dict[str, Any] = {}
    if reading is not None:
        if "task" not in spec.model_fields_set and reading.task is not None:
            changes["task"] = reading.task
        # Of another kind than is stated, the output is looked at when the layers are.
        if (
            spec.output.axes is None
            and reading.axes
            and reading.task == changes.get("task", spec.task)
        ):
            changes["output"] = spec.output.model_copy(update={"axes": reading.axes})
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
    is_found_out = spec.input.normalization != stated.input.normalization
    if "normalization" not in stated.input.model_fields_set and not is_found_out:
        lacks["normalization"] = "how images are normalised, if they are"
    sized = "size" in stated.input.model_fields_set or isinstance(spec.input.size, tuple)
    if spec.task == "classification" and not sized:
        lacks["size"] = "the size that it was trained on"
    return lacks


def read(ask: Ask, pixels: tuple[int, ...], spec: ModelSpec) -> OutputReading | None:
    """Return what a network's answer is, to an image of some pixels and to larger ones."""
    answer = ask(pixels)
    if answer is None:
        return None
    answers = [Answer(pixels, tuple(answer.shape))]
    if sum(n > 1 for n in answer.shape) > 1:
        for shape in larger(pixels, spec):
            larger_answer = ask(shape)
            if larger_answer is not None:
                answers.append(Answer(shape, tuple(larger_answer.shape)))
    return read_answers(answers, spec)


def size_rule(ask: Ask, axes: int) -> tuple[int, ...] | SizeRule | None:
    """Return the sizes that a network takes, found by trying; None where none was found.

    Volumes are tried with small cubes, and each axis alone: many networks halve their planes more
    often than their depth.
    """
    tried = ((n, ask((n,) * axes)) for n in trial_sides(axes))
    base, first = next(((n, answer) for n, answer in tried if answer is not None), (0, None))
    if first is None:
        return None
    if axes > 2:
        alone = [_rule_along(ask, (base,) * axes, first, (axis,)) for axis in range(axes)]
        rules = [rule for rule in alone if rule is not None]
        if len(rules) == axes:
            least, steps = (tuple(numbers) for numbers in zip(*rules, strict=True))
            if len(set(rules)) == 1:
                return SizeRule(min=least[0], step=steps[0])
            return SizeRule(min=least, step=steps)
    rule = _rule_along(ask, (base,) * axes, first, range(axes))
    return (base,) * axes if rule is None else SizeRule(min=rule[0], step=rule[1])


def _rule_along(
    ask: Ask, shape: tuple[int, ...], first: Tensor, along: Collection[int]
) -> tuple[int, int] | None:
    """Return the least size and the step of some axes, changed together; None where only one fits.

    Parameters
    ----------
    ask
        Asks the network.
    shape, first
        A shape that it takes, and its answer to that.
    along
        The axes, which are equally long.
    """
    base = next(shape[axis] for axis in along)

    def answer_at(size: int) -> Tensor | None:
        return ask(tuple(size if axis in along else n for axis, n in enumerate(shape)))

    second = answer_at(2 * base)
    if second is None or first.ndim != second.ndim:
        return None
    if _is_list(first) and first.shape != second.shape:
        return None

    def side(answer: Tensor) -> float:
        # However its positions lie: behind each other, or before the channels.
        return float(answer.numel() ** (1 / len(along)))

    growth = (side(second) - side(first)) / base

    def works(size: int) -> bool:
        # A size that is cut down on the way and not brought back is no size that it takes.
        answer = answer_at(size)
        wanted = side(first) + growth * (size - base)
        return answer is not None and abs(side(answer) - wanted) < 1e-6 * max(wanted, 1)

    step = next((step for step in _STEPS if step < base and works(base + step)), base)
    if step > 1 and works(step):
        return step, step
    smallest = base
    while smallest - step >= step and smallest > base // 4 and works(smallest - step):
        smallest -= step
    return (smallest if step > 1 else 1), step


def _is_list(answer: Tensor) -> bool:
    return sum(n > 1 for n in answer.shape) <= 1


def _works(ask: Ask, shape: tuple[int, ...], size: tuple[int, ...] | SizeRule | None) -> bool:
    # The one size that it takes is not asked for twice.
    return isinstance(size, tuple) or ask(shape) is not None

"""Completing a spec by asking the model: its task, and the sizes that it takes."""

from __future__ import annotations

from contextlib import suppress

from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError, OutOfMemoryError
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.passes.batch_trial import ENDS_ALL_TRIALS
from napari_neuroscope.engine.passes.model import Model
from napari_neuroscope.engine.spec import inference
from napari_neuroscope.engine.spec.input_spec import SizeRule
from napari_neuroscope.engine.spec.model_spec import ModelSpec


def complete_spec(model: Model) -> None:
    """Complete a model's spec by its task, and the sizes that it takes."""
    model.find_value_range()
    fixed = model.adapter.example_shape()
    stated = model.spec
    model.spec, has_answered = _inferred(model, stated, fixed)
    if not has_answered and model.adapter.reconsider(stated):
        model.spec, _ = _inferred(model, stated, fixed)


def complete_task(model: Model) -> None:
    """Complete a model's spec by the task alone, where it is not stated.

    A model that answers no image of zeros keeps the task that specs have by default.
    """
    if "task" in model.spec.model_fields_set:
        return
    model.find_value_range()
    stated, fixed = model.spec, model.adapter.example_shape()
    # Of the sizes that it takes nothing is asked, which would take many passes.
    size = stated.input.size or (tuple(fixed[2:]) if fixed else SizeRule())
    with suppress(NeuroscopeError):
        completed, _ = _inferred(model, stated.with_input(size=size), fixed)
        model.spec = completed.model_copy(update={"input": stated.input})


def _inferred(
    model: Model, spec: ModelSpec, fixed: tuple[int, ...] | None
) -> tuple[ModelSpec, bool]:
    """Return the completed spec, and whether the model answered at all."""
    answers = 0
    too_large: OutOfMemoryError | None = None

    def ask(shape: tuple[int, ...]) -> Tensor | None:
        nonlocal answers, too_large
        try:
            x = model.trial_image(shape)
            _, answer = model.output_finder.ask_of_chosen(
                x, spec, lambda s: model.adapter.output(x, s, LayerGraph([], len(shape)))[0]
            )
        except ENDS_ALL_TRIALS:
            raise
        except OutOfMemoryError as error:
            too_large = error
            return None
        except NeuroscopeError:
            return None
        answers += 1
        return answer

    completed = inference.infer(spec, ask, fixed[2:] if fixed else None)
    if not answers and too_large is not None:
        reason = str(too_large)
        if f"“{model.name}" in reason:
            raise too_large
        raise OutOfMemoryError(
            f"“{model.name}” can't be tried, since {reason[:1].lower()}{reason[1:]}"
        ) from too_large
    return completed, answers > 0

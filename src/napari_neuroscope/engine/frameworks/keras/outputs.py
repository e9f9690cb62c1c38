"""Which outputs a Keras model has, and which of them is explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.frameworks.output_choice import (
    HOLDS_LABELS,
    OfferedOutput,
    no_tensor,
    output_at,
)


def offered_outputs(model: Any, given: Any, space: int) -> list[OfferedOutput]:
    """Return the outputs of a model for an input, of `space` spatial axes.

    Shapes have the channels before the positions, wherever the model has them.
    """
    import keras
    import tensorflow as tf

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(given)
        answer = model(given, training=False)
    tensors = {
        key: output
        for key, output in _named(answer, getattr(model, "output_names", None)).items()
        if isinstance(output, tf.Tensor)
    }

    def leads_on(output: Any) -> bool:
        return any(
            later.shape != output.shape
            and later.dtype.is_floating
            and tape.gradient(later, output) is not None
            for later in tensors.values()
            if output.dtype.is_floating
        )

    last = keras.config.image_data_format() == "channels_last"
    return [
        OfferedOutput(
            key,
            _channels_first(tuple(output.shape)) if last and len(output.shape) == space + 2
            else tuple(output.shape),
            output.dtype.is_floating,
            leads_on(output),
        )
        for key, output in tensors.items()
    ]  # fmt: skip


def _named(answer: Any, names: Any) -> dict[str | int, Any]:
    """Return the outputs by what the spec's ``output.index`` calls them."""
    if isinstance(answer, Mapping):
        return dict(answer)
    if not isinstance(answer, list | tuple):
        return {}
    distinct = isinstance(names, list) and len(set(names)) == len(answer)
    return dict(zip(names if distinct else range(len(answer)), answer, strict=False))


def _channels_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[0], shape[-1], *shape[1:-1]


def choose_output(answer: Any, index: str | int | None, names: Sequence[str] | None) -> Any:
    """Return the output that is explained, of a tensor, dict or list."""
    if isinstance(answer, Mapping):
        if index is None:
            index = next((key for key in ("out", "logits") if key in answer), next(iter(answer)))
        if index not in answer:
            raise NeuroscopeError(
                f"The network has no output “{index}”: its outputs are "
                f"{', '.join(f'“{key}”' for key in answer)}; set the spec's output.index."
            )
        return choose_output(answer[index], None, None)
    if isinstance(answer, list | tuple) and answer:
        return choose_output(output_at(answer, index, names), None, None)
    if not hasattr(answer, "op"):
        raise no_tensor(answer)
    if not answer.dtype.is_floating:
        raise NeuroscopeError(HOLDS_LABELS)
    return answer

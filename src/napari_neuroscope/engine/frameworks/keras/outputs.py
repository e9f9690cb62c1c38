"""Which outputs a Keras model has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_neuroscope.engine.frameworks.output_choice import OfferedOutput


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
        key: one
        for key, one in _named(answer, getattr(model, "output_names", None)).items()
        if isinstance(one, tf.Tensor)
    }

    def leads_on(one: Any) -> bool:
        return any(
            other.shape != one.shape
            and other.dtype.is_floating
            and tape.gradient(other, one) is not None
            for other in tensors.values()
            if one.dtype.is_floating
        )

    last = keras.config.image_data_format() == "channels_last"
    return [
        OfferedOutput(
            key,
            _channels_first(tuple(one.shape)) if last and len(one.shape) == space + 2
            else tuple(one.shape),
            one.dtype.is_floating,
            leads_on(one),
        )
        for key, one in tensors.items()
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

"""What TensorFlow and Keras raise, as a sentence that says what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from napari_neuroscope.engine.errors import (
    Cancelled,
    NeuroscopeError,
    OutOfMemoryError,
    shortened,
)
from napari_neuroscope.engine.frameworks.common import (
    CHECK_THE_INPUT,
    IMAGE_IS_TOO_SMALL,
    SIZES_ARE_MULTIPLES,
    size_in_words,
)

_TERMINAL_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@contextmanager
def translated_errors(what: str, place: str, x: Tensor | None) -> Iterator[None]:
    """Turn what a network raises into a sentence.

    Parameters
    ----------
    what
        What is done, such as “forward pass”.
    place
        TensorFlow's name of the device.
    x
        What the network was given, where that is known.
    """
    import tensorflow as tf

    try:
        yield
    except (NeuroscopeError, Cancelled):
        raise
    except Exception as error:
        text = _first_line(error)
        if isinstance(error, tf.errors.ResourceExhaustedError | MemoryError):
            smaller = "a smaller image or fewer layers"
            advice = smaller if "CPU" in place else f'device="cpu", {smaller}'
            raise OutOfMemoryError(
                f"The {what} ran out of memory on {place.strip('/')}; try {advice}."
            ) from error
        if isinstance(error, tf.errors.OperatorNotAllowedInGraphError) or "numpy()" in text:
            raise NeuroscopeError(
                "The network's call() can't be traced: it asks Python about the values of tensors, "
                "as an if or numpy() does; write it with keras.ops or tf.cond."
            ) from error
        named = f"{type(error).__name__}: {text}" if text else type(error).__name__
        given = "" if x is None else f" on {size_in_words(x)}"
        raise NeuroscopeError(
            f"The network's {what} failed{given} with {named}; {_advice(text)}."
        ) from error


def _first_line(error: Exception) -> str:
    """Return the first line that says something: Keras puts its own before it, in colours."""
    lines = [line.strip() for line in _TERMINAL_COLOURS.sub("", str(error)).splitlines()]
    told = [line for line in lines if line and not line.startswith("Exception encountered")]
    return shortened(told[0], 300) if told else ""


def _advice(text: str) -> str:
    if "concat" in text.lower() or "matching shapes" in text or "broadcast" in text:
        return SIZES_ARE_MULTIPLES
    if "too small" in text or "empty output" in text or "Negative dimension" in text:
        return IMAGE_IS_TOO_SMALL
    return CHECK_THE_INPUT

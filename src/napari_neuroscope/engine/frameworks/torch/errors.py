"""What PyTorch raises, as sentences that say what was wrong and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from napari_neuroscope.engine.errors import Cancelled, NeuroscopeError, OutOfMemoryError, shortened
from napari_neuroscope.engine.frameworks.common import (
    CHECK_THE_INPUT,
    IMAGE_IS_TOO_SMALL,
    SIZES_ARE_MULTIPLES,
    size_in_words,
)

NO_GRADIENT = (
    "The network's answer has no gradient: somewhere it detaches, rounds, or runs under "
    "torch.no_grad(); only scores and activations can be shown of it."
)
_REQUESTED_MEMORY = re.compile(r"allocate ([\d.]+ ?\w+)")


@contextmanager
def translated_errors(step: str, x: Tensor) -> Iterator[None]:
    """Turn what a network raises into a sentence.

    Parameters
    ----------
    step
        What fails, in words: ``"forward pass"``.
    x
        The network's input, (1, channel, *space).
    """
    try:
        yield
    except (NeuroscopeError, Cancelled):
        raise
    except Exception as error:
        text = shortened(str(error).strip().split("\n")[0], 300)
        named = f"{type(error).__name__}: {text}" if text else type(error).__name__
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or (
            "out of memory" in text or "allocate memory" in text
        ):
            requested = _REQUESTED_MEMORY.search(str(error))
            advice = (
                "a smaller image or fewer layers"
                if x.device.type == "cpu"
                else 'device="cpu", a smaller image or fewer layers'
            )
            raise OutOfMemoryError(
                f"The {step} ran out of memory on {x.device}"
                f"{f' (it asked for {requested[1]})' if requested else ''}; try {advice}."
            ) from error
        raise NeuroscopeError(
            f"The network's {step} failed on {size_in_words(x)} with {named}; {_advice_for(text)}."
        ) from error


def _advice_for(message: str) -> str:
    """Return what to do about what PyTorch says of an input."""
    if (
        "too small" in message
        or "smaller than" in message
        or "greater than actual input" in message
    ):
        return IMAGE_IS_TOO_SMALL
    if "Sizes of tensors must match" in message or "must match the size of tensor" in message:
        return SIZES_ARE_MULTIPLES
    if "conv3d" in message or "5D input" in message:
        return "it takes volumes, so say input.axes: bczyx in its spec"
    if "conv1d" in message:
        return "it takes signals of one axis, and no image"
    return CHECK_THE_INPUT

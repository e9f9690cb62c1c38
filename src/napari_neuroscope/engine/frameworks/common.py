"""What the frameworks share: axes and devices, what an input's shape tells, and how they refuse."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError, OutOfMemoryError, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.free_memory import free_memory
from napari_neuroscope.engine.spec.model_spec import ModelSpec

_BYTES_OF_A_NUMBER = 4

SIZES_ARE_MULTIPLES = (
    "the sizes that it takes are multiples of a step: say so in the spec's input.size, such as "
    "{min: 32, step: 32}"
)
IMAGE_IS_TOO_SMALL = "the image is smaller than the network's stride: give a larger one"
CHECK_THE_INPUT = "check the spec's input against what the network takes"
"""What to do about a pass that failed."""


def to_axes(x: Tensor, axes: str) -> Tensor:
    """Bring inputs (input, channel, *space) to a network's order of axes."""
    order = "bc" + "".join(axis for axis in axes if axis in "zyx")
    for axis in "bc":
        if axis not in axes:
            x, order = x.squeeze(order.index(axis)), order.replace(axis, "")
    return x if order == axes else x.permute([order.index(axis) for axis in axes])


def size_and_channels(
    shape: Sequence[int | None] | None, axes: str, spec: ModelSpec
) -> dict[str, Any]:
    """Return what the shape of a model's input tells of it that the spec doesn't state.

    Parameters
    ----------
    shape
        Of the input, with None where it leaves a size open.
    axes
        Their order.
    spec
        What is stated; a rule for sizes gives way to a fixed size.
    """
    told: dict[str, Any] = {}
    if shape is None or len(shape) != len(axes):
        return told
    size = tuple(n for n, axis in zip(shape, axes, strict=True) if axis in "zyx")
    if not isinstance(spec.input.size, tuple) and None not in size:
        told["size"] = size
    channels = shape[axes.index("c")] if "c" in axes else 1
    if spec.input.channels is None and channels is not None:
        told["channels"] = channels
    return told


def sums_to_one_along(values: Tensor, axis: int) -> bool:
    """Whether values are probabilities over the axis of the classes."""
    total = values.detach().float().sum(axis)
    return bool(torch.allclose(total, torch.ones_like(total), atol=1e-2))


def parse_device(device: str, kinds: Sequence[str], runtime: str) -> tuple[str, int]:
    """Return the kind of a device, such as “cuda”, and its number.

    Raises
    ------
    NeuroscopeError
        Where the runtime, by its name, has no such device.
    """
    kind, _, number = str(device).partition(":")
    if kind not in kinds or (number and not number.isdigit()):
        raise NeuroscopeError(
            f"{runtime} has no device “{shortened(str(device))}”; choose auto, cpu, cuda or cuda:1."
        )
    return kind, int(number or 0)


def device_of_arrays(index: int) -> torch.device:
    """Return where the engine's arrays lie for a GPU: on the host, of a torch without CUDA."""
    there = torch.cuda.is_available() and index < torch.cuda.device_count()
    return torch.device("cuda", index) if there else torch.device("cpu")


def size_in_words(x: Tensor) -> str:
    """Return what was given to a pass, for a sentence."""
    pixels = " × ".join(str(n) for n in x.shape[2:])
    return f"an input of {x.shape[1]} channels and {pixels} pixels"


def refuse_large_pass(
    shape: Sequence[int], total: int, at_once: int, *, title: str = "the network", advice: str
) -> None:
    """Refuse a pass that takes more memory than there is, or than any network needs.

    Parameters
    ----------
    shape
        Of the input.
    total, at_once
        How many bytes all of its tensors take, and those that surely lie in memory together.
    title, advice
        What people call the network, and what they can do.

    Raises
    ------
    OutOfMemoryError
        Where it does.
    """
    image = _BYTES_OF_A_NUMBER * math.prod(shape)
    if total > max(limits.ALWAYS_PASS, limits.MOST_PASS_GROWTH * image):
        nbytes, reason = total, "more than any network needs"
    elif at_once > limits.ALWAYS_PASS and at_once > (free := free_memory()):
        nbytes, reason = at_once, f"of which {free:,} are free"
    else:
        return
    sides = " × ".join(map(str, shape))
    raise OutOfMemoryError(
        f"A pass of {title} for an input of {sides} would take {nbytes:,} bytes of memory, "
        f"{reason}; {advice}."
    )


def layer_did_not_run(name: str) -> NeuroscopeError:
    """Return what is raised for a layer that a pass left out."""
    return NeuroscopeError(
        f"The layer “{name}” did not run for this image: the network chooses its way by its input."
    )


def digest_of_weights(weights: Iterable[tuple[str, np.ndarray]]) -> str:
    """Return a hash of arrays, each with a text that says its name, type and shape."""
    digest = hashlib.sha256()
    for title, values in weights:
        digest.update(title.encode())
        digest.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()

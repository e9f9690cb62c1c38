"""Options that several methods share, each with its meaning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, WrapValidator

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.methods.interface.option import ChoiceWords
from napari_neuroscope.engine.passes import baselines

PerAxis = int | tuple[int, ...]
"""One number for all axes that the network looks along, or one an axis."""


def along_each(name: str, value: PerAxis, axes: int) -> tuple[int, ...]:
    """Return an option's number along each of so many axes.

    Raises
    ------
    NeuroscopeError
        Where it has neither one number nor one an axis.
    """
    numbers = value if isinstance(value, tuple) else (value,)
    if len(numbers) not in (1, axes):
        raise NeuroscopeError(
            f"The option {name} has {len(numbers)} numbers, but the network looks along {axes} "
            f"axes; give one number, or one an axis."
        )
    return numbers if len(numbers) == axes else numbers * axes


def lengths(name: str, value: PerAxis, steps: Sequence[float]) -> tuple[int, ...]:
    """Return a length along each axis, in pixels.

    Parameters
    ----------
    name, value
        The option. One number counts pixels of the axis where they are closest together: the
        length is the same along every axis, and fewer pixels where they are farther apart.
    steps
        How far apart pixels are along each axis, the closest at 1.

    Raises
    ------
    NeuroscopeError
        Where it has neither one number nor one an axis.
    """
    numbers = along_each(name, value, len(steps))
    if isinstance(value, tuple) and len(value) == len(steps):
        return numbers
    return tuple(max(1, round(n / step)) for n, step in zip(numbers, steps, strict=True))


def _image_or_name(value: Any, named: Callable[[Any], Any]) -> Any:
    return value if hasattr(value, "__array__") else named(value)


Baseline = Annotated[
    baselines.Baseline,
    WrapValidator(_image_or_name),
    ChoiceWords({"mean": "mean colour", "blur": "the image, blurred"}),
    Field(
        description="What stands for “nothing there”: zero as the network takes it, which is black "
        "only where nothing is normalised; black; white; the image's mean of each channel; the "
        "image blurred; or, in code, an image of the same shape.",
    ),
]
Batch = Annotated[
    int,
    Field(
        ge=1,
        title="Inputs at once",
        description="How many inputs go through the network at once; it sets memory and speed, and "
        "not the map.",
    ),
]
Channels = Annotated[
    Literal["max_abs", "l2", "signed_max", "sum", "keep"],
    ChoiceWords(
        {
            "max_abs": "largest size",
            "l2": "length",
            "signed_max": "strongest, with its sign",
            "sum": "sum, with signs",
            "keep": "each for itself",
        }
    ),
    Field(
        title="Image channels",
        description="How the input's channels are joined: by the largest size (max_abs), their "
        "length (l2), the strongest with its sign (signed_max), all with their signs (sum), or not "
        "at all (keep).",
    ),
]
Relu = Annotated[
    bool,
    Field(
        title="Only what speaks for it",
        description="Leave out what speaks against the class, all values below zero.",
    ),
]
Seed = Annotated[
    int,
    Field(
        ge=0,
        le=2**31,
        title="Random seed",
        description="Of the random numbers: the same seed gives the same map.",
    ),
]

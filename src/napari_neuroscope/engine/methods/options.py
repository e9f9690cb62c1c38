"""Options that several methods share, each with its meaning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, WrapValidator

from napari_neuroscope.engine import baselines


def _image_or_name(value: Any, named: Callable[[Any], Any]) -> Any:
    return value if hasattr(value, "__array__") else named(value)


Baseline = Annotated[
    baselines.Baseline,
    WrapValidator(_image_or_name),
    Field(
        description="What stands for “nothing there”: zero as the network takes it, which is black "
        "only where nothing is normalised; black; white; the image's mean of each channel; the "
        "image blurred; or, in code, an image of the same shape."
    ),
]
Batch = Annotated[
    int,
    Field(
        ge=1,
        description="How many inputs go through the network at once; it sets memory and speed, and "
        "not the map.",
    ),
]
Channels = Annotated[
    Literal["max_abs", "l2", "signed_max", "sum", "keep"],
    Field(
        description="How the input's channels are joined: max_abs, the largest size; l2, the "
        "length; signed_max, the strongest with its sign; sum, all with their signs; keep, not at "
        "all."
    ),
]
Relu = Annotated[
    bool, Field(description="Leave out what speaks against the class, all values below zero.")
]
Seed = Annotated[
    int,
    Field(ge=0, le=2**31, description="Of the random numbers: the same seed gives the same map."),
]

"""Options of maps over regions: what the regions show the mean of, and how an image is split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.images.segments import Segmentation
from napari_neuroscope.engine.methods.interface import (
    Choices,
    Count,
    Method,
    Needs,
    PassCount,
    Workload,
)
from napari_neuroscope.engine.methods.interface.catalogue import methods
from napari_neuroscope.engine.methods.interface.pass_count import PassNumbers

PAPER = "Schorr et al., Appl. Sci. 2021, doi:10.3390/app11052199"
SCORES = ("score_map", "probability")
"""The bases that are of the network's answer."""
SPLIT = Segmentation()


def _is_over_regions(chosen: Method) -> bool:
    """Whether a method's map is over regions already: of a base, or of an image that it splits."""
    return "base" in chosen.options or Needs.PLANE in chosen.needs


def _bases() -> list[str]:
    """Return the attributions whose mean can be taken: maps of a target."""
    attributions = [
        name
        for name, method in methods.items()
        if "segmentation" in method.tasks
        and Needs.TARGET in method.needs
        and not _is_over_regions(method)
    ]
    return list(dict.fromkeys([*SCORES, *attributions]))


Base = Annotated[
    str,
    Choices(_bases),
    Field(
        title="Mean of",
        description="What the regions show the mean of: the target's score, its probability, or "
        "another map with its own defaults, such as Grad-CAM of a layer.",
    ),
]
Scales = Annotated[
    tuple[Annotated[float, Field(gt=0, le=1e6)], ...],
    Field(
        min_length=1,
        max_length=32,
        description="The scales at which the image is split; larger ones give larger segments.",
    ),
]
Sigma = Annotated[
    float,
    Field(
        ge=0, le=100, title="Blur", description="How far the image is blurred before it is split."
    ),
]
MinSize = Annotated[
    int,
    Field(
        ge=1, le=1_000_000, title="Least size", description="The fewest pixels that a segment has."
    ),
]
LongestSide = Annotated[
    int,
    Field(ge=8, le=4096, description="To how many pixels a larger image is scaled to be split."),
]
Dilation = Annotated[
    int,
    Field(
        ge=0,
        le=100,
        title="Growth",
        description="The radius of the disk by which each segment grows.",
    ),
]
Area = Annotated[
    int,
    Field(
        ge=0,
        le=1_000_000,
        title="Least new pixels",
        description="A segment that adds fewer pixels than these is passed over.",
    ),
]


def needs_of_base(options: Mapping[str, Any]) -> Needs:
    """Return what the base among the options needs."""
    base = options.get("base", SCORES[0])
    if not isinstance(base, str) or base == "probability":
        return Needs.NOTHING
    chosen = methods[base]
    if _is_over_regions(chosen):
        raise NeuroscopeError(
            f"{chosen.title} is itself a map over regions and can't be their base; choose a map "
            f"such as score_map or grad_cam."
        )
    return chosen.needs_with(chosen.check_options({}))


def _numbers_of_base(workload: Workload) -> PassNumbers:
    base = workload.options["base"]
    if base == "probability":
        return PassNumbers(0, 0, 0)
    method = methods[base]
    if method.passes is None:
        raise NeuroscopeError(f"{method.title} doesn't say how many passes it takes.")
    return method.passes.numbers(replace(workload, options=method.check_options({})))


PASSES_OF_BASE = PassCount(
    forward=Count("0, and those of ``base``", lambda work: _numbers_of_base(work).forward),
    behind=Count("", lambda work: _numbers_of_base(work).behind),
    backward=Count("0, and those of ``base``", lambda work: _numbers_of_base(work).backward),
)
"""What a map over regions takes: what the map takes whose mean it shows."""

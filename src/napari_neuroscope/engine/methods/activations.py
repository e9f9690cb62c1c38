"""What the network sees and what its layers answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.methods.interface import (
    ChoiceWords,
    Count,
    Local,
    Map,
    Needs,
    PassCount,
    Workload,
    method,
)
from napari_neuroscope.engine.methods.interface.result import INTENSITY
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace

Rank = Annotated[
    Literal["index", "mean", "max", "relevance"],
    ChoiceWords({"index": "their own", "max": "largest", "relevance": "share in the score"}),
    Field(
        title="Order",
        description="The order of the channels: their own, or the largest first by mean, by "
        "maximum, or by their share in the target's score.",
    ),
]
ChannelCount = Annotated[
    int,
    Field(
        ge=0,
        title="How many channels",
        description="How many channels are shown, the first by rank; 0 for all.",
    ),
]
OnlyChannels = Annotated[
    tuple[Annotated[int, Field(ge=0)], ...],
    Field(
        title="Only channels",
        description="The numbers of the only channels that are looked at; none for all.",
    ),
]


@method("Input", family="activation", passes=PassCount())
def input(trace: Trace, target: ResolvedTarget | None, layer: str | None) -> Map:
    """The image as the network gets it: resized, cropped or padded, with its own channels.

    Returns (channel, *space) on the input's grid, the normalisation undone, about 0..1.

    Misleads
    --------
    It doesn't: look at it first. A wrong colour order, crop or range shows here, and makes every
    other map worthless.
    """
    shown = trace.prepared.displayable()
    names = ("red", "green", "blue") if trace.prepared.order in ("rgb", "bgr") else ()
    return Map(
        shown, ("channel",), {"channel": names or _numbers(range(len(shown)))}, unit=INTENSITY
    )


def _by_relevance(options: Mapping[str, Any]) -> bool:
    return bool(options.get("rank") == "relevance")


def _needs_of_rank(options: Mapping[str, Any]) -> Needs:
    return Needs.TARGET | Needs.GRADIENTS if _by_relevance(options) else Needs.NOTHING


def _passes_of_rank(workload: Workload) -> int:
    return int(_by_relevance(workload.options))


def _why_not_ranked(options: Mapping[str, Any]) -> str | None:
    # A channel's place would be that of its tile.
    ranked = options.get("rank", "index") != "index"
    return "Channels can't be ranked tile by tile; use rank=index." if ranked else None


@method(
    "Activation",
    family="activation",
    needs=Needs.LAYER | Needs.POSITIONS,
    needs_more=_needs_of_rank,
    passes=PassCount(backward=Count("0, or 1 to rank by relevance", _passes_of_rank)),
    tiles=Local(why_not=_why_not_ranked),
    signed=True,
    reference="Yosinski et al., ICML 2015 workshop, arXiv:1506.06579",
)
def activation(
    trace: Trace,
    target: ResolvedTarget | None,
    layer: str,
    *,
    rank: Rank = "index",
    channels: ChannelCount = 0,
    only: OnlyChannels = (),
) -> Map:
    """The channels of a layer, in their order or the first few by rank.

    A_k as it is. Channels are ranked by their index, mean, maximum, or ``relevance``: Σ_i g_k(i)
    A_k(i), a channel's share in the score to first order. Returns (channel, *space) on the layer's
    grid.

    Misleads
    --------
    A bright channel need not matter for the class: rank by relevance to see those that do.
    """
    values = trace.activation(layer)
    order = list(dict.fromkeys(only)) or list(range(len(values)))
    if max(order) >= len(values):
        raise NeuroscopeError(
            f"The layer “{layer}” has no channel {max(order)}: they are 0 to {len(values) - 1}."
        )
    if rank != "index":
        flat = values.flatten(1)
        if rank == "mean":
            by = flat.mean(1)
        elif rank == "max":
            by = flat.amax(1)
        elif target is None:
            raise NeuroscopeError("Ranking by relevance needs a target: choose a class.")
        else:
            by = (flat * trace.gradient(target, layer).flatten(1)).sum(1)
        order = [order[n] for n in by[order].argsort(descending=True, stable=True).tolist()]
    chosen = order[: channels or None]
    shown: Tensor = values if chosen == list(range(len(values))) else values[chosen]
    return Map(
        shown,
        ("channel",),
        {"channel": _numbers(chosen)},
        signed=bool(shown.min() < 0),
        unit="activation",
    )


def _numbers(of: range | list[int]) -> tuple[str, ...]:
    return tuple(str(number) for number in of)

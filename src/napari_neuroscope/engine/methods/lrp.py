"""Layer-wise relevance propagation: the score shared out, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from napari_neuroscope.engine.errors import in_digits
from napari_neuroscope.engine.frameworks.base import RelevanceRule
from napari_neuroscope.engine.methods.interface import (
    ChoiceWords,
    Count,
    Map,
    Needs,
    PassCount,
    Step,
    method,
)
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace

Rule = Annotated[
    Literal["composite", "z_plus", "gamma", "epsilon"],
    ChoiceWords({"z_plus": "z⁺", "gamma": "γ", "epsilon": "ε"}),
    Field(
        description="How layers share: composite, z⁺ in convolutions and alike in the first; "
        "z⁺ (z_plus), in convolutions by what speaks for a sum alone; γ (gamma), by that more than "
        "the rest; ε (epsilon), in all layers by what is summed. Dense layers share by ε always."
    ),
]
Epsilon = Annotated[
    float,
    Field(
        ge=0,
        title="ε",
        description="What is added to the size of each sum, as a part of the root mean square of "
        "all in its layer: more leaves out what nearly cancels.",
    ),
]
Gamma = Annotated[
    float,
    Field(
        ge=0, title="γ", description="By how much more counts what speaks for a sum; for rule γ."
    ),
]
SumOrKeep = Annotated[
    Literal["sum", "keep"],
    ChoiceWords({"keep": "each for itself"}),
    Field(title="Image channels", description="Add the input's channels up, or keep them."),
]


@method(
    "LRP",
    family="gradient",
    needs=Needs.TARGET | Needs.RELEVANCE,
    signed=True,
    reference="Bach et al., PLOS ONE 2015, doi:10.1371/journal.pone.0130140; Montavon et al., "
    "Explainable AI 2019, doi:10.1007/978-3-030-28954-6_10",
    instead=("integrated_gradients", "occlusion"),
    passes=PassCount(
        forward=1,
        backward=Count("1, on which each layer is run again as its rule asks", lambda workload: 1),
    ),
)
def lrp(
    trace: Trace,
    targets: Sequence[ResolvedTarget],
    layer: str | None,
    *,
    rule: Rule = "composite",
    epsilon: Epsilon = 1e-6,
    gamma: Gamma = 0.25,
    channels: SumOrKeep = "sum",
) -> Iterator[Step]:
    """What share of the score comes from each pixel, for and against the class.

    Relevance begins at the scores s as s · ∂T/∂s, which is T for logits, and goes back layer by
    layer. A sum z_j = Σ_i x_i w_ij + b_j gives each of its inputs a share of its R_j, with
    c_ij = x_i w_ij and (·)⁺, (·)⁻ what is above and below 0:

    - ``epsilon``: R_i = Σ_j c_ij / (z_j ± ε r) R_j, ± the sign of z_j, r the root mean square of z.
    - ``gamma``: as c_ij + γ c_ij⁺ is to z_j + γ (Σ_i c_ij⁺ + b_j⁺), and with ⁻ where z_j < 0.
    - ``z_plus``: as c_ij⁺ is to Σ_i c_ij⁺ + b_j⁺.
    - ``composite``: as ``z_plus``; the first layers share alike, R_j / (inputs of j), whatever x.

    Rules but ``epsilon`` are for convolutions; dense layers, and those that give the scores, share
    by epsilon. A batch norm is merged into the layer before it, else it shares as x_i a_i with
    ε = 0; so do additions and matrix products with constants. A norm of the image's own statistics
    does too, its deviation a constant. Max pooling and what only moves values pass relevance
    where the value came from, other nonlinearities all of it, and of signal · sigmoid or softmax
    the signal gets it. Returns (*space) on the input's grid, or (channel, *space).

    Cost
    ----
    They serve all targets.

    Misleads
    --------
    Biases keep a part, which a note tells; what is left is no share of the whole. With z_plus the
    map hardly changes with the class (Sixt et al. 2020), and first layers that share alike blur
    it by their kernel.
    """
    sharing = RelevanceRule(
        "z_plus" if rule == "composite" else rule, rule == "composite", epsilon, gamma
    )
    x, done = trace.prepared.input, 0
    axes = () if channels == "sum" else ("channel",)
    labels = {axis: tuple(str(number) for number in range(len(x))) for axis in axes}
    relevances = torch.zeros(len(targets), *x.shape, device=trace.outputs.raw.device)
    begun = relevances.new_zeros(len(targets))

    def maps() -> list[Tensor | Map]:
        joined = relevances.sum(1) if channels == "sum" else relevances
        notes = _notes_of_sums(trace, targets, relevances, begun)
        return [
            Map(values, axes, labels, unit="relevance", notes=(note,))
            for values, note in zip(joined, notes, strict=True)
        ]

    for relevance, began in trace.relevance(targets, sharing):
        group = slice(done, done + len(relevance))
        relevances[group], begun[group] = relevance, began
        done = group.stop
        yield Step(done, len(targets), maps)


def _notes_of_sums(
    trace: Trace, targets: Sequence[ResolvedTarget], relevances: Tensor, begun: Tensor
) -> list[str]:
    """Return, for each class, how much of its relevance arrived at the input."""
    sums = torch.stack([relevances.flatten(1).sum(1), begun], 1).tolist()
    spec = trace.network.spec
    return [
        f"the relevance of “{spec.class_name(target.index)}” sums to {in_digits(arrived)} at the input and to "
        f"{in_digits(began)} at the scores: biases and rules keep or add the rest"
        for target, (arrived, began) in zip(targets, sums, strict=True)
    ]

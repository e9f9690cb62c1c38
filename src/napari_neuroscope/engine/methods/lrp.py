"""Layer-wise relevance propagation: the score shared out, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from napari_neuroscope.engine.errors import in_digits
from napari_neuroscope.engine.frameworks.base import RelevanceRule
from napari_neuroscope.engine.methods.interface import Count, Map, Needs, PassCount, Step, method
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace

Rule = Annotated[
    Literal["composite", "z_plus", "gamma", "epsilon"],
    Field(
        description="How layers share: composite, z_plus in convolutions and alike in the first; "
        "z_plus, in convolutions by what speaks for a sum alone; gamma, by that more than the "
        "rest; epsilon, in all layers by what is summed. Dense layers share by epsilon always."
    ),
]
Epsilon = Annotated[
    float,
    Field(
        ge=0,
        description="What is added to the size of each sum, as a part of the root mean square of "
        "all in its layer: more leaves out what nearly cancels.",
    ),
]
Gamma = Annotated[
    float, Field(ge=0, description="By how much more counts what speaks for a sum; for rule gamma.")
]


@method(
    "LRP",
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
    channels: Annotated[
        Literal["sum", "keep"], Field(description="Add the input's channels up, or keep them.")
    ] = "sum",
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
    x, spec, done = trace.prepared.input, trace.network.spec, 0
    relevances = torch.zeros(len(targets), *x.shape, device=trace.outputs.raw.device)
    begun = relevances.new_zeros(len(targets))

    def maps() -> list[Tensor | Map]:
        sums = torch.stack([relevances.flatten(1).sum(1), begun], 1).tolist()
        notes = [
            f"the relevance of “{spec.class_name(target.index)}” sums to {in_digits(arrived)} at "
            f"the input and to {in_digits(began)} at the scores: biases and rules keep or add the "
            f"rest"
            for target, (arrived, began) in zip(targets, sums, strict=True)
        ]
        if channels == "sum":
            together = zip(relevances.sum(1), notes, strict=True)
            return [Map(values, unit="relevance", notes=(note,)) for values, note in together]
        labels = {"channel": tuple(str(number) for number in range(len(x)))}
        return [
            Map(values, ("channel",), labels, unit="relevance", notes=(note,))
            for values, note in zip(relevances, notes, strict=True)
        ]

    for relevance, began in trace.relevance(targets, sharing):
        group = slice(done, done + len(relevance))
        relevances[group], begun[group] = relevance, began
        done = group.stop
        yield Step(done, len(targets), maps)

"""What the tokens of a transformer attend to, followed through its blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.graph.layer_graph import Layer
from napari_neuroscope.engine.graph.token_layout import TokenLayout
from napari_neuroscope.engine.methods.applicability import why_not
from napari_neuroscope.engine.methods.interface import ChoiceWords, Map, Needs, PassCount, method
from napari_neuroscope.engine.methods.interface.result import ATTENTION
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.trace import Trace

Heads = Annotated[
    Literal["mean", "max", "min"],
    ChoiceWords({"max": "largest", "min": "least"}),
    Field(description="How a block's heads are made one: their mean, largest or least attention."),
]
Discard = Annotated[
    float,
    Field(
        ge=0,
        lt=1,
        title="Set to zero",
        description="The share of a block's attention, the lowest, set to zero.",
    ),
]
Residual = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        title="Passed on",
        description="How much of a token goes on past the block's attention.",
    ),
]


@method(
    "Attention rollout",
    family="attention",
    needs=Needs.ATTENTION,
    reference="Abnar and Zuidema, ACL 2020, doi:10.18653/v1/2020.acl-main.385",
    instead=("grad_cam", "score_cam", "rise"),
    passes=PassCount(forward=1),
)
def attention_rollout(
    trace: Trace,
    target: ResolvedTarget | None,
    layer: str | None,
    *,
    heads: Heads = "mean",
    discard: Discard = 0.0,
    residual: Residual = 0.5,
) -> Map:
    """Which patches a vision transformer looks at in the end, whatever the class.

    Of each block b the attention of all heads is made one matrix W_b (query, key), and
    A_b = (1 − r) W_b + r I with ``residual`` r, its rows brought to sum to one. The map is
    v A_B ⋯ A_1 at the patches, v the token that the answer is read of: the class token, the mean
    of several such, or of all patches where those are read; of a last attention that gathers all
    tokens, its own. Class and register tokens take what is missing to a sum of one. Needs neither
    a target nor gradients. Returns (*space) on the grid of the patches.

    Cost
    ----
    It is kept, and serves all options.

    Misleads
    --------
    It is the same for every class, so it explains no decision. It takes attention for evidence,
    values and perceptrons for nothing, and heads that look away for agreement: background tokens
    that serve a network as memory stand out.
    """
    steps = trace.once("attention", lambda: _steps_of(trace))
    fold, weights = steps.fold, steps.heads[heads]
    flow = steps.start
    for block in reversed(weights):
        flow = flow @ _with_residual(block, discard, residual)
    return Map(flow[fold.cells.to(flow.device)].reshape(fold.grid), unit=ATTENTION,
               notes=(f"followed back from {steps.origin}",))  # fmt: skip


def _with_residual(weights: Tensor, discard: float, residual: float) -> Tensor:
    """Return a block's attention, the lowest left out, with what goes on past it."""
    if lowest := int(discard * weights.numel()):
        flat = weights.flatten()
        flat = flat.index_fill(0, flat.topk(lowest, largest=False).indices, 0)
        weights = flat.reshape(weights.shape)
    mixed = (1 - residual) * weights + residual * torch.eye(len(weights), device=weights.device)
    total = mixed.sum(1, keepdim=True)
    return mixed / torch.where(total > 0, total, 1)


@dataclass(frozen=True)
class _Steps:
    """The attention of a pass, of all tokens to all.

    Attributes
    ----------
    fold
        How the tokens lie on their grid.
    heads
        For each way to make the heads one, the weights (token, token) of each block.
    start
        Of which tokens the answer is read, (token,): they sum to one.
    origin
        That in words.
    """

    fold: TokenLayout
    heads: dict[str, list[Tensor]]
    start: Tensor
    origin: str

    @property
    def nbytes(self) -> int:
        return sum(weights.nbytes for blocks in self.heads.values() for weights in blocks)


def _steps_of(trace: Trace) -> _Steps:
    attention = [weights.detach().float() for weights in trace.network.attention(trace.prepared)]
    if not attention:
        raise NeuroscopeError(
            why_not(trace.network, attention_rollout)
            or "Attention rollout saw no attention in this network, though its layers have some: it "
            "is written in a way that is not known here; grad_cam comes nearest."
        )
    count = attention[0].shape[-1]
    # The last may gather all tokens in a few: the way back begins with what those look at.
    *blocks, last = attention
    gathered = last if last.shape[-2] != count and blocks else None
    blocks = blocks if gathered is not None else attention
    tokens = _tokens(trace, count)
    square = all(block.shape[-2:] == (count, count) for block in blocks)
    apart = any(block.ndim > 3 and block.shape[0] > 1 for block in blocks)
    if tokens is None or apart or not square or last.shape[-1] != count:
        sizes = sorted({weights.shape[-1] for weights in attention})
        raise NeuroscopeError(
            f"Attention rollout multiplies the attention of all tokens to all, but in this network "
            f"{' or '.join(map(str, sizes))} of them look at each other at a time, as within "
            f"windows; grad_cam comes nearest."
        )
    assert isinstance(tokens.layout, TokenLayout)
    flat = [block.reshape(-1, count, count) for block in blocks]
    heads = {
        "mean": [block.mean(0) for block in flat],
        "max": [block.amax(0) for block in flat],
        "min": [block.amin(0) for block in flat],
    }
    start = flat[0].new_zeros(count)
    if gathered is not None:
        start += gathered.reshape(-1, count).mean(0)
        origin = "the attention that gathers all tokens"
    elif tokens.read_beside:
        start[list(tokens.read_beside)] = 1 / len(tokens.read_beside)
        numbers = " and ".join(map(str, tokens.read_beside))
        origin = f"what is beside the patches (token {numbers}), which the answer is read of"
    else:
        start[tokens.layout.cells.to(start.device)] = 1 / len(tokens.layout.cells)
        origin = "all patches alike, which the answer is read of"
    return _Steps(tokens.layout, heads, start, origin)


def _tokens(trace: Trace, count: int) -> Layer | None:
    """Return the last layer of tokens, if all from the first attention on are the same `count`."""
    layers = list(trace.layers_run.values())
    attends = [
        layer.kind == "attention" or layer.operation.lower() == "softmax" for layer in layers
    ]
    behind = layers[attends.index(True) :] if any(attends) else []
    tokens = [
        (layer, layer.layout)
        for layer in behind
        if layer.kind in ("add", "normalisation")
        and isinstance(layer.layout, TokenLayout)
        and len(layer.layout.channels) == 1
    ]
    alike = all(
        fold.places == count and torch.equal(fold.cells, tokens[-1][1].cells) for _, fold in tokens
    )
    return tokens[-1][0] if tokens and alike else None

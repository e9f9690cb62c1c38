"""PyTorch: relevance carried back as a gradient, by rules where a plain gradient won't do.

The relevance of values x is R = x · g, and g is what autograd carries. All that adds, moves or picks
values (sums, concatenations, views, max pooling, ReLU) then passes relevance on by its own
gradient, exactly, and operations in place or used again are autograd's business. During one forward
pass convolutions and dense layers, norms and other nonlinearities are recorded as nodes of ours
that know their rules. What else would change relevance is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten
from torch.utils.checkpoint import CheckpointError

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.frameworks.base import RelevancePass, RelevanceRule
from napari_neuroscope.engine.frameworks.torch.lrp.graph_check import (
    PRODUCTS,
    WEIGHTED,
    cannot_be_negative,
    is_gate,
    kind_of,
    refuse,
    touches_input,
)
from napari_neuroscope.engine.frameworks.torch.lrp.rules import (
    LAYERS,
    Sums,
    ratio_of,
    shared,
    shared_alike,
    wide,
)

# --- nodes ----------------------------------------------------------------------------------------


@dataclass
class _RuleInForce:
    """By which rule nodes go now.

    Attributes
    ----------
    rule
        How layers share.
    carrying
        Whether relevance itself is carried now, and not g; behind the first layers alone.
    """

    rule: RelevanceRule = field(default_factory=RelevanceRule)
    carrying: bool = False


@dataclass
class Tape:
    """What one forward pass recorded.

    Attributes
    ----------
    sharing
        What its nodes go by; they know this alone, since a tape that they knew would know them.
    slots
        Where the relevance of what the first layers take arrives, and the places of that.
    nbytes
        The memory of what was kept.
    """

    sharing: _RuleInForce = field(default_factory=_RuleInForce)
    slots: list[tuple[Tensor, GradientEdge]] = field(default_factory=list)
    nbytes: int = 0


class _WeightedLayer(torch.autograd.Function):
    """A convolution or dense layer; `slot` is there where it takes the network's input."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        slot: Tensor | None,
        kept: Tensor,
        sums: Sums,
        sharing: _RuleInForce,
        make: Callable[[], Tensor],
    ) -> Tensor:
        ctx.x, ctx.source, ctx.version, ctx.sums, ctx.sharing = kept, x, x._version, sums, sharing
        ctx.of_input, ctx.gives_scores = slot is not None, False
        ctx.positive = cannot_be_negative(x.grad_fn)
        return make()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        g, x, rule, sums = wide(gradients[0]), wide(ctx.x), ctx.sharing.rule, ctx.sums
        nothing = (None,) * 4
        dense = sums.geometry is None or ctx.gives_scores
        if ctx.of_input and rule.flat_input and not ctx.gives_scores:
            return None, shared_alike(sums, x, g).to(ctx.x.dtype), *nothing
        kind = "epsilon" if dense else rule.convolution
        found = shared(sums, x, g, kind, rule, positive=ctx.positive)
        if ctx.of_input:
            return None, (x * found).to(ctx.x.dtype), *nothing
        return found.to(ctx.x.dtype), None, *nothing


class _PassThrough(torch.autograd.Function):
    """An operation that acts on each value alone: all of the relevance goes on."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        ratio: Tensor,
        value: list[Tensor],
        operation: str,
        sharing: _RuleInForce,
    ) -> Tensor:
        # The value is in a list, so that autograd does not take it for an input that is returned.
        ctx.ratio, ctx.operation, ctx.sharing = ratio, operation, sharing
        return value[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        g = gradients[0]
        return g if ctx.sharing.carrying else g * ctx.ratio, None, None, None, None


# --- recording ------------------------------------------------------------------------------------

# They act on each value alone, or divide it by what it shares with others.
_PASSING = {
    "relu6", "hardtanh", "threshold", "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish",
    "hardsigmoid", "softplus", "softsign", "tanh", "sigmoid", "logsigmoid", "log_sigmoid", "clamp",
    "clamp_min", "clamp_max", "clip", "softshrink", "hardshrink", "tanhshrink", "rrelu",
    "local_response_norm", "normalize", "rms_norm",
}  # fmt: skip
_ARITHMETIC = {"add", "sub", "mul", "div", "truediv", "itruediv", "true_divide"}
# What may be written on a part of a tensor: sums, picks and moves.
_ON_VIEWS = {
    "copy", "fill", "zero", "masked_fill", "add", "sub", "relu", "leaky_relu", "detach",
    "requires_grad", "squeeze", "unsqueeze", "transpose",
}  # fmt: skip
_NORMS = {
    # As the functions of torch itself take them, which an exported network calls.
    "batch_norm": ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum",
                   "eps"),
    "instance_norm": ("input", "weight", "bias", "running_mean", "running_var", "use_input_stats",
                      "momentum", "eps"),
    "layer_norm": ("input", "normalized_shape", "weight", "bias", "eps"),
    "group_norm": ("input", "num_groups", "weight", "bias", "eps"),
}  # fmt: skip


class Recorder(TorchFunctionMode):
    """Let a forward pass record how relevance goes back through it.

    Parameters
    ----------
    operation
        Returns the plain name of a function.
    copying
        Whether to copy what layers take, since something overwrites it.
    """

    def __init__(self, operation: Callable[[Any], str], *, copying: bool) -> None:
        super().__init__()
        self.tape = Tape()
        self._operation, self._copying = operation, copying
        self._kept: list[tuple[Tensor, int]] = []

    @property
    def overwritten(self) -> bool:
        """Whether something that was kept has been changed since."""
        return any(kept._version != version for kept, version in self._kept)

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs, answer = kwargs or {}, None
        followed = [t for t in tree_flatten((args, kwargs))[0]
                    if isinstance(t, Tensor) and t.requires_grad]  # fmt: skip
        if followed:
            operation = self._operation(function)
            if len(followed) == 1:
                answer = self._record(operation, function, args, kwargs, followed[0])
            elif operation in _ARITHMETIC and [isinstance(a, Tensor) for a in args] == [True] * 2:
                answer = self._of_two(operation, function, args, kwargs)
            if answer is None:
                _check_view(operation, function, args, several=len(followed) > 1)
        return function(*args, **kwargs) if answer is None else answer

    def _record(
        self, operation: str, function: Any, args: Any, kwargs: Any, x: Tensor
    ) -> Tensor | None:
        """Return what an operation answers, as a node of ours; None where its own node will do."""
        if operation in LAYERS:
            taken, sums = LAYERS[operation](*args, **kwargs)
            # Weights that depend on the image are no weights.
            if not taken.requires_grad:
                return None
            return self._weighted(taken, sums, lambda: function(*args, **kwargs))
        if operation in _PASSING:
            return self._passing(operation, function, args, kwargs, x)
        if operation in _NORMS or operation in _ARITHMETIC:
            # Nothing of the picture is lost to what brings it to the range that a network wants.
            if touches_input(x.grad_fn):
                return self._passing(operation, function, args, kwargs, x)
            if operation in _NORMS:
                names = getattr(
                    getattr(function, "__code__", None), "co_varnames", _NORMS[operation]
                )
                return self._norm(operation, {**dict(zip(names, args, strict=False)), **kwargs})
        return None

    def _weighted(self, x: Tensor, sums: Sums, make: Callable[[], Tensor]) -> Tensor:
        kept, slot = x.detach(), None
        if self._copying:
            kept = kept.clone()
        self._kept.append((kept, kept._version))
        if touches_input(x.grad_fn):
            # It takes no memory, whatever its shape.
            slot = x.new_zeros(()).expand(x.shape).requires_grad_()
            self.tape.slots.append((slot, get_gradient_edge(x)))
        return _WeightedLayer.apply(x, slot, kept, sums, self.tape.sharing, make)

    def _passing(self, operation: str, function: Any, args: Any, kwargs: Any, x: Tensor) -> Tensor:
        before = x.detach().clone()
        value = function(*(before if one is x else one for one in args),
                         **{k: before if one is x else one for k, one in kwargs.items()})  # fmt: skip
        in_place = before._version > 0
        ratio = ratio_of(value, x.detach() if in_place else before)
        self.tape.nbytes += ratio.nbytes
        answer = _PassThrough.apply(x, ratio, [value], operation, self.tape.sharing)
        return x.copy_(answer) if in_place else answer

    def _of_two(self, operation: str, function: Any, args: Any, kwargs: Any) -> Tensor | None:
        """Return what arithmetic of two followed tensors answers, where only one has relevance."""
        if all(touches_input(one.grad_fn) for one in args):
            # Such as the image less its own mean.
            args = (args[0], args[1].detach())
            return self._passing(operation, function, args, kwargs, args[0])
        return self._gated(function, args, kwargs) if operation == "mul" else None

    def _gated(self, function: Any, args: Any, kwargs: Any) -> Tensor | None:
        """Return signal · gate, where all relevance is the signal's; None where neither is a gate."""
        for number in (1, 0):
            # What is written on must stay what it is.
            in_place = number == 0 and getattr(function, "__name__", "") in ("mul_", "__imul__")
            if is_gate(args[number].grad_fn) and not in_place:
                given = [one.detach() if n == number else one for n, one in enumerate(args)]
                return function(*given, **kwargs)
        return None

    def _norm(self, operation: str, given: dict[str, Any]) -> Tensor:
        """Return a norm as constant multiples of what it takes."""
        x, eps = given["input"], given.get("eps", 1e-5)
        weight, bias = given.get("weight"), given.get("bias")
        own = (
            given.get("training", given.get("use_input_stats", True)) or "running_mean" not in given
        )
        if not own and given["running_mean"] is not None:
            factor = (given["running_var"] + eps).rsqrt()
            factor = factor if weight is None else factor * weight
            offset = -given["running_mean"] * factor
            return self._affine(x, factor, offset if bias is None else offset + bias)
        shape, axes = tuple(x.shape), tuple(range(2, x.ndim))
        if operation == "layer_norm":
            axes = tuple(range(x.ndim - len(given["normalized_shape"]), x.ndim))
        elif operation == "group_norm":
            shape, axes = (len(x), given["num_groups"], -1), (2,)
        elif operation == "batch_norm":
            axes = (0, *axes)
        centred = x.reshape(shape)
        centred = centred - centred.mean(axes, keepdim=True)
        deviation = (centred.detach().square().mean(axes, keepdim=True) + eps).sqrt()
        result = (centred / deviation).reshape(x.shape)
        if operation != "layer_norm":
            along = (-1, *(1,) * (x.ndim - 2))
            weight, bias = (None if one is None else one.reshape(along) for one in (weight, bias))
        result = result if weight is None else result * weight
        return result if bias is None else result + bias

    def _affine(self, x: Tensor, factor: Tensor, offset: Tensor) -> Tensor:
        """Return factor · x + offset: merged into the layer that x comes from, where it can be."""
        along = (-1, *(1,) * (x.ndim - 2))

        def values(of: Tensor) -> Tensor:
            return of * factor.reshape(along) + offset.reshape(along)

        layer: Any = x.grad_fn
        if layer is not None and kind_of(layer) == WEIGHTED:
            sums, source = layer.sums, layer.source
            channels_first = x.ndim == (2 if sums.geometry is None else sums.weight.ndim)
            if channels_first and source._version == layer.version:
                return self._weighted(
                    source, sums.merged(factor, offset), lambda: values(x.detach())
                )
        return values(x)


def _check_view(operation: str, function: Any, args: Any, *, several: bool) -> None:
    """Refuse what is written on a view where the graph does not show what it was."""
    name = getattr(function, "__name__", "")
    in_place = re.fullmatch(r"[a-z]\w*_|__i(add|sub|mul|truediv|floordiv|mod|pow)__", name)
    if not in_place or not args or not isinstance(args[0], Tensor) or not args[0]._is_view():
        return
    kind = {"mul": "Mul", "div": "Div", "itruediv": "Div"}.get(operation, operation)
    if (several and kind in PRODUCTS) or (kind not in PRODUCTS and kind not in _ON_VIEWS):
        refuse(kind, "", several)


# --- pulling back ---------------------------------------------------------------------------------


class TorchRelevance(RelevancePass):
    """A forward pass in PyTorch whose nodes share relevance out.

    Parameters
    ----------
    leaf
        The network's input, (1, channel, *space).
    end
        Where its scores are in the graph.
    tape
        What its nodes go by.
    held
        Holds the network as passes need it, and speaks where one fails.
    nbytes, largest
        The memory of all outputs, and of the largest.
    """

    def __init__(
        self,
        leaf: Tensor,
        end: GradientEdge,
        tape: Tape,
        held: Callable[[], AbstractContextManager[None]],
        *,
        nbytes: int,
        largest: int,
    ) -> None:
        self._leaf, self._end, self._tape, self._held = leaf, end, tape, held
        self.nbytes, self.largest = nbytes + tape.nbytes, largest

    def at_input(self, seeds: Tensor, rule: RelevanceRule) -> Tensor:
        with self._held():
            try:
                return self._at_input(seeds, rule)
            except CheckpointError as error:
                raise NeuroscopeError(
                    "LRP can't go back through a checkpoint, which runs a part of the network again "
                    "where no rules are seen; turn checkpointing off, or use integrated_gradients."
                ) from error

    def _at_input(self, seeds: Tensor, rule: RelevanceRule) -> Tensor:
        slots = [slot for slot, _ in self._tape.slots]
        places = [place for _, place in self._tape.slots]
        self._tape.sharing.rule = rule
        of_leaf, *of_slots = _pulled([self._end], [self._leaf, *slots], [seeds])
        x = self._leaf.detach()
        # What reaches the input beside all layers is still a gradient.
        found = seeds.new_zeros(len(seeds), *x.shape) if of_leaf is None else of_leaf * x
        arrived = [(p, r) for p, r in zip(places, of_slots, strict=True) if r is not None]
        if arrived:
            self._tape.sharing.carrying = True
            try:
                ends, relevance = zip(*arrived, strict=True)
                carried = _pulled(ends, [self._leaf], relevance)[0]
            finally:
                self._tape.sharing.carrying = False
            found = found if carried is None else found + carried
        return found


def _pulled(
    ends: Sequence[GradientEdge], inputs: Sequence[Any], seeds: Sequence[Tensor]
) -> list[Tensor | None]:
    """Pull several seeds (seed, ...) back together; one by one where an operation can't do that."""

    def pull(given: Sequence[Tensor], *, together: bool) -> list[Tensor | None]:
        return list(
            torch.autograd.grad(
                list(ends), list(inputs), list(given), retain_graph=True, allow_unused=True,
                is_grads_batched=together,
            )
        )  # fmt: skip

    count = len(seeds[0])
    if count > 1:
        try:
            return pull(seeds, together=True)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            pass
    rows = [pull([seed[number] for seed in seeds], together=False) for number in range(count)]
    return [
        None if column[0] is None else torch.stack(column) for column in zip(*rows, strict=True)
    ]

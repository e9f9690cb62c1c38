"""Records a forward pass so that its autograd graph carries relevance in place of a gradient."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.autograd.graph import get_gradient_edge
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten

from napari_neuroscope.engine.frameworks.torch.lrp.graph_check import (
    PRODUCTS,
    cannot_be_negative,
    is_gate,
    kind_of,
    refuse,
    touches_input,
)
from napari_neuroscope.engine.frameworks.torch.lrp.nodes import (
    WEIGHTED,
    Tape,
    pass_through,
    weighted_layer,
)
from napari_neuroscope.engine.frameworks.torch.lrp.rules import LAYERS, WeightedSums, ratio_of
from napari_neuroscope.engine.frameworks.torch.tracing.operations import operation_name

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


class RelevanceRecorder(TorchFunctionMode):
    """Let a forward pass record how relevance goes back through it.

    Parameters
    ----------
    copying
        Whether to copy what layers take, since something overwrites it.
    """

    def __init__(self, *, copying: bool) -> None:
        super().__init__()
        self.tape = Tape()
        self._copying = copying
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
            operation = operation_name(function)
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

    def _weighted(self, x: Tensor, sums: WeightedSums, make: Callable[[], Tensor]) -> Tensor:
        kept, slot = x.detach(), None
        if self._copying:
            kept = kept.clone()
        self._kept.append((kept, kept._version))
        if touches_input(x.grad_fn):
            # It takes no memory, whatever its shape.
            slot = x.new_zeros(()).expand(x.shape).requires_grad_()
            self.tape.slots.append((slot, get_gradient_edge(x)))
        return weighted_layer(
            x, slot, kept, sums, self.tape.active_rule, cannot_be_negative(x.grad_fn), make
        )

    def _passing(self, operation: str, function: Any, args: Any, kwargs: Any, x: Tensor) -> Tensor:
        before = x.detach().clone()
        value: Tensor = function(*(before if arg is x else arg for arg in args),
                         **{k: before if arg is x else arg for k, arg in kwargs.items()})  # fmt: skip
        in_place = before._version > 0
        ratio = ratio_of(value, x.detach() if in_place else before)
        self.tape.nbytes += ratio.nbytes
        answer = pass_through(x, ratio, [value], operation, self.tape.active_rule)
        return x.copy_(answer) if in_place else answer

    def _of_two(self, operation: str, function: Any, args: Any, kwargs: Any) -> Tensor | None:
        """Return what arithmetic of two followed tensors answers, where only one has relevance."""
        if all(touches_input(tensor.grad_fn) for tensor in args):
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
                detached = [arg.detach() if n == number else arg for n, arg in enumerate(args)]
                product: Tensor = function(*detached, **kwargs)
                return product
        return None

    def _norm(self, operation: str, given: dict[str, Any]) -> Tensor:
        """Return a norm as constant multiples of what it takes."""
        x: Tensor = given["input"]
        eps = given.get("eps", 1e-5)
        weight, bias = given.get("weight"), given.get("bias")
        by_input = (
            given.get("training", given.get("use_input_stats", True)) or "running_mean" not in given
        )
        if not by_input and given["running_mean"] is not None:
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
        result: Tensor = (centred / deviation).reshape(x.shape)
        if operation != "layer_norm":
            along = (-1, *(1,) * (x.ndim - 2))
            weight, bias = (None if w is None else w.reshape(along) for w in (weight, bias))
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

"""PyTorch: relevance carried back as a gradient, by rules where a plain gradient won't do.

The relevance of values x is R = x · g, and g is what autograd carries. All that adds, moves or picks
values (sums, concatenations, views, max pooling, ReLU) then passes relevance on by its own
gradient, exactly, and operations in place or used again are autograd's business. During one forward
pass convolutions and dense layers, norms and other nonlinearities are recorded as nodes of ours
that know their rules. What else would change relevance is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten
from torch.utils.checkpoint import CheckpointError

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.frameworks.base import RelevancePass, RelevanceRule

# --- what is in a graph ---------------------------------------------------------------------------

# Moves values about, copies or picks them.
_MOVES = {
    "View", "UnsafeView", "ReshapeAlias", "Permute", "Transpose", "T", "Mt", "Squeeze", "Unsqueeze",
    "Expand", "Repeat", "RepeatInterleave", "Slice", "Select", "Index", "IndexSelect", "Gather",
    "Split", "UnsafeSplit", "SplitWithSizes", "Unbind", "Unfold", "Diagonal", "Flip", "Roll", "Clone", "Alias",
    "CopyBackwards", "CopySlices", "ToCopy", "AsStrided", "SliceScatter", "SelectScatter", "MaskedFill",
    "IndexPut", "Where", "Cat", "Stack", "ConstantPadNd", "ReflectionPad1D", "ReflectionPad2D",
    "ReflectionPad3D", "ReplicationPad1D", "ReplicationPad2D", "ReplicationPad3D", "PixelShuffle",
    "PixelUnshuffle", "ChannelShuffle", "NativeChannelShuffle", "Im2Col", "Col2Im",
    "UnsqueezeCopy", "MaxUnpool2D", "MaxUnpool3D",
}  # fmt: skip
# Sums with constant weights, and picks of the largest: x · g stays what it was.
_SUMS = {
    "Add", "Sub", "Rsub", "Neg", "Sum", "Mean", "AvgPool2D", "AvgPool3D", "AdaptiveAvgPool2D",
    "AdaptiveAvgPool3D", "MkldnnAdaptiveAvgPool2D", "MaxPool2DWithIndices", "MaxPool3DWithIndices",
    "AdaptiveMaxPool2D", "AdaptiveMaxPool3D", "FractionalMaxPool2D", "FractionalMaxPool3D", "Max",
    "Min", "Amax", "Amin", "Maximum", "Minimum", "UpsampleNearest1D", "UpsampleNearest2D",
    "UpsampleNearest3D", "UpsampleNearestExact1D", "UpsampleNearestExact2D",
    "UpsampleNearestExact3D", "UpsampleLinear1D", "UpsampleBilinear2D", "UpsampleBilinear2DAa",
    "UpsampleBicubic2D", "UpsampleBicubic2DAa", "UpsampleTrilinear3D", "Cumsum", "NativeDropout",
}  # fmt: skip
_RECTIFIERS = {"Relu", "LeakyRelu", "PreluKernel", "Abs"}
# Sums with weights, as long as these are constant.
_PRODUCTS = {
    "Mul", "Div", "Mm", "Bmm", "Mv", "Dot", "Addmm", "Addbmm", "Baddbmm", "Addmv", "Addcmul",
    "GridSampler2D", "GridSampler3D",
}  # fmt: skip
# Of these only what they take first may depend on the image.
_FIRST = {"Div", "GridSampler2D", "GridSampler3D"}
_WEIGHTED, _PASSED = "_WeightedBackward", "_PassingBackward"
_KNOWN = _MOVES | _SUMS | _RECTIFIERS | _PRODUCTS | {_WEIGHTED, _PASSED, "AccumulateGrad"}
_NOT_NEGATIVE = {"relu6", "sigmoid", "hardsigmoid", "softplus"}


def _kind(node: Any) -> str:
    """Return what a node does: “Cat” of “CatBackward0”.

    Functions that are written in Python have no number and keep their whole name: they may do
    something else.
    """
    return re.sub(r"Backward\d+$", "", node.name()).rpartition("::")[2]


def _behind(node: Any) -> list[Any]:
    return [other for other, _ in node.next_functions if other is not None]


def examine(end: GradientEdge, names: Mapping[Any, str]) -> None:
    """Refuse a graph with nodes that no rule is known for; mark the layers that give the scores.

    `names` has the layers, by the last of their nodes.
    """
    seen: set[tuple[Any, bool]] = set()
    stack: list[tuple[Any, str, bool]] = [(end.node, "", True)]
    while stack:
        node, layer, gives_scores = stack.pop()
        if (node, gives_scores) in seen:
            continue
        seen.add((node, gives_scores))
        layer, kind = names.get(node, layer), _kind(node)
        behind = _behind(node)
        # A constant over values is no sum of them.
        over = kind in _FIRST and node.next_functions[0][0] is None
        if kind not in _KNOWN or over or (kind in _PRODUCTS and len(behind) > 1):
            _refuse(kind, layer, len(behind) > 1)
        if kind == _WEIGHTED:
            node.gives_scores = node.gives_scores or gives_scores
            gives_scores = False
        stack.extend((other, layer, gives_scores) for other in behind)


def _refuse(kind: str, layer: str, several: bool) -> None:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", kind).lower()
    at = f"at the layer “{layer}” the network" if layer else "the network"
    if kind in _PRODUCTS and several:
        what = f"multiplies activations with each other ({words}), and neither is a gate"
    elif kind in {"Convolution", "NativeBatchNorm", "CudnnBatchNorm"}:
        what = f"has weights that depend on the image or can't be followed ({words})"
    else:
        what = f"computes what relevance has no rule for ({words})"
    raise NeuroscopeError(
        f"LRP can't share relevance out: {at} {what}; use integrated_gradients, which needs no "
        f"rules."
    )


def _touches_input(node: Any) -> bool:
    """Whether no weighted layer lies behind a node: its values are the network's input's."""
    seen, stack = set(), [node]
    while stack:
        one = stack.pop()
        if one in seen:
            continue
        seen.add(one)
        if _kind(one) == _WEIGHTED:
            return False
        stack.extend(_behind(one))
    return True


def _cannot_be_negative(node: Any) -> bool:
    """Whether it is plain from the graph that values are 0 or more."""
    kind = _kind(node) if node is not None else ""
    if kind == _PASSED:
        return node.operation in _NOT_NEGATIVE
    if kind == "Relu":
        return True
    # Bicubic weights may be negative, and differences are.
    averages = kind.startswith(("AvgPool", "AdaptiveAvgPool", "MaxPool", "AdaptiveMaxPool"))
    passes = averages or kind in {"Cat", "View", "Add", "Slice", "UpsampleNearest2D", "Mean"}
    behind = _behind(node) if passes else []
    # A constant that is added, or filled in, may be anything.
    whole = kind not in {"Add", "Cat"} or len(behind) == len(node.next_functions)
    whole = whole and (kind != "Add" or node._saved_alpha >= 0)
    return bool(behind) and whole and all(_cannot_be_negative(other) for other in behind)


# --- weighted sums --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sums:
    """What a convolution or dense layer computes, and a batch norm that was merged into it.

    Attributes
    ----------
    weight, bias
        Its own.
    geometry
        A convolution's stride, padding, dilation, transposed, output padding and groups.
    factor, offset
        What the merged norm does to each channel of the result.
    """

    weight: Tensor
    bias: Tensor | None
    geometry: tuple[Any, ...] | None = None
    factor: Tensor | None = None
    offset: Tensor | None = None

    def weights(self) -> tuple[Tensor, Tensor | None]:
        """Return the weight and bias with the norm in them, of 32 bits at least."""
        weight, bias = _wide(self.weight), _wide(self.bias)
        if self.factor is None:
            return weight, bias
        factor, offset = _wide(self.factor), _wide(self.offset)
        if self.geometry is not None and self.geometry[3]:
            # (in, out / groups, ...): each group of inputs has channels of its own.
            grouped = weight.unflatten(0, (self.geometry[5], -1))
            each = factor.reshape(self.geometry[5], 1, -1, *(1,) * (weight.ndim - 2))
            weight = (grouped * each).flatten(0, 1)
        else:
            weight = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
        return weight, offset if bias is None else bias * factor + offset

    def of(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the sums of x."""
        if self.geometry is None:
            return functional.linear(x, weight, bias)
        if x.ndim < weight.ndim:
            return torch.convolution(x[None], weight, bias, *self.geometry)[0]
        return torch.convolution(x, weight, bias, *self.geometry)

    def back(self, shares: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Return Wᵀ · shares, shaped as x."""
        if self.geometry is None:
            return shares @ weight
        if x.ndim < weight.ndim:
            return self.back(shares[None], x[None], weight)[0]
        return torch.ops.aten.convolution_backward(
            shares, x, weight, None, *self.geometry, [True, False, False]
        )[0]

    def along(self, bias: Tensor) -> Tensor:
        """Return a bias so that it goes along the channels of the result."""
        return bias if self.geometry is None else bias.reshape(-1, *(1,) * (self.weight.ndim - 2))

    def merged(self, factor: Tensor, offset: Tensor) -> _Sums:
        """Return these sums with what comes after them: factor · sums + offset."""
        if self.factor is not None:
            assert self.offset is not None
            factor, offset = factor * self.factor, factor * self.offset + offset
        return replace(self, factor=factor, offset=offset)


def _wide(values: Any) -> Any:
    """Return floats of 32 bits at least."""
    narrow = values is not None and values.dtype in (torch.float16, torch.bfloat16)
    return values.float() if narrow else values


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """Return above / below, and 0 where there is nothing to be shared out by."""
    nothing = below == 0
    return torch.where(nothing, 0, above / torch.where(nothing, 1, below))


def _shared(
    sums: _Sums, x: Tensor, g: Tensor, kind: str, rule: RelevanceRule, *, positive: bool
) -> Tensor:
    """Return g of the inputs x, of g of the sums: relevance x · g in the shares of x · w.

    `positive` tells that no input is negative.
    """
    weight, bias = sums.weights()
    z = sums.of(x, weight, bias)
    if kind == "epsilon":
        least = rule.epsilon * z.square().mean().sqrt()
        return sums.back(g * _ratio(z, z + torch.where(z < 0, -least, least)), x, weight)
    up, down = weight.clamp(min=0), weight.clamp(max=0)
    contributed = sums.of(x.clamp(min=0), up, None)
    if not positive:
        contributed = contributed + sums.of(x.clamp(max=0), down, None)
    favoured = contributed if bias is None else contributed + sums.along(bias.clamp(min=0))
    if kind == "z_plus":
        shares = g * _ratio(z, favoured)
        for_positive = sums.back(shares, x, up)
        if positive:
            return for_positive
        return torch.where(x < 0, sums.back(shares, x, down), for_positive)
    # What speaks for the sign of the sum counts 1 + γ times.
    favoured = torch.where(z < 0, z - favoured, favoured)
    shares = g * _ratio(z, z + rule.gamma * favoured)
    above, below = shares * (z >= 0), shares * (z < 0)
    more_up, more_down = weight + rule.gamma * up, weight + rule.gamma * down
    for_positive = sums.back(above, x, more_up) + sums.back(below, x, more_down)
    if positive:
        return for_positive
    for_negative = sums.back(above, x, more_down) + sums.back(below, x, more_up)
    return torch.where(x < 0, for_negative, for_positive)


def _flat(sums: _Sums, x: Tensor, g: Tensor) -> Tensor:
    """Return the relevance of inputs that share alike, whatever they are."""
    weight, bias = sums.weights()
    alike = torch.ones_like(weight)
    count = sums.of(torch.ones_like(x), alike, None)
    return sums.back(g * _ratio(sums.of(x, weight, bias), count), x, alike)


# --- nodes ----------------------------------------------------------------------------------------


@dataclass
class Tape:
    """What one forward pass recorded, and by which rule its nodes go now.

    Attributes
    ----------
    rule
        How layers share.
    carrying
        Whether relevance itself is carried now, and not g; behind the first layers alone.
    slots
        Where the relevance of what the first layers take arrives, and the places of that.
    nbytes
        The memory of what was kept.
    """

    rule: RelevanceRule = field(default_factory=RelevanceRule)
    carrying: bool = False
    slots: list[tuple[Tensor, GradientEdge]] = field(default_factory=list)
    nbytes: int = 0


class _Weighted(torch.autograd.Function):
    """A convolution or dense layer; `slot` is there where it takes the network's input."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        slot: Tensor | None,
        kept: Tensor,
        sums: _Sums,
        tape: Tape,
        make: Callable[[], Tensor],
    ) -> Tensor:
        ctx.x, ctx.source, ctx.version, ctx.sums, ctx.tape = kept, x, x._version, sums, tape
        ctx.of_input, ctx.gives_scores = slot is not None, False
        ctx.positive = _cannot_be_negative(x.grad_fn)
        return make()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        g, x, rule, sums = _wide(gradients[0]), _wide(ctx.x), ctx.tape.rule, ctx.sums
        nothing = (None,) * 4
        dense = sums.geometry is None or ctx.gives_scores
        if ctx.of_input and rule.flat_input and not ctx.gives_scores:
            return None, _flat(sums, x, g).to(ctx.x.dtype), *nothing
        kind = "epsilon" if dense else rule.convolution
        found = _shared(sums, x, g, kind, rule, positive=ctx.positive)
        if ctx.of_input:
            return None, (x * found).to(ctx.x.dtype), *nothing
        return found.to(ctx.x.dtype), None, *nothing


class _Passing(torch.autograd.Function):
    """An operation that acts on each value alone: all of the relevance goes on."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, before: Tensor, value: list[Tensor], operation: str, tape: Tape
    ) -> Tensor:
        # The value is in a list, so that autograd does not take it for an input that is returned.
        ctx.ratio, ctx.operation, ctx.tape = _ratio(value[0], before), operation, tape
        tape.nbytes += ctx.ratio.nbytes
        return value[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        g = gradients[0]
        return g if ctx.tape.carrying else g * ctx.ratio, None, None, None, None


# --- recording ------------------------------------------------------------------------------------

# They act on each value alone, or by what all values share.
_PASSING = {
    "relu6", "hardtanh", "threshold", "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish",
    "hardsigmoid", "softplus", "softsign", "tanh", "sigmoid", "logsigmoid", "log_sigmoid", "clamp",
    "clamp_min", "clamp_max", "clip", "softshrink", "hardshrink", "tanhshrink", "rrelu",
    "local_response_norm", "normalize", "rms_norm",
}  # fmt: skip
_ARITHMETIC = {"add", "sub", "mul", "div", "truediv", "itruediv", "true_divide"}
_ON_VIEWS = {
    "copy", "fill", "zero", "masked_fill", "add", "sub", "relu", "leaky_relu", "detach",
    "requires_grad", "squeeze", "unsqueeze", "transpose",
}  # fmt: skip
_GATES = {"sigmoid", "hardsigmoid"}
_NORMS = {
    # As the functions of torch itself take them, which an exported network calls.
    "batch_norm": ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum",
                   "eps"),
    "instance_norm": ("input", "weight", "bias", "running_mean", "running_var", "use_input_stats",
                      "momentum", "eps"),
    "layer_norm": ("input", "normalized_shape", "weight", "bias", "eps"),
    "group_norm": ("input", "num_groups", "weight", "bias", "eps"),
}  # fmt: skip


def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Tensor, _Sums]:
    axes = weight.ndim - 2
    steps = _each(dilation, axes)
    if padding == "same":
        lost = [step * (n - 1) for step, n in zip(steps, weight.shape[2:], strict=True)]
        padding = [total // 2 for total in lost]
        if any(total % 2 for total in lost):
            # What is odd comes at the ends; the last axis is given first.
            input = functional.pad(
                input, [end for total in reversed(lost) for end in (0, total % 2)]
            )
    elif padding == "valid":
        padding = 0
    geometry = (_each(stride, axes), _each(padding, axes), steps, False, [0] * axes, groups)
    return input, _Sums(weight, bias, geometry)


def _transposed(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> tuple[Tensor, _Sums]:
    axes = weight.ndim - 2
    lengths = (_each(one, axes) for one in (stride, padding, dilation))
    return input, _Sums(weight, bias, (*lengths, True, _each(output_padding, axes), groups))


def _dense(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, _Sums]:
    return input, _Sums(weight, bias)


def _each(length: Any, axes: int) -> list[int]:
    several = [length] if isinstance(length, int) else list(length)
    return several * axes if len(several) == 1 else several


_LAYERS: dict[str, Callable[..., tuple[Tensor, _Sums]]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed),
    "linear": _dense,
}


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
        if operation in _LAYERS:
            taken, sums = _LAYERS[operation](*args, **kwargs)
            # Weights that depend on the image are no weights.
            if not taken.requires_grad:
                return None
            return self._weighted(taken, sums, lambda: function(*args, **kwargs))
        if operation in _PASSING:
            return self._passing(operation, function, args, kwargs, x)
        if operation in _NORMS or operation in _ARITHMETIC:
            # Nothing of the picture is lost to what brings it to the range that a network wants.
            if _touches_input(x.grad_fn):
                return self._passing(operation, function, args, kwargs, x)
            if operation in _NORMS:
                names = getattr(
                    getattr(function, "__code__", None), "co_varnames", _NORMS[operation]
                )
                return self._norm(operation, {**dict(zip(names, args, strict=False)), **kwargs})
        return None

    def _weighted(self, x: Tensor, sums: _Sums, make: Callable[[], Tensor]) -> Tensor:
        kept, slot = x.detach(), None
        if self._copying:
            kept = kept.clone()
        self._kept.append((kept, kept._version))
        if _touches_input(x.grad_fn):
            # It takes no memory, whatever its shape.
            slot = x.new_zeros(()).expand(x.shape).requires_grad_()
            self.tape.slots.append((slot, get_gradient_edge(x)))
        return _Weighted.apply(x, slot, kept, sums, self.tape, make)

    def _passing(self, operation: str, function: Any, args: Any, kwargs: Any, x: Tensor) -> Tensor:
        before = x.detach().clone()
        value = function(*(before if one is x else one for one in args),
                         **{k: before if one is x else one for k, one in kwargs.items()})  # fmt: skip
        in_place = before._version > 0
        answer = _Passing.apply(
            x, x.detach() if in_place else before, [value], operation, self.tape
        )
        return x.copy_(answer) if in_place else answer

    def _of_two(self, operation: str, function: Any, args: Any, kwargs: Any) -> Tensor | None:
        """Return what arithmetic of two followed tensors answers, where only one has relevance."""
        if all(_touches_input(one.grad_fn) for one in args):
            # Such as the image less its own mean.
            args = (args[0], args[1].detach())
            return self._passing(operation, function, args, kwargs, args[0])
        return self._gated(function, args, kwargs) if operation == "mul" else None

    def _gated(self, function: Any, args: Any, kwargs: Any) -> Tensor | None:
        """Return signal · gate, where all relevance is the signal's; None where neither is a gate."""
        for number in (1, 0):
            # What is written on must stay what it is.
            in_place = number == 0 and getattr(function, "__name__", "") in ("mul_", "__imul__")
            if _is_gate(args[number].grad_fn) and not in_place:
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
        along = (-1, *(1,) * (x.ndim - 2)) if operation != "layer_norm" else None
        if weight is not None:
            result = result * (weight if along is None else weight.reshape(along))
        if bias is not None:
            result = result + (bias if along is None else bias.reshape(along))
        return result

    def _affine(self, x: Tensor, factor: Tensor, offset: Tensor) -> Tensor:
        """Return factor · x + offset: merged into the layer that x comes from, where it can be."""
        along = (-1, *(1,) * (x.ndim - 2))

        def values(of: Tensor) -> Tensor:
            return of * factor.reshape(along) + offset.reshape(along)

        layer: Any = x.grad_fn
        if layer is not None and _kind(layer) == _WEIGHTED:
            sums, source = layer.sums, layer.source
            channels_first = x.ndim == (2 if sums.geometry is None else sums.weight.ndim)
            if channels_first and source._version == layer.version:
                return self._weighted(
                    source, sums.merged(factor, offset), lambda: values(x.detach())
                )
        return values(x)


def _check_view(operation: str, function: Any, args: Any, *, several: bool) -> None:
    """Refuse what is written on a view where the graph does not show what it was."""
    in_place = re.fullmatch(r"[a-z]\w*_|__i\w+__", getattr(function, "__name__", ""))
    if not in_place or not args or not isinstance(args[0], Tensor) or not args[0]._is_view():
        return
    kind = {"mul": "Mul", "div": "Div", "itruediv": "Div"}.get(operation, operation)
    if (several and kind in _PRODUCTS) or (kind not in _PRODUCTS and kind not in _ON_VIEWS):
        _refuse(kind, "", several)


def _is_gate(node: Any) -> bool:
    """Whether values come from a sigmoid or softmax, perhaps as a view or resized."""
    while node is not None:
        kind, behind = _kind(node), _behind(node)
        if (kind == _PASSED and node.operation in _GATES) or kind == "Softmax":
            return True
        if (kind not in _MOVES and not kind.startswith("Upsample")) or len(behind) != 1:
            return False
        node = behind[0]
    return False


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
        self._tape.rule = rule
        of_leaf, *of_slots = _pulled([self._end], [self._leaf, *slots], [seeds])
        x = self._leaf.detach()
        # What reaches the input beside all layers is still a gradient.
        found = seeds.new_zeros(len(seeds), *x.shape) if of_leaf is None else of_leaf * x
        arrived = [(p, r) for p, r in zip(places, of_slots, strict=True) if r is not None]
        if arrived:
            self._tape.carrying = True
            try:
                ends, relevance = zip(*arrived, strict=True)
                carried = _pulled(ends, [self._leaf], relevance)[0]
            finally:
                self._tape.carrying = False
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

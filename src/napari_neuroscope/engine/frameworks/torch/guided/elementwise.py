"""PyTorch: which operations of a pass compute each value from one other, also without a gradient.

The autograd graph knows neither what a mask was computed from nor what happens inside of a custom
Function or of scripted code. The operations themselves tell, as they run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node, get_gradient_edge
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from napari_neuroscope.engine.frameworks.activation_search import Operation, OperationKind
from napari_neuroscope.engine.frameworks.torch.autograd_graph import taken_by

Edge = tuple[Node, int]
"""A node of the autograd graph, and the number of its output."""

ACTIVATIONS = frozenset({
    "relu", "threshold", "hardtanh", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish",
    "hardswish", "hardsigmoid", "softplus", "rrelu_with_noise", "_prelu_kernel", "sigmoid", "tanh",
    "log_sigmoid_forward", "softshrink", "hardshrink",
})  # fmt: skip
"""Operations whose way back is an operation of its own, which is guided wherever it runs."""

_KINDS: dict[str, OperationKind] = {
    **dict.fromkeys(ACTIVATIONS, "activation"),
    **dict.fromkeys(("erf", "erfc", "sin", "cos", "tan", "asin", "acos", "atan", "asinh", "sinc",
                     "logit", "special_log_ndtr"), "activation"),
    **dict.fromkeys(("exp", "exp2", "expm1", "sinh", "cosh"), "exponential"),
    **dict.fromkeys(("pow", "square", "sqrt", "rsqrt", "reciprocal", "abs", "log", "log2", "log10",
                     "log1p", "acosh", "atanh", "float_power"), "power"),
    **dict.fromkeys(("clamp", "clamp_min", "clamp_max", "maximum", "minimum", "fmax", "fmin"),
                    "clipping"),
    **dict.fromkeys(("gt", "ge", "lt", "le", "eq", "ne", "sign", "sgn", "heaviside", "signbit",
                     "logical_and", "logical_or", "logical_not", "logical_xor", "bitwise_and",
                     "bitwise_or", "bitwise_not", "bitwise_xor", "isnan", "isinf", "floor", "ceil",
                     "round", "trunc"), "comparison"),
    **dict.fromkeys(("mul", "div", "true_divide", "addcmul", "addcdiv", "lerp", "hypot", "atan2",
                     "logaddexp", "logaddexp2", "xlogy", "copysign"), "product"),
    **dict.fromkeys(("add", "sub", "rsub", "neg", "where", "masked_fill", "clone", "detach",
                     "alias", "view", "_unsafe_view", "expand", "slice", "_to_copy", "lift_fresh",
                     "copy", "nan_to_num", "positive"), "linear"),
    **dict.fromkeys(("convolution", "addmm", "mm", "bmm", "baddbmm", "addmv", "mv", "linear",
                     "_convolution", "mkldnn_linear"), "weighted"),
}  # fmt: skip
# What of two tensors is a product, where only one of them varies.
_KIND_WITH_ONE_VARYING: dict[str, OperationKind] = {
    **dict.fromkeys(("logaddexp", "logaddexp2", "atan2"), "activation"),
    **dict.fromkeys(("addcdiv", "hypot", "xlogy", "copysign"), "power"),
}
_MADE_ANEW = frozenset({
    "zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "new_zeros",
    "new_ones", "new_full", "new_empty", "zero", "fill", "new_empty_strided",
})  # fmt: skip
_NONLINEAR = frozenset({"activation", "exponential", "power", "clipping", "comparison", "unknown"})
# Norms compute powers too.
_REVEALING = _NONLINEAR - {"power"}


@dataclass(frozen=True)
class _Origin:
    """What a tensor was computed from.

    Attributes
    ----------
    sources
        The values with a gradient that each of its own comes from, place by place; None where a
        value comes from several places, or that isn't known.
    direct
        Those of them that the last operation took itself, and of the others their sources.
    masks
        Of the others their sources, and whether they are nonlinear functions of them.
    kinds
        Of the operations without a gradient that lead to it, and of the last.
    """

    sources: frozenset[Edge] | None
    kind: OperationKind
    operation: str
    direct: tuple[Edge, ...] = ()
    masks: tuple[tuple[frozenset[Edge], bool], ...] = ()
    kinds: frozenset[str] = frozenset()


class ElementwiseRecorder(TorchDispatchMode):
    """Remember what each tensor of a pass was computed from; the values are not kept.

    Parameters
    ----------
    leaves
        What the pass begins with, with a gradient.
    """

    def __init__(self, leaves: Iterable[Tensor]) -> None:
        TorchDispatchMode.__init__(self)
        self._leaves: MutableMapping[Tensor, Edge] = WeakTensorKeyDictionary()
        for leaf in leaves:
            node, number, *_ = get_gradient_edge(leaf)
            self._leaves[leaf] = node, number
        self._origins: MutableMapping[Tensor, _Origin] = WeakTensorKeyDictionary()
        # What the count of changes of a tensor is, as long as none was missed.
        self._versions: MutableMapping[Tensor, set[int]] = WeakTensorKeyDictionary()
        self._of_nodes: dict[Node, _Origin | None] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        # Before it runs: it may write on what it is given.
        origins = [self._origin_of(tensor) for tensor in inputs]
        shapes = [tensor.shape for tensor in inputs]
        output = function(*args, **kwargs)
        name = function.overloadpacket.__name__
        name = name if name.startswith("_") else name.rstrip("_")
        if name in _MADE_ANEW or all(origin is None for origin in origins):
            for tensor in _tensors(output):
                self._origins.pop(tensor, None)
            return output
        outside = function.namespace not in ("aten", "prims")
        for number, tensor in enumerate(_tensors(output)):
            kind: str = _KINDS.get(name, "other") if not number else "other"
            if name == "pow" and origins[0] is None:
                kind = "exponential"
            elif name == "copy":
                origins[0] = None
            elif name == "index_put" and _fills_by_mask(args):
                kind = "linear"
            if outside:
                single = _is_elementwise(function, args, kwargs, tensor)
                kind = "activation" if single else "unknown"
            varying = sum(origin is not None for origin in origins)
            if varying == 1 and kind in ("product", "linear"):
                kind = _arithmetic_kind(name, args, [o is not None for o in origins])
            same = all(
                shape == tensor.shape
                for shape, origin in zip(shapes, origins, strict=True)
                if origin is not None
            )
            self._origins[tensor] = _origin_of_answer(name, kind, origins, elementwise=same)
            self._versions[tensor] = _versions(tensor, inputs)
        return output

    def _origin_of(self, tensor: Tensor) -> _Origin | None:
        """Return where a tensor comes from; None where that is not the input."""
        if tensor.requires_grad:
            self.record_node(tensor)
            # Other leaves are weights.
            node = tensor.grad_fn
            edge = self._leaves.get(tensor) if node is None else (node, tensor.output_nr)
            return edge and _Origin(frozenset([edge]), "linear", "", (edge,))
        origin = self._origins.get(tensor)
        if origin is not None and tensor._version not in self._versions[tensor]:
            # Written on in a way that was not seen.
            kinds = origin.kinds | {"unknown"}
            return _Origin(None, "other", origin.operation, kinds=kinds)
        return origin

    def record_node(self, tensor: Tensor) -> None:
        """Take down where the node of a tensor with a gradient comes from."""
        if tensor.grad_fn is not None and not tensor.output_nr:
            self._of_nodes.setdefault(tensor.grad_fn, self._origins.get(tensor))

    def operations(self, nodes: Iterable[Node]) -> tuple[list[Operation], set[Node], set[Node]]:
        """Return nodes as operations, those that may hide an activation, and that may be one.

        The values are known by their edges. `nodes` is in the order of the pass. What a mask was
        computed from comes with them, though no gradient goes there.
        """
        operations: list[Operation] = []
        hiding: set[Node] = set()
        unclear: set[Node] = set()
        done: set[Node] = set()
        for node in nodes:
            stack = [(node, False)]
            while stack:
                current, ready = stack.pop()
                if current in done:
                    continue
                if not ready:
                    stack.append((current, True))
                    stack.extend((before, False) for before in self._nodes_before(current))
                    continue
                done.add(current)
                operations.extend(self._as_operations(current))
                if self._hides(current):
                    hiding.add(current)
                elif self._writes_by_mask(current):
                    unclear.add(current)
        return operations, hiding, unclear

    def _nodes_before(self, node: Node) -> Iterator[Node]:
        origin = self._of_nodes.get(node)
        yield from taken_by(node)
        for sources, _ in () if origin is None else origin.masks:
            yield from (source for source, _ in sources)

    def _origin_of_node(self, node: Node) -> _Origin | None:
        """Return where a node's values come from; None where that isn't known."""
        origin = self._of_nodes.get(node)
        if origin is None or (_is_many_operations(node) and origin.sources is None):
            return origin
        # Written through a view, a tensor has another node than it was computed by.
        return origin if set(_edges_taken(node)) <= set(_all_edges(origin)) else None

    def _as_operations(self, node: Node) -> list[Operation]:
        """Return the operations that a node stands for."""
        origin = self._origin_of_node(node)
        if origin is None:
            return [Operation((node, 0), "other", _edges_taken(node))]
        if _is_many_operations(node):
            return [_many_as_one(node, origin)]
        return list(_single_operation(node, origin))

    def _hides(self, node: Node) -> bool:
        """Whether there may be an activation inside of a node that can't be told."""
        origin = self._origin_of_node(node)
        if not _is_many_operations(node):
            return origin is not None and "unknown" in origin.kinds
        return origin is None or (
            origin.sources is None and not origin.kinds.isdisjoint(_REVEALING)
        )

    def _writes_by_mask(self, node: Node) -> bool:
        """Whether a node is of ``x[x < 0] *= 0.1``, of more values than one tensor's."""
        origin = self._origin_of_node(node)
        return (
            origin is not None
            and origin.sources is None
            and origin.operation in ("index_put", "masked_scatter")
            and any(nonlinear for _, nonlinear in origin.masks)
        )


_CHECKPOINTS = {"CheckpointFunctionBackward"}


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, list | tuple):
        for item in output:
            if isinstance(item, Tensor):
                yield item


def _versions(output: Tensor, inputs: list[Tensor]) -> set[int]:
    """Return what the count of changes of an answer will be once the operation is over."""
    # What is written in place is counted then; a view has the count of what it is one of.
    written = any(output is tensor for tensor in inputs)
    memory = output.untyped_storage()._cdata
    shared = [t._version for t in inputs if t.untyped_storage()._cdata == memory]
    return {output._version + written, *(shared if not written else ())}


def _origin_of_answer(
    name: str, kind: str, origins: list[_Origin | None], *, elementwise: bool
) -> _Origin:
    """Return where the answer of an operation comes from that took tensors from `origins`."""
    varying = [origin for origin in origins if origin is not None]
    kinds = frozenset({kind}.union(*(origin.kinds for origin in varying)))
    sources: frozenset[Edge] | None = None
    if elementwise and kind not in ("other", "weighted", "unknown"):
        every = [origin.sources for origin in varying]
        if None not in every:
            sources = frozenset[Edge]().union(*(edges for edges in every if edges is not None))
    direct = tuple(edge for origin in varying if not origin.operation for edge in origin.direct)
    masks = tuple(
        (origin.sources, not origin.kinds.isdisjoint(_NONLINEAR))
        for origin in varying
        if origin.operation and origin.sources is not None
    )
    plain: Any = "other" if kind == "unknown" else kind
    return _Origin(sources, plain, name, direct, masks, kinds)


def _fills_by_mask(args: Any) -> bool:
    """Whether ``x[mask] = values`` has a mask of x's shape."""
    into, indices = args[0], args[1]
    return len(indices) == 1 and indices[0].dtype == torch.bool and indices[0].shape == into.shape


def _arithmetic_kind(name: str, args: Any, varies: list[bool]) -> str:
    """Return the kind of arithmetic with one tensor that varies, and constants."""
    if name == "neg":
        return "flip"
    if name not in ("mul", "div", "true_divide", "add", "sub", "rsub"):
        return _KIND_WITH_ONE_VARYING.get(name, "linear")
    tensors = iter(varies)
    varying = [isinstance(arg, Tensor) and next(tensors) for arg in args[:2]]
    if name.endswith(("div", "divide")) and not varying[0]:
        return "power"
    number = _number(args[1 if varying[0] else 0])
    if number is None:
        return "linear"
    if name in ("add", "sub", "rsub"):
        taken_away = name == "rsub" if varying[0] else name == "sub"
        return "flip" if taken_away else "scalar"
    return "flip" if number < 0 else "scalar" if number > 0 else "linear"


def _number(value: Any) -> float | None:
    """Return a constant that is one number, and nothing that was learnt."""
    if isinstance(value, bool | int | float):
        return float(value)
    if (
        isinstance(value, Tensor)
        and value.numel() == 1
        and not isinstance(value, nn.Parameter)
        and not value.is_complex()
    ):
        return float(value)
    return None


def _is_elementwise(function: Any, args: Any, kwargs: Mapping[str, Any], output: Tensor) -> bool:
    """Whether an operation of a package computes each value from one: others change, it does not."""
    floats = [a for a in args if isinstance(a, Tensor) and a.is_floating_point()]
    if len(floats) != 1 or floats[0].shape != output.shape or function._schema.is_mutable:
        return False
    given = floats[0]
    kept = torch.arange(given.numel(), device=given.device).view(given.shape) % 3 == 0
    changed = torch.where(kept, given, given.flip(tuple(range(given.ndim))) + 1)
    again = function(*(changed if a is given else a for a in args), **kwargs)
    return bool(torch.equal(again[kept], output[kept]))


def _all_edges(origin: _Origin) -> Iterator[Edge]:
    yield from origin.direct
    for sources, _ in origin.masks:
        yield from sources
    yield from origin.sources or ()


def _edges_taken(node: Node) -> tuple[Edge, ...]:
    return tuple((taken, number) for taken, number in node.next_functions if taken is not None)


def _is_many_operations(node: Node) -> bool:
    """Whether a node is several operations: of a custom Function, or of scripted code."""
    if node.name() in _CHECKPOINTS:
        return False
    return isinstance(node, BackwardCFunction) or is_scripted(node)


def is_scripted(node: Node) -> bool:
    """Whether a node is of code that TorchScript has made one of."""
    return "DifferentiableGraph" in node.name()


def _many_as_one(node: Node, origin: _Origin) -> Operation:
    taken = _edges_taken(node)
    nonlinear = not origin.kinds.isdisjoint(_NONLINEAR)
    kind: OperationKind = "linear"
    if nonlinear:
        kind = "activation" if len(set(taken)) == 1 else "product"
    elif len(set(taken)) > 1:
        kind = "product"
    if origin.sources is None or origin.sources != set(taken):
        kind = "other"
    return Operation((node, 0), kind, taken)


def _single_operation(node: Node, origin: _Origin) -> Iterator[Operation]:
    sources: list[Any] = list(origin.direct)
    for number, (edges, nonlinear) in enumerate(origin.masks):
        key = node, f"mask {number}"
        yield Operation(key, "comparison" if nonlinear else "linear", tuple(edges))
        sources.append(key)
    elementwise = origin.sources is not None
    yield Operation((node, 0), origin.kind, tuple(sources), elementwise)

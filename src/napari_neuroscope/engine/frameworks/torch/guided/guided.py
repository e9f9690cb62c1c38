"""PyTorch: guided backpropagation, through activations that are written by hand as well.

What a reentrant checkpoint runs again is known only when it does, and no hook is there: the
function on its node of the graph is replaced while a guided pass runs, and then put back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node
from torch.utils._python_dispatch import TorchDispatchMode

from napari_neuroscope.engine.frameworks.activation_search import find_activations
from napari_neuroscope.engine.frameworks.torch.autograd_graph import taken_by
from napari_neuroscope.engine.frameworks.torch.guided.elementwise import (
    ElementwiseRecorder,
    is_scripted,
)

_aten = torch.ops.aten
_POINTWISE_BACKWARD = {
    getattr(_aten, name)
    for name in (
        "threshold_backward", "hardtanh_backward", "leaky_relu_backward", "elu_backward",
        "gelu_backward", "silu_backward", "mish_backward", "hardswish_backward",
        "hardsigmoid_backward", "softplus_backward", "rrelu_with_noise_backward",
        "_prelu_kernel_backward", "sigmoid_backward", "tanh_backward", "log_sigmoid_backward",
        "softshrink_backward", "hardshrink_backward",
    )
    if hasattr(_aten, name)
}  # fmt: skip
# The nodes of these, without their number.
_ACTIVATIONS = {
    "ReluBackward", "ThresholdBackward", "HardtanhBackward", "LeakyReluBackward", "EluBackward",
    "CeluBackward", "GeluBackward", "SiluBackward", "MishBackward", "HardswishBackward",
    "HardsigmoidBackward", "SoftplusBackward", "RreluWithNoiseBackward", "PreluKernelBackward",
    "SigmoidBackward", "TanhBackward", "LogSigmoidBackward", "SoftshrinkBackward",
    "HardshrinkBackward",
}  # fmt: skip
# No part of an activation that is written by hand.
_PLAIN = _ACTIVATIONS | {
    "torch::autograd::AccumulateGrad", "ConvolutionBackward", "AddmmBackward", "MmBackward", "BmmBackward",
    "AddBackward", "NativeBatchNormBackward", "CudnnBatchNormBackward", "NativeLayerNormBackward",
    "NativeGroupNormBackward", "MeanBackward", "MaxPool2DWithIndicesBackward",
    "MaxPool3DWithIndicesBackward", "AvgPool2DBackward", "AvgPool3DBackward",
    "AdaptiveAvgPool2DBackward", "MkldnnAdaptiveAvgPool2DBackward", "CatBackward", "ViewBackward",
    "UnsafeViewBackward", "PermuteBackward", "TransposeBackward", "TBackward", "CloneBackward",
    "ToCopyBackward", "ExpandBackward", "SqueezeBackward", "UnsqueezeBackward", "SelectBackward",
    "SliceBackward", "ConstantPadNdBackward", "UpsampleNearest2DBackward",
    "UpsampleBilinear2DBackward", "UpsampleNearest3DBackward", "CheckpointFunctionBackward",
}  # fmt: skip


@dataclass(frozen=True)
class GuidePlan:
    """What of a pass is guided besides what PyTorch has a way back for, by its nodes' numbers.

    Attributes
    ----------
    ends
        Activations that are written by hand or are custom Functions.
    parts
        What they consist of, which is not guided by itself.
    unclear
        What may be an activation or arithmetic, and is not guided.
    clippings
        Clippings, of which the same can be said.
    hiding
        What can't be looked into, and is not guided.
    """

    ends: tuple[int, ...] = ()
    parts: tuple[int, ...] = ()
    unclear: tuple[int, ...] = ()
    clippings: tuple[int, ...] = ()
    hiding: tuple[int, ...] = ()


def planned(recorder: ElementwiseRecorder, nodes: Sequence[Node]) -> GuidePlan:
    """Return what is guided of the nodes of a pass that was recorded, in their order."""
    operations, hiding, written = recorder.operations(nodes)
    activations = find_activations(operations)
    number = {(node, 0): n for n, node in enumerate(nodes)}
    ends: set[int] = set()
    parts: set[int] = set()
    for end, inside in activations.parts.items():
        if end not in number:
            continue  # it leads to a mask alone
        node = nodes[number[end]]
        if inside or _kind(node) not in _ACTIVATIONS:
            ends.add(number[end])
            # A mask is none of them.
            parts.update(number[key] for key in inside if key in number)
            # The way back of a custom Function may be made of activations' own.
            parts.add(number[end])
    return GuidePlan(
        tuple(sorted(ends)),
        tuple(sorted(parts)),
        _sorted_known(number, [*activations.unclear, *((node, 0) for node in written)]),
        _sorted_known(number, activations.clippings),
        _sorted_known(number, [(node, 0) for node in hiding]),
    )


def _sorted_known(number: Mapping[Any, int], keys: Iterable[Hashable]) -> tuple[int, ...]:
    return tuple(sorted(number[key] for key in keys if key in number))


class GuidedMode(TorchDispatchMode):
    """Let only positive gradient into every activation that a backward pass meets.

    Attributes
    ----------
    count
        How many were met.
    unclear, hiding
        What was met inside of reentrant checkpoints and is not guided, as in a `GuidePlan`.
    """

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)
        self.count = 0
        self.unclear: list[str] = []
        self.hiding: list[str] = []
        self._open_parts = 0
        self._hooks = ExitStack()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function.overloadpacket in _POINTWISE_BACKWARD and not self._open_parts:
            self.count += 1
            args = (args[0].clamp(min=0), *args[1:])
        return function(*args, **(kwargs or {}))

    @contextmanager
    def following(self, plan: GuidePlan, nodes: Sequence[Node]) -> Iterator[None]:
        """Guide the nodes of a pass by a plan while it is gone back; nothing stays on them."""
        with self._hooks, self:
            self._hook(plan, nodes)
            yield

    def _hook(self, plan: GuidePlan, nodes: Sequence[Node]) -> None:
        for number in plan.ends:
            self._hooks.callback(nodes[number].register_prehook(self._guide).remove)
        for number in plan.parts:
            self._hooks.callback(nodes[number].register_prehook(self._enter).remove)
            self._hooks.callback(nodes[number].register_hook(self._leave).remove)
        for node in nodes:
            if _kind(node) == "CheckpointFunctionBackward":
                # Of a node's attributes PyTorch declares none.
                checkpoint: Any = node
                run = checkpoint.run_function
                checkpoint.run_function = self._recorded(run)
                self._hooks.callback(setattr, node, "run_function", run)

    def _guide(self, gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        self.count += 1
        return tuple(None if g is None else g.clamp(min=0) for g in gradients)

    def _enter(self, _: Any) -> None:
        self._open_parts += 1

    def _leave(self, *_: Any) -> None:
        self._open_parts -= 1

    def _recorded(self, run: Callable[..., Any]) -> Callable[..., Any]:
        """Return a checkpointed part that is guided when it is computed again."""

        def run_again(*args: Any) -> Any:
            leaves = [a for a in args if isinstance(a, Tensor) and a.requires_grad]
            with ElementwiseRecorder(leaves) as recorder:
                answer = run(*args)
            answers = answer if isinstance(answer, tuple | list) else (answer,)
            for tensor in answers:
                if isinstance(tensor, Tensor) and tensor.grad_fn is not None:
                    recorder.see(tensor)
            ends = [t.grad_fn for t in answers if isinstance(t, Tensor) and t.grad_fn is not None]
            nodes = ordered(ends)
            plan = planned(recorder, nodes)
            unclear = sorted([*plan.unclear, *plan.clippings])
            self.unclear += [title(nodes[number]) for number in unclear]
            self.hiding += [title(nodes[number]) for number in plan.hiding]
            self._hook(plan, nodes)
            return answer

        return run_again


@dataclass(frozen=True)
class Guide:
    """A plan, and the names of what is not guided and of what is inside of activations."""

    plan: GuidePlan = GuidePlan()
    unclear: tuple[str, ...] = ()
    hiding: tuple[str, ...] = ()
    inside: frozenset[str] = frozenset()


_MOST_GUIDES = 16


class Guides:
    """Know how the passes of a network are guided, by the operations that they consist of."""

    def __init__(self) -> None:
        self._guides: OrderedDict[Hashable, Guide] = OrderedDict()

    def known(self, nodes: Sequence[Node], shape: Sequence[int]) -> Guide | None:
        """Return how a pass is guided; None where it must be recorded to be told."""
        if not may_be_by_hand(nodes):
            return Guide()
        return self._guides.get((tuple(shape), signature(nodes)))

    def learn(
        self,
        recorder: ElementwiseRecorder,
        nodes: Sequence[Node],
        shape: Sequence[int],
        names: Mapping[Node, str],
    ) -> None:
        """Take down how a pass is guided that was recorded; `names` has those of its nodes."""
        plan = planned(recorder, nodes)

        def named(numbers: Sequence[int]) -> tuple[str, ...]:
            return tuple(names.get(nodes[n]) or title(nodes[n]) for n in numbers)

        hiding = tuple(_named_function(nodes[n], names.get(nodes[n])) for n in plan.hiding)
        inside = frozenset(named([*plan.ends, *plan.parts]))
        self._guides[tuple(shape), signature(nodes)] = Guide(
            plan, named(plan.unclear), hiding, inside
        )
        while len(self._guides) > _MOST_GUIDES:
            self._guides.popitem(last=False)


def _named_function(node: Node, name: str | None) -> str:
    """Return the name of what can't be looked into, and of the layer that it is in."""
    return title(node) if name is None else f"{title(node)} in {name}"


def _kind(node: Node) -> str:
    return node.name().rstrip("0123456789")


def title(node: Node) -> str:
    """Return what a node is called where no layer has its name."""
    kind = _kind(node).rpartition("::")[2].removesuffix("Backward")
    if isinstance(node, BackwardCFunction):
        return kind  # the name of its class
    if is_scripted(node):
        return "scripted code"
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in kind).lstrip("_")


def ordered(ends: Sequence[Node]) -> list[Node]:
    """Return all nodes that lead to some, each after what it takes: alike in two equal passes."""
    met: dict[Node, None] = {}
    begun: set[Node] = set()
    stack = [(node, False) for node in reversed(ends)]
    while stack:
        node, over = stack.pop()
        if over:
            met[node] = None
        elif node not in begun:
            begun.add(node)
            stack.append((node, True))
            stack.extend((taken, False) for taken in taken_by(node))
    return list(met)


def signature(nodes: Sequence[Node]) -> Hashable:
    """Return what tells whether the nodes of two passes are the same operations."""
    number: dict[Node | None, int] = {node: n for n, node in enumerate(nodes)}
    return tuple(
        (node.name(), tuple((number.get(taken), nr) for taken, nr in node.next_functions))
        for node in nodes
    )


def may_be_by_hand(nodes: Sequence[Node]) -> bool:
    """Whether there may be activations that PyTorch has no way back for."""
    for node in nodes:
        kind = _kind(node)
        if kind not in _PLAIN:
            return True
        if kind == "AddBackward":
            ways = [
                _way_through_activations(n, nr) for n, nr in node.next_functions if n is not None
            ]
            if len(ways) > 1 and not ways[0].isdisjoint(ways[1]):
                return True
    return False


def _way_through_activations(node: Node, number: int) -> set[tuple[Node, int]]:
    way = {(node, number)}
    while _kind(node) in _ACTIVATIONS:
        before, number = node.next_functions[0]
        if before is None:
            break
        node = before
        way.add((node, number))
    return way

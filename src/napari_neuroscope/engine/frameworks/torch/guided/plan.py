"""What of a pass is guided: activations, those that are written by hand as well, by their nodes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node

from napari_neuroscope.engine.frameworks.activation_search import find_activations
from napari_neuroscope.engine.frameworks.torch.guided.elementwise import (
    ElementwiseRecorder,
    is_scripted,
)

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
        if inside or kind_of(node) not in _ACTIVATIONS:
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


def kind_of(node: Node) -> str:
    """Return what kind of node it is: its name without the number of its overload."""
    return node.name().rstrip("0123456789")


def title(node: Node) -> str:
    """Return what a node is called where no layer has its name."""
    kind = kind_of(node).rpartition("::")[2].removesuffix("Backward")
    if isinstance(node, BackwardCFunction):
        return kind  # the name of its class
    if is_scripted(node):
        return "scripted code"
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in kind).lstrip("_")


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
        kind = kind_of(node)
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
    while kind_of(node) in _ACTIVATIONS:
        before, number = node.next_functions[0]
        if before is None:
            break
        node = before
        way.add((node, number))
    return way

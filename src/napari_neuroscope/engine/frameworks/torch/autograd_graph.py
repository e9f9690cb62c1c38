"""The autograd graph of a pass: what lies behind a node, and ways back through it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge


def edge_of(tensor: Tensor) -> GradientEdge | None:
    """Return where a tensor is in the autograd graph; None where it has no gradient."""
    return get_gradient_edge(tensor) if tensor.requires_grad else None


def taken_by(node: Node) -> list[Node]:
    """Return the nodes of what a node's operation took."""
    return [taken for taken, _ in node.next_functions if taken is not None]


def nodes_behind(end: Node) -> set[Node]:
    """Return all nodes that a way back from a node leads through, with it."""
    stack = [end]
    met = set(stack)
    while stack:
        behind = set(taken_by(stack.pop())) - met
        met |= behind
        stack.extend(behind)
    return met


def in_order(ends: Sequence[Node]) -> list[Node]:
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


def goes_through(end: GradientEdge, kind: str) -> bool:
    """Whether a way back leads through a node of a kind."""
    return any(node.name() == kind for node in nodes_behind(end.node))


def stops_and_stations(
    edges: Mapping[str, GradientEdge],
) -> tuple[list[str], dict[Node, list[str]]]:
    """Return the layers at which a backward pass can stop, and the nodes of those it meets before.

    A node is only met where the pass goes on behind it: a layer behind which no other layer
    asked for lies must be a stop. The stem of a network is thus left out where it can be.
    """
    at_node: dict[Node, list[str]] = {}
    for name, edge in edges.items():
        at_node.setdefault(edge.node, []).append(name)
    if len(at_node) == 1:
        return list(edges), {}
    goes_on: dict[Node, bool] = {}
    for start in at_node:
        stack = [(start, False)]
        while stack:
            node, behind_is_told = stack.pop()
            if node in goes_on:
                continue
            behind = taken_by(node)
            if behind_is_told:
                goes_on[node] = any(n in at_node or goes_on.get(n, False) for n in behind)
            else:
                stack.append((node, True))
                stack.extend((n, False) for n in behind if n not in goes_on)
    stops = [name for node, names in at_node.items() if not goes_on[node] for name in names]
    return stops, {node: names for node, names in at_node.items() if goes_on[node]}


def backward_through_checkpoints(
    end: GradientEdge, seed: Tensor, ends: Sequence[GradientEdge | Tensor], leaf: Tensor
) -> list[Tensor | None]:
    """Return the gradients at some ends, by ``backward()``: it alone goes through reentrant ones.

    A tensor among the ends is the `leaf`, whose own ``grad`` is empty before and afterwards.
    """
    arrived: dict[int, Tensor | None] = {}

    def catch(number: int, output: int) -> Callable[..., None]:
        return lambda gradients: arrived.__setitem__(number, gradients[output])

    leaf.grad = None
    try:
        with ExitStack() as stack:
            for number, place in enumerate(ends):
                if isinstance(place, GradientEdge):
                    hook = place.node.register_prehook(catch(number, place.output_nr))
                    stack.callback(hook.remove)
            torch.autograd.backward([end], [seed], retain_graph=True)
        return [
            arrived.get(number) if isinstance(place, GradientEdge) else leaf.grad
            for number, place in enumerate(ends)
        ]
    finally:
        leaf.grad = None


def guard_batch_norms(nodes: Iterable[Node]) -> None:
    """Have the batch norms among nodes be given gradients that lie in memory in order.

    On the CPU an evaluated batch norm of one input takes a gradient as tokens have it, channels
    last, for one of another order, and answers wrongly (docs/known_issues.md). What guards it ends
    with the graph.
    """
    for node in nodes:
        if "BatchNorm" in node.name():
            node.register_prehook(_contiguous)


def _contiguous(gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    # Where no side is 1, strides tell the order, and the gradient stays bit for bit.
    return tuple(
        gradient.contiguous()
        if gradient is not None and 1 in gradient.shape and not gradient.is_contiguous()
        else gradient
        for gradient in gradients
    )

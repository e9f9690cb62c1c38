"""The autograd graph of a pass: all that lies behind a node, and what of it must be guarded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor


def nodes_behind(end: Any) -> set[Any]:
    """Return all nodes that a way back from a node leads through, with it."""
    stack = [end]
    met = set(stack)
    while stack:
        behind = {other for other, _ in stack.pop().next_functions if other is not None} - met
        met |= behind
        stack.extend(behind)
    return met


def guard_batch_norms(nodes: Iterable[Any]) -> None:
    """Have the batch norms among nodes be given gradients that lie in memory in order.

    On the CPU an evaluated batch norm of one input takes a gradient as tokens have it, channels
    last, for one of another order, and answers wrongly (docs/known_issues.md). What guards it ends
    with the graph.
    """
    for node in nodes:
        if "BatchNorm" in node.name():
            node.register_prehook(_in_order)


def _in_order(gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    # Where no side is 1, strides tell the order, and the gradient stays bit for bit.
    return tuple(
        gradient.contiguous()
        if gradient is not None and 1 in gradient.shape and not gradient.is_contiguous()
        else gradient
        for gradient in gradients
    )

"""Nodes of ours share relevance out, and are found in the graph by their names."""

from __future__ import annotations

import torch

from napari_neuroscope.engine.frameworks.torch.lrp.graph_check import kind_of, touches_input
from napari_neuroscope.engine.frameworks.torch.lrp.nodes import (
    PASSED,
    WEIGHTED,
    ActiveRule,
    pass_through,
    weighted_layer,
)
from napari_neuroscope.engine.frameworks.torch.lrp.rules import WeightedSums


def test_they_are_found_in_the_graph() -> None:
    x = torch.tensor([[1.0, 2.0]], requires_grad=True)
    sums = WeightedSums(torch.tensor([[3.0, 4.0]]), None)
    y = weighted_layer(x, None, x.detach(), sums, ActiveRule(), False, lambda: torch.ones(1, 1))
    z = pass_through(y, torch.ones(1, 1), [torch.ones(1, 1)], "tanh", ActiveRule())
    assert (kind_of(y.grad_fn), kind_of(z.grad_fn)) == (WEIGHTED, PASSED)
    assert not touches_input(z.grad_fn)


def test_relevance_goes_on_whole_where_it_is_carried_itself() -> None:
    active_rule = ActiveRule()
    x = torch.tensor([2.0], requires_grad=True)
    y = pass_through(x, torch.tensor([0.25]), [torch.tensor([0.5])], "tanh", active_rule)
    (gradient,) = torch.autograd.grad(y, x, retain_graph=True)
    assert float(gradient) == 0.25
    active_rule.carrying = True
    (relevance,) = torch.autograd.grad(y, x)
    assert float(relevance) == 1

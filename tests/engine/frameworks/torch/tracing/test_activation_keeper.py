"""Outputs are kept as they were, and it is told which are overwritten."""

from __future__ import annotations

import torch

from napari_neuroscope.engine.frameworks.torch.tracing.activation_keeper import (
    ActivationKeeper,
    LayerNodes,
    NodeNames,
)
from napari_neuroscope.engine.frameworks.torch.tracing.recorder import LayerCall


def call(name: str, output: torch.Tensor, kind: str = "other") -> LayerCall:
    return LayerCall(name, kind, name, "", [], None, output)


def test_a_copy_stays_and_what_is_overwritten_is_told() -> None:
    values = torch.ones(4)
    for copy, overwritten in (((), {"a"}), ({"a"}, set())):
        keeper, output = ActivationKeeper({"a"}, copy), values.clone()
        keeper.after_call(call("a", output))
        assert not keeper.overwritten()
        output.mul_(2)
        assert keeper.overwritten() == overwritten
        assert torch.equal(keeper.kept["a"].value, values if copy else 2 * values)


def test_memory_is_counted_once_where_outputs_share_it() -> None:
    keeper, output = ActivationKeeper(), torch.ones(8)
    for name, tensor in (("a", output), ("view", output[:4]), ("b", torch.ones(2))):
        keeper.after_call(call(name, tensor))
    assert keeper.nbytes == 8 * 4 + 2 * 4
    assert keeper.order == [("a", "a"), ("view", "view"), ("b", "b")]


def test_nodes_are_named_by_layers_before_blocks() -> None:
    x = torch.ones(2, requires_grad=True)
    y = x * 2
    z = y.exp()
    names, layers = NodeNames(None), LayerNodes(None)
    for keeper in (names, layers):
        keeper.after_call(call("mul", y))
        keeper.after_call(call("inner", z, "block"))
        keeper.after_call(call("outer", z, "block"))
    assert names.names == {y.grad_fn: "mul", z.grad_fn: "inner"}
    assert layers.names == {y.grad_fn: "mul"}
    assert layers.largest == 2 * 4

"""Activations among the operations of a network, written out as they may be."""

from __future__ import annotations

import pytest

from napari_neuroscope.engine.frameworks.activation_search import (
    Activations,
    Operation,
    OperationKind,
    find_activations,
)


def search(written: str) -> Activations:
    """Search operations, one a line: “name = kind of sources”; a “*” is not elementwise."""
    operations = []
    for line in written.strip().splitlines():
        name, _, rest = line.strip().partition(" = ")
        kind, _, sources = rest.partition(" of ")
        elementwise = not kind.endswith("*")
        plain: OperationKind = kind.rstrip("*")  # type: ignore[assignment]
        operations.append(Operation(name, plain, tuple(sources.split()), elementwise))
    return find_activations(operations)


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        # An activation by itself, and between weights.
        ("w = weighted* of x\nr = activation of w\nv = weighted* of r", {"r": set()}),
        # x · sigmoid(x): the product is the activation, and the sigmoid in it is none.
        ("w = weighted* of x\ns = activation of w\np = product of w s", {"p": {"s"}}),
        # log(1 + exp(x)).
        ("e = exponential of x\na = scalar of e\nl = power of a", {"l": {"e", "a"}}),
        # −softplus(−x): the last change of sign belongs to it.
        ("n = flip of x\ns = activation of n\nm = flip of s", {"m": {"s"}}),
        # A residual connection is none.
        ("r = activation of x\nw = weighted* of r\ns = linear of x w", {"r": set()}),
        ("a = scalar of x\nb = linear of a", {}),
    ],
)
def test_activations(written: str, parts: dict[str, set[str]]) -> None:
    assert {name: set(inside) for name, inside in search(written).parts.items()} == parts


def test_a_clipping_may_be_an_activation_or_arithmetic() -> None:
    assert search("w = weighted* of x\nc = clipping of w").clippings == ["c"]
    # What was just guided is let through either way.
    assert search("r = activation of x\nc = clipping of r").clippings == []


def test_arithmetic_before_weights_is_unclear_and_a_norm_is_not() -> None:
    square = "w = weighted* of x\ns = power of w\nv = weighted* of s"
    assert search(square).unclear == ["s"]
    norm = "w = weighted* of x\ns = power of w\nm = other* of s\nd = product of w m"
    assert search(norm).unclear == []

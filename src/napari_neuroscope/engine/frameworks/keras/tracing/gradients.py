"""Gradients of a TensorFlow graph, plain and guided, as a graph that goes on from it.

The graph is a trace of ours, so that what is added to it, and how its operations pull back, changes
neither the model nor TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from napari_neuroscope.engine.frameworks.keras.tracing.graph import Graph


class Gradients:
    """The graph of the gradients of a graph's scores.

    Attributes
    ----------
    seed
        The tensor that takes the gradient of the scores.
    of
        The gradients of the tensors asked for; None where the scores don't depend on one.
    """

    def __init__(self, graph: Graph, scores: Any, ends: Sequence[Any]) -> None:
        import tensorflow as tf

        self._graph, self._start = graph, graph.size
        with graph.graph.as_default():
            self.seed = tf.compat.v1.placeholder(scores.dtype, scores.shape)
            gradients = tf.gradients([scores], list(ends), [self.seed])
            self.of = [g if g is None else tf.convert_to_tensor(g) for g in gradients]
        graph.grown()

    def needs(self) -> list[Any]:
        """Return the tensors of the forward pass that the gradients are computed from."""
        seen: set[str] = set()
        needed: dict[str, Any] = {}
        stack = [g for g in self.of if g is not None]
        while stack:
            tensor = stack.pop()
            if tensor is self.seed or self._graph.is_constant(tensor):
                continue
            if self._graph.place(tensor.op) < self._start:
                needed[tensor.name] = tensor
            elif tensor.op.name not in seen:
                seen.add(tensor.op.name)
                stack.extend(tensor.op.inputs)
        return list(needed.values())


class Guide:
    """Makes the activations of a graph pass back positive gradient only, when it is told to."""

    def __init__(self, graph: Graph, guided: Iterable[str]) -> None:
        self.on = False
        self.count = 0
        from tensorflow.python.framework import ops

        for name in guided:
            op = graph.graph.get_operation_by_name(name)
            # On the operation itself, which is of our graph alone: a registered gradient, or the
            # graph's own map of them, is for all operations of a type, and an activation may end in
            # an addition. A GradientTape knows no gradients but the registered ones.
            op._gradient_function = self._guided(ops.get_gradient_function(op))

    def _guided(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        import tensorflow as tf

        def gradient(op: Any, *gradients: Any) -> Any:
            if self.on:
                self.count += 1
                gradients = (tf.nn.relu(gradients[0]), *gradients[1:])
            return plain(op, *gradients)

        return gradient

"""A traced model: its graph with the layers in it, and the graphs of its gradients."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

from napari_neuroscope.engine.errors import Progress
from napari_neuroscope.engine.frameworks.activation_search import Activations
from napari_neuroscope.engine.frameworks.keras.tracing.activations import activations
from napari_neuroscope.engine.frameworks.keras.tracing.final_activation import Cut, cut_end
from napari_neuroscope.engine.frameworks.keras.tracing.gradients import Gradients, Guide
from napari_neuroscope.engine.frameworks.keras.tracing.graph import (
    CALLS,
    NONLINEAR,
    Graph,
    same_place,
)
from napari_neuroscope.engine.frameworks.keras.tracing.layer_kinds import snake_case
from napari_neuroscope.engine.frameworks.keras.tracing.recorder import LayerCall
from napari_neuroscope.engine.frameworks.keras.tracing.trace import trace
from napari_neuroscope.engine.spec.model_spec import ModelSpec

FinalActivation = tuple[str, Literal["softmax", "sigmoid"]]


class TracedGraph:
    """A model's graph for inputs of one shape: no question changes what it says.

    Attributes
    ----------
    calls
        The layers by name.
    output
        The network's answer.
    cut
        Where it is cut before its end; None where it has none.
    final_activation
        The name of what it is cut before, and what that is.
    graph
        What runs, and grows by its gradients.
    channels_last
        Whether the answer has its channels last.
    answers_several
        Whether the model answers more than a tensor.
    """

    def __init__(
        self, model: Any, shape: tuple[int, ...], spec: ModelSpec, progress: Progress
    ) -> None:
        import tensorflow as tf

        traced = trace(model, shape, spec, progress)
        self._recorder, self.output = traced.recorder, traced.output
        # Gradients are taken of a graph that is ours alone, and is grown for them.
        with traced.concrete.graph.as_default():
            self.cut = cut_end(self.output)
        self.graph = Graph(traced.concrete, traced.x)
        self.calls = {call.name: call for call in self._recorder.calls}
        self.answers_several = self._recorder.answers_several
        source = self._recorder.source_of(self.output)
        last = spec.input.axes.endswith("c")
        self.channels_last = last if source is None else source.channels_last
        self.final_activation: FinalActivation | None = None
        self._uncut_calls = self.calls
        if self.cut is not None:
            self._name_final_activation(self.cut)
        # Before gradients are added.
        self._forward_size = self.graph.size
        self._floats = {tf.float16, tf.bfloat16, tf.float32, tf.float64}

    def _name_final_activation(self, cut: Cut) -> None:
        maker = self._recorder.maker_of(cut.op)
        if maker is not None and maker.kind == "activation":
            self.final_activation = maker.name, cut.kind
            return
        # It is a part of a layer, and no layer of its own.
        self.final_activation = f"{maker.name if maker else ''}.{cut.kind}", cut.kind
        if maker is not None and maker.output.shape == cut.logits.shape:
            inside = {t.name for t in (cut.op.outputs[0], self.output)}
            if maker.output.name in inside or same_place(maker.output.op):
                self.calls = {**self.calls, maker.name: replace(maker, output=cut.logits)}

    def consumers_of(self, call: LayerCall) -> list[str]:
        """Return the layers that take what a layer answers; of a block, those outside of it."""
        if call.kind != "block":
            return call.consumers
        last = self._recorder.source_of(call.output)
        consumers = last.consumers if last else []
        return [name for name in consumers if not name.startswith(call.name + ".")]

    @cached_property
    def uncut(self) -> TracedGraph:
        """The same graph with its end: where a final softmax is none over the classes."""
        self._guide  # noqa: B018  shared: operations are marked once
        uncut = copy(self)
        for name in ("layers_of_tensors", "gradients", "guided", "tensors_to_keep"):
            uncut.__dict__.pop(name, None)
        uncut.cut = uncut.final_activation = None
        uncut.calls = self._uncut_calls
        return uncut

    @property
    def scores(self) -> Any:
        """The tensor that gradients start from."""
        return self.output if self.cut is None else self.cut.scores

    @property
    def ends(self) -> list[Any]:
        """The answer, and what it is before its end."""
        return [self.output, *([self.cut.scores] if self.cut else [])]

    def differentiable(self, name: str) -> bool:
        """Whether a gradient can be pulled back to a layer."""
        output = self.calls[name].output
        return output.dtype in self._floats and self.graph.depends(output)

    @cached_property
    def layers_of_tensors(self) -> dict[str, list[str]]:
        """The layers that answer a tensor, by its name."""
        layers: dict[str, list[str]] = {}
        for call in self.calls.values():
            layers.setdefault(call.output.name, []).append(call.name)
        return layers

    @cached_property
    def _activations(self) -> Activations:
        return activations(self.graph, [self.output, self.scores])

    @cached_property
    def _guide(self) -> Guide:
        return Guide(self.graph, map(str, self._activations.parts))

    @cached_property
    def gradients(self) -> tuple[Gradients, dict[str | None, Any]]:
        """The graph of gradients, and those of the layers by name; the input's is None's."""
        self._guide  # noqa: B018  marks the operations, before anything is asked of them
        names = [name for name in self.calls if self.differentiable(name)]
        ends = [self.calls[name].output for name in names]
        gradients = Gradients(self.graph, self.scores, [*ends, self.graph.x])
        return gradients, dict(zip([*names, None], gradients.of, strict=True))

    @cached_property
    def guided(self) -> tuple[Gradients, int]:
        """The graph of the guided gradient of the input, and how many activations it guides."""
        self._guide.on, self._guide.count = True, 0
        try:
            gradients = Gradients(self.graph, self.scores, [self.graph.x])
        finally:
            self._guide.on = False
        return gradients, self._guide.count

    @cached_property
    def tensors_to_keep(self) -> list[Any]:
        """The tensors that a forward pass keeps for the backward passes."""
        needed = self.gradients[0].needs()
        return [tensor for tensor in needed if tensor is not self.graph.x]

    def unguided(self) -> list[str]:
        """Return what may be an activation or arithmetic, and is not guided: layers, by name."""
        search = self._activations
        names = sorted({*search.clippings, *search.unclear}, key=self._place)
        return list(
            dict.fromkeys(self._title(self.graph.graph.get_operation_by_name(n)) for n in names)
        )

    def _place(self, name: Any) -> int:
        return self.graph.place(self.graph.graph.get_operation_by_name(name))

    def _title(self, op: Any) -> str:
        maker = self._recorder.maker_of(op)
        return snake_case(op.type) if maker is None else maker.name

    @cached_property
    def hidden_functions(self) -> list[str]:
        """The names of operations that hold a graph of their own, with activations inside."""
        ops = self.graph.graph.get_operations()[: self._forward_size]
        calls = [op for op in ops if op.type in CALLS]
        hidden = _functions_with_activations(self.graph.graph) if calls else set()
        return [
            op.name
            for op in calls
            if op.name in self.graph.from_input and _called(op.node_def) & hidden
        ]


def _called(node: Any) -> set[str]:
    """Return the names of the functions that an operation calls."""
    return {v.func.name for v in node.attr.values() if v.WhichOneof("value") == "func"}


def _functions_with_activations(graph: Any) -> set[str]:
    library = {f.signature.name: f.node_def for f in graph.as_graph_def().library.function}
    with_activations = {
        name for name, nodes in library.items() if any(node.op in NONLINEAR for node in nodes)
    }
    while callers := {
        name
        for name, nodes in library.items()
        if name not in with_activations and any(_called(node) & with_activations for node in nodes)
    }:
        with_activations |= callers
    return with_activations

"""Names every layer call, and every operation outside of layers, while a model is traced.

While one model is traced, `keras.Layer.__call__` and `keras.Operation.__call__` are replaced in the
whole process, since Keras has no hook for the call of a layer, and hooks on the layers themselves
would change the model. They are replaced for a trace alone, of which there is one for each size of
input, and put back whatever happens. Only the thread that traces is recorded: calls in another
thread go straight on to Keras's own methods. `trace` lets no two traces run at once, so that
each puts back what Keras has.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from napari_neuroscope.engine.errors import Progress
from napari_neuroscope.engine.frameworks.keras.tracing.graph import same_place
from napari_neuroscope.engine.frameworks.keras.tracing.layer_kinds import (
    layer_kind,
    operation_kind,
    operation_name,
)
from napari_neuroscope.engine.graph.layer_graph import Kind


@dataclass
class LayerCall:
    """A layer that has run, or is running.

    Attributes
    ----------
    name, kind, operation, block, inputs, altered
        As `Layer` has them.
    layer
        Keras's own object; None for an operation outside of layers.
    output
        The symbolic tensor that it answers.
    channels_last
        Whether that has its channels last.
    consumers
        The names of the layers after it.
    calls_before
        How many calls had ended when it began.
    """

    name: str
    kind: Kind
    operation: str
    block: str
    inputs: tuple[str, ...]
    layer: Any = None
    output: Any = None
    channels_last: bool = True
    altered: bool = False
    consumers: list[str] = field(default_factory=list)
    calls_before: int = 0


class Recorder:
    """The layers of one trace.

    Attributes
    ----------
    calls
        Those that have ended, in order.
    interruption
        What the progress raised: Keras words anew what is raised inside of a model.
    answers_several
        Whether the model answers more than a tensor.
    """

    def __init__(self, model: Any, progress: Progress, *, channels_last: bool) -> None:
        self.calls: list[LayerCall] = []
        self.interruption: Exception | None = None
        self.answers_several = False
        self._model, self._progress, self._channels_last = model, progress, channels_last
        self._thread = threading.get_ident()
        self._name_counts: Counter[str] = Counter()
        self._path: list[str] = []
        self._open_calls: list[LayerCall] = []
        self._inside_layer = False
        self._by_name: dict[str, LayerCall] = {}
        # The layers that tensors come from, and the layer that made an operation, where one did.
        self._sources: dict[str, tuple[str, ...]] = {}
        self._makers: dict[str, str] = {}
        self._graph: Any = None
        self._recorded_operations = 0
        self._from_input: set[str] = set()

    @contextmanager
    def recording(self, graph: Any, x: Any) -> Iterator[None]:
        """Record the calls in this thread; the model's own objects are not touched."""
        import keras

        self._graph, self._from_input = graph, {x.op.name}
        self._recorded_operations = len(graph.get_operations())
        originals = [(owner, vars(owner)["__call__"]) for owner in (keras.Operation, keras.Layer)]
        try:
            for owner, original in originals:
                owner.__call__ = self._recorded(original, of_layers=owner is keras.Layer)
            yield
        finally:
            for owner, original in originals:
                owner.__call__ = original
        self._record_operations()

    def _recorded(self, original: Callable[..., Any], *, of_layers: bool) -> Callable[..., Any]:
        """Return a method that records the call of a layer, or of an operation that is none."""
        import keras

        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            # Keras calls a layer as an operation once more.
            if (
                threading.get_ident() != self._thread
                or self._inside_layer
                or isinstance(layer, keras.Layer) != of_layers
                or (layer is self._model and not self._open_calls)
            ):
                return original(layer, *args, **kwargs)
            with self._layer_call(layer, (args, kwargs)) as recorded:
                answer = original(layer, *args, **kwargs)
                recorded.output = next(tensors_in(answer), None)
            return answer

        return call

    @contextmanager
    def _layer_call(self, layer: Any, given: Any) -> Iterator[LayerCall]:
        self._record_operations()
        kind = layer_kind(layer)
        path = ".".join([*self._path, layer.name])
        call = LayerCall(
            self._unique_name(path, ":"),
            kind or "block",
            type(layer).__name__,
            self._open_block(),
            self._sources_of(tensors_in(given)),
            layer,
            calls_before=len(self.calls),
        )
        call.channels_last = self._has_channels_last(call)
        self._open_calls.append(call)
        self._path.append(layer.name)
        self._inside_layer = kind is not None
        try:
            yield call
        finally:
            self._inside_layer = False
            self._record_operations(maker=call.name if kind else None)
            self._open_calls.pop()
            self._path.pop()
        if call.output is None:
            return
        # A block is no node of its own, unless nothing was seen inside of it.
        if call.kind == "block" and len(self.calls) == call.calls_before:
            call.kind = "other"
        self._add(call)

    def _has_channels_last(self, call: LayerCall) -> bool:
        data_format = getattr(call.layer, "data_format", None)
        if isinstance(data_format, str):
            return data_format == "channels_last"
        return self._by_name[call.inputs[0]].channels_last if call.inputs else self._channels_last

    def _unique_name(self, base: str, sign: str) -> str:
        self._name_counts[base] += 1
        number = self._name_counts[base]
        return base if number == 1 else f"{base}{sign}{number}"

    def _open_block(self) -> str:
        return self._open_calls[-1].name if self._open_calls else ""

    def _sources_of(self, tensors: Iterable[Any]) -> tuple[str, ...]:
        """Return the layers that tensors come from by no other layer."""
        return tuple(
            dict.fromkeys(name for tensor in tensors for name in self._sources.get(tensor.name, ()))
        )

    def _add(self, call: LayerCall) -> None:
        self.calls.append(call)
        self._by_name[call.name] = call
        if call.kind != "block":
            self._sources[call.output.name] = (call.name,)
            for source in call.inputs:
                self._by_name[source].consumers.append(call.name)
        try:
            self._progress(len(self.calls), 0, "looking for layers")
        except Exception as error:
            self.interruption = error
            raise

    def _record_operations(self, maker: str | None = None) -> None:
        """Record the operations made since the last time: by a layer, or outside of layers."""
        operations = self._graph.get_operations()[self._recorded_operations :]
        self._recorded_operations += len(operations)
        for op in operations:
            varying = [tensor for tensor in op.inputs if tensor.op.name in self._from_input]
            if not varying:
                continue
            self._from_input.add(op.name)
            if maker is not None:
                self._makers[op.name] = maker
            else:
                self._record_operation(op, varying)

    def _record_operation(self, op: Any, varying: list[Any]) -> None:
        """Record an operation outside of layers, which takes tensors that come from the input."""
        sources = self._sources_of(varying)
        if op.type == "BiasAdd" and len(sources) == 1:
            # The bias of a convolution is a part of it.
            before = self._by_name[sources[0]]
            if before.output is op.inputs[0] and before.kind in ("convolution", "dense"):
                before.output = op.outputs[0]
                self._sources[op.outputs[0].name] = sources
                return
        kind = operation_kind(op.type, len(varying))
        if kind is None:
            # Arithmetic that is no layer passes on what its layers answered.
            for output in op.outputs:
                self._sources[output.name] = sources
            if not same_place(op):
                for source in sources:
                    self._by_name[source].altered = True
            return
        name = operation_name(op.type)
        call = LayerCall(self._unique_name(name, "_"), kind, name, self._open_block(), sources)
        call.output = op.outputs[0]
        call.channels_last = self._has_channels_last(call)
        self._makers[op.name] = call.name
        self._add(call)
        for output in op.outputs[1:]:
            self._sources[output.name] = (call.name,)

    def source_of(self, tensor: Any) -> LayerCall | None:
        """Return the one layer that a tensor comes from."""
        sources = self._sources_of([tensor])
        return self._by_name[sources[0]] if len(sources) == 1 else None

    def maker_of(self, op: Any) -> LayerCall | None:
        """Return the layer that made an operation."""
        return self._by_name.get(self._makers.get(op.name, ""))


def tensors_in(value: Any) -> Iterator[Any]:
    """Yield the tensors in nested arguments or results."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)
    elif hasattr(value, "op") and hasattr(value, "dtype"):
        yield value

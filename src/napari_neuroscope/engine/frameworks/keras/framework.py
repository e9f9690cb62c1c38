"""Keras 3 on TensorFlow: models traced once, layers as they are called.

Layers have the names that ``model.summary()`` shows; those inside of nested models and layers
follow the outer name and a dot (``encoder.conv1``), a second call ``conv1:2``. TensorFlow's own
operations in a subclassed model's ``call`` have the operation's name and a number (``relu``,
``relu_2``).

A layer with ``activation="relu"`` is one layer, and answers what comes after its activation; but a
final softmax or sigmoid is cut off, and the last layer then answers the logits.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError, Progress, no_progress
from napari_neuroscope.engine.files.file_kind import Kind
from napari_neuroscope.engine.frameworks.base import Capability, Framework
from napari_neuroscope.engine.frameworks.byte_range import AS_BYTES
from napari_neuroscope.engine.frameworks.common import (
    layer_did_not_run,
    refuse_large_pass,
    size_and_channels,
    sums_to_one_along,
    to_axes,
)
from napari_neuroscope.engine.frameworks.input_shape import refuse_without_image
from napari_neuroscope.engine.frameworks.keras.arrays import output_of, to_tensorflow
from napari_neuroscope.engine.frameworks.keras.device import choose_device
from napari_neuroscope.engine.frameworks.keras.errors import translated_errors
from napari_neuroscope.engine.frameworks.keras.files.load import KINDS, load_keras
from napari_neuroscope.engine.frameworks.keras.input_values import (
    graph_takes_bytes,
    input_axes,
    input_type,
    takes_bytes,
    takes_whole_numbers,
    whole_numbers,
)
from napari_neuroscope.engine.frameworks.keras.outputs import offered_outputs
from napari_neuroscope.engine.frameworks.keras.reach import reach_of
from napari_neuroscope.engine.frameworks.keras.run import KerasRun
from napari_neuroscope.engine.frameworks.keras.tensorflow_import import import_tensorflow
from napari_neuroscope.engine.frameworks.keras.tracing.layer_kinds import describe, layer_kind
from napari_neuroscope.engine.frameworks.keras.tracing.recorder import LayerCall
from napari_neuroscope.engine.frameworks.keras.tracing.traced_graph import (
    FinalActivation,
    TracedGraph,
)
from napari_neuroscope.engine.frameworks.keras.weights import digest_of, fingerprints
from napari_neuroscope.engine.frameworks.model_lock import ModelLock
from napari_neuroscope.engine.frameworks.output_choice import OfferedOutput
from napari_neuroscope.engine.graph.layer_graph import Layer, LayerGraph
from napari_neuroscope.engine.spec.model_spec import ModelSpec

_MOST_TRACES = 8


class KerasFramework(Framework):
    """Any ``keras.Model`` of Keras 3 on TensorFlow."""

    name = "keras"
    capabilities = (
        Capability.SCORES | Capability.ACTIVATIONS | Capability.GRADIENTS | Capability.GUIDED
    )

    kinds = KINDS

    lock: ModelLock

    @classmethod
    def load(
        cls,
        path: Path,
        kind: Kind,
        *,
        factory: Any,
        arguments: dict[str, Any] | None,
        trust: bool,
    ) -> Any:
        return load_keras(path, kind, factory=factory, arguments=arguments, trust=trust)

    @classmethod
    def recognises(cls, model: Any) -> bool:
        # Nothing is imported for a model of another framework.
        for package in ("keras", "tf_keras"):
            kind = getattr(sys.modules.get(package), "Model", None)
            if kind is not None and isinstance(model, kind):
                return True
        return False

    def __init__(self, model: Any, device: str) -> None:
        keras = sys.modules.get("keras")
        three = keras is not None and str(getattr(keras, "__version__", "")) >= "3"
        if keras is None or not three or not isinstance(model, keras.Model):
            raise NeuroscopeError(
                "The model is one of Keras 2; save it as .keras and load it with Keras 3, on "
                "TensorFlow."
            )
        if keras.backend.backend() != "tensorflow":
            raise NeuroscopeError(
                f"Keras runs on {keras.backend.backend()} here, and only Keras on TensorFlow is "
                f"known; set KERAS_BACKEND=tensorflow before Python starts."
            )
        import_tensorflow()
        inputs = getattr(model, "inputs", None)
        if isinstance(inputs, list) and len(inputs) > 1:
            raise NeuroscopeError(
                f"The network takes {len(inputs)} inputs "
                f"({', '.join(tensor.name for tensor in inputs)}), and only one image can be "
                f"given; wrap it in a model that takes the image alone."
            )
        self.model = model
        self.lock = ModelLock(lambda: _parts(model))
        self.device, self._place = choose_device(device)
        policy = str(model.compute_dtype)
        self.dtype = getattr(torch, policy, torch.float32)
        self._traces: OrderedDict[Hashable, TracedGraph] = OrderedDict()
        self._digest: tuple[Hashable, str] | None = None
        outputs = getattr(model, "outputs", None)
        self.offers_several = isinstance(outputs, list) and len(outputs) > 1

    def frozen(self) -> ModelLock:
        # Passes run in inference mode and on a graph: there is nothing to put back.
        return self.lock

    # --- what the model says of itself ---

    def _input_shape(self) -> tuple[int | None, ...] | None:
        inputs = getattr(self.model, "inputs", None)
        if isinstance(inputs, list) and inputs:
            return tuple(inputs[0].shape)
        return None

    def _flat_layers(self) -> list[Any]:
        return list(self.model._flatten_layers(include_self=False))

    def completed(self, spec: ModelSpec) -> ModelSpec:
        shape, given = self._input_shape(), spec.input
        axes = given.axes
        if "axes" not in given.model_fields_set:
            axes = input_axes(axes, shape, self._flat_layers())
            refuse_without_image(shape, axes)
        told: dict[str, Any] = {"axes": axes} if axes != given.axes else {}
        told |= size_and_channels(shape, axes, spec)
        if "normalization" not in given.model_fields_set and takes_bytes(
            self.model, self._flat_layers()
        ):
            told["normalization"] = AS_BYTES
        return spec.with_input(**told) if told else spec

    def normalises_bytes(self, spec: ModelSpec, black: Tensor) -> bool | None:
        if (told := takes_bytes(self.model, self._flat_layers())) is not None:
            return told
        with self._passing("forward pass", black):
            return graph_takes_bytes(self._traced(black, spec).graph.x)

    def input_channels(self) -> int | None:
        for layer in self._flat_layers():
            if layer_kind(layer) == "convolution" and layer.built:
                kernel = getattr(layer, "kernel", None)
                if kernel is not None and getattr(layer, "groups", 1) == 1:
                    return int(kernel.shape[-2])
            if layer_kind(layer) == "dense":
                return None
        return None

    # --- passes ---

    @contextmanager
    def _passing(self, what: str, x: Tensor | None = None) -> Iterator[None]:
        """Hold the model and its device, and turn what TensorFlow raises into a sentence."""
        import tensorflow as tf

        with self.lock, tf.device(self._place), translated_errors(what, self._place, x):
            yield

    def _traced(self, x: Tensor, spec: ModelSpec, progress: Progress = no_progress) -> TracedGraph:
        if "b" not in spec.input.axes:
            raise NeuroscopeError(
                f"A Keras network takes a batch, but the spec's input.axes “{spec.input.axes}” "
                f"have none; put a b where it comes."
            )
        shape = tuple(to_axes(x, spec.input.axes).shape)
        if any(not layer.built for layer in [self.model, *self._flat_layers()]):
            # A subclassed model makes its weights when it is first called.
            self.model(self._given(x, spec), training=False)
        key = shape, spec.input.axes, spec.output.index, self._structure()
        if key not in self._traces:
            traced = TracedGraph(self.model, shape, spec, progress)
            refuse_large_pass(shape, *traced.graph.sizes, advice="give it a smaller one")
            self._traces[key] = traced
            self.offers_several = traced.answers_several
            while len(self._traces) > _MOST_TRACES:
                self._traces.popitem(last=False)
        self._traces.move_to_end(key)
        return self._traces[key]

    def outputs(self, x: Tensor, spec: ModelSpec) -> list[OfferedOutput]:
        with self._passing("forward pass", x):
            # A pass that is too large is told before it runs.
            self._traced(x, spec)
            given = self._given(x, spec)
            return offered_outputs(self.model, given, len(spec.input.space))

    def _structure(self) -> Hashable:
        """Return what changes when layers, their activations or their variables are exchanged."""
        layers = self._flat_layers()
        return (
            tuple((id(layer), id(getattr(layer, "activation", None))) for layer in layers),
            tuple(id(weight.value) for weight in self.model.weights),
        )

    def _given(self, x: Tensor, spec: ModelSpec) -> Any:
        """Return an input as the model takes it: whole numbers are rounded, not cut off."""
        values = to_axes(x.float(), spec.input.axes)
        if takes_whole_numbers(self.model):
            values = whole_numbers(values, input_type(self.model))
        return to_tensorflow(values)

    def _forward(
        self, traced: TracedGraph, x: Tensor, spec: ModelSpec, wanted: list[Any], progress: Progress
    ) -> dict[str, Any]:
        graph = traced.graph
        given = {graph.x.name: self._given(x, spec)}
        total = len(traced.calls)
        done: set[str] = set()

        def visit(tensor: str, value: Any) -> None:
            for name in traced.layers_of_tensors.get(tensor, ()):
                done.add(name)
                progress(len(done), total, "forward pass")

        wanted = [tensor for tensor in wanted if tensor.name not in given]
        key = "forward", tuple(tensor.name for tensor in wanted)
        values = graph.plan(wanted, given.keys(), key=key).run(given, visit)
        for tensor in wanted:
            if tensor.name not in values:
                values[tensor.name] = graph.constant(tensor)
        return {**given, **values}

    def _output(self, traced: TracedGraph, spec: ModelSpec, values: Any) -> Tensor:
        """Return an output of a pass as the engine takes it."""
        return output_of(values, spec, self.device, channels_last=traced.channels_last)

    def layers(self, x: Tensor, spec: ModelSpec, progress: Progress) -> tuple[LayerGraph, Tensor]:
        with self._passing("forward pass", x):
            traced = self._traced(x, spec, progress)
            values = self._forward(traced, x, spec, [traced.output], progress)
            output = self._output(traced, spec, values[traced.output.name])
        space = len(spec.input.space)
        layers = [
            Layer(
                call.name,
                call.kind,
                _output_shape(call, space),
                call.layer.count_params() if hasattr(call.layer, "count_params") else 0,
                call.inputs,
                tuple(dict.fromkeys(traced.consumers_of(call))),
                call.operation,
                call.block,
                altered=call.altered,
                differentiable=traced.differentiable(call.name),
                description=describe(call.layer),
                reach=None if call.kind == "block" else reach_of(call.layer, call.operation, space),
            )
            for call in traced.calls.values()
        ]
        return LayerGraph(layers, space, self._final_activation(traced, spec, output)), output

    def _final_activation(
        self, traced: TracedGraph, spec: ModelSpec, output: Tensor
    ) -> FinalActivation | None:
        """Return the end, unless it is a softmax over something else than the classes."""
        final = traced.final_activation
        if final is None or final[1] == "sigmoid":
            return final
        assert traced.cut is not None
        values = output.float().exp() if traced.cut.op.type == "LogSoftmax" else output
        axis = spec.output.axis_of("c", min(1, output.ndim - 1))
        return final if sums_to_one_along(values, axis) else None

    def run(
        self,
        x: Tensor,
        spec: ModelSpec,
        layers: LayerGraph,
        keep: Collection[str],
        progress: Progress,
    ) -> KerasRun:
        with self._passing("forward pass", x):
            traced = self._traced_as(x, spec, layers)
            for name in keep:
                if name not in traced.calls:
                    raise layer_did_not_run(name)
            kept = [traced.calls[name].output for name in keep]
            wanted = [*traced.ends, *kept, *traced.tensors_to_keep]
            values = self._forward(traced, x, spec, wanted, progress)
            return KerasRun(traced, spec, values, keep, device=self.device, passing=self._passing)

    def _traced_as(self, x: Tensor, spec: ModelSpec, layers: LayerGraph) -> TracedGraph:
        """Return the trace, cut before its end where the layers found say that it has one."""
        traced = self._traced(x, spec)
        return traced if layers.final_activation is not None or not traced.cut else traced.uncut

    def output(
        self, x: Tensor, spec: ModelSpec, layers: LayerGraph
    ) -> tuple[Tensor, Tensor | None]:
        with self._passing("forward pass", x):
            traced = self._traced_as(x, spec, layers)
            values = self._forward(traced, x, spec, traced.ends, no_progress)
            answers = [self._output(traced, spec, values[end.name]) for end in traced.ends]
        return answers[0], answers[1] if len(answers) > 1 else None

    # --- weights ---

    def state(self) -> Hashable:
        with self.lock:
            return self._structure(), fingerprints(self.model)

    def digest(self, state: Hashable = None) -> str:
        with self.lock:
            state = self.state() if state is None else state
            if self._digest is None or self._digest[0] != state:
                self._digest = state, digest_of(self.model)
            return self._digest[1]

    def guided_notes(self, layers: LayerGraph) -> list[str]:
        traced = next(reversed(self._traces.values()), None)
        if traced is None:
            return []
        if hidden := traced.hidden_functions:
            raise NeuroscopeError(
                f"Guided backpropagation can't see inside the function “{hidden[0]}” and its "
                f"answer would be wrong; use the network as it was before it was saved or "
                f"compiled, or Saliency."
            )
        return []


def _parts(model: Any) -> list[int]:
    """Return what two models may share."""
    layers = model._flatten_layers(include_self=False)
    return [id(part) for part in (model, *layers, *model.weights)]


def _output_shape(call: LayerCall, space: int) -> tuple[int, ...]:
    shape = [n or 0 for n in call.output.shape.as_list()] if call.output.shape.rank else [0]
    if call.channels_last and len(shape) == space + 2:
        shape.insert(1, shape.pop())
    return tuple(shape[1:])

"""Keras 3 on TensorFlow: models traced once, layers as they are called.

Layers have the names that ``model.summary()`` shows; those inside of nested models and layers
follow the outer name and a dot (``encoder.conv1``), a second call ``conv1:2``. TensorFlow's own
operations in a subclassed model's ``call`` have the operation's name and a number (``relu``,
``relu_2``).

A layer with ``activation="relu"`` is one layer, and answers what comes after its activation; but a
final softmax or sigmoid is cut off, and the last layer then answers the logits.
"""

from __future__ import annotations

import hashlib
import math
import re
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope.engine.errors import (
    Cancelled,
    NeuroscopeError,
    OutOfMemoryError,
    Progress,
    no_progress,
    shortened,
)
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.file_kind import Kind
from napari_neuroscope.engine.files.free_memory import free_memory
from napari_neuroscope.engine.frameworks.base import Capability, Framework, Run
from napari_neuroscope.engine.frameworks.byte_range import AS_BYTES
from napari_neuroscope.engine.frameworks.common import to_axes
from napari_neuroscope.engine.frameworks.guided_notes import unguided_notes
from napari_neuroscope.engine.frameworks.input_shape import refuse_without_image
from napari_neuroscope.engine.frameworks.keras import graph as keras_graph
from napari_neuroscope.engine.frameworks.keras.files import KINDS, load_keras
from napari_neuroscope.engine.frameworks.keras.input_values import (
    graph_takes_bytes,
    input_type,
    takes_bytes,
    takes_whole_numbers,
    whole_numbers,
)
from napari_neuroscope.engine.frameworks.keras.model_graph import (
    Call,
    TracedGraph,
    describe,
    layer_kind,
)
from napari_neuroscope.engine.frameworks.keras.outputs import offered_outputs
from napari_neuroscope.engine.frameworks.keras.reach import reach_of
from napari_neuroscope.engine.frameworks.keras.tensorflow_import import import_tensorflow
from napari_neuroscope.engine.frameworks.model_lock import ModelLock
from napari_neuroscope.engine.frameworks.output_choice import OfferedOutput
from napari_neuroscope.engine.graph.layer_graph import WITHOUT_GRADIENT, Layer, LayerGraph
from napari_neuroscope.engine.spec.model_spec import ModelSpec, SizeRule

_MOST_TRACES = 8
_NUMBER = 4
"""Bytes of a number of the image."""

# --- arrays ---------------------------------------------------------------------------------------

_ALIGNED = 64


def _to_tensorflow(values: Tensor) -> Any:
    """Hand an array to TensorFlow, without a copy where it can take it."""
    import tensorflow as tf

    values = values.detach().contiguous()
    # TensorFlow ends the process over memory that is not aligned.
    if values.data_ptr() % _ALIGNED:
        values = values.clone()
    if values.is_cuda and tf.config.list_physical_devices("GPU"):
        torch.cuda.current_stream(values.device).synchronize()
    elif values.is_cuda or values.data_ptr() % _ALIGNED:
        return tf.constant(values.float().cpu().numpy(), _tf_dtype(values.dtype))
    return tf.experimental.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(values))


def _tf_dtype(dtype: torch.dtype) -> Any:
    import tensorflow as tf

    return tf.as_dtype(str(dtype).removeprefix("torch."))


def _to_torch(values: Any, device: torch.device) -> Tensor:
    """Take an array from TensorFlow, without a copy where it lies on the same device."""
    import tensorflow as tf

    on_gpu = "GPU" in values.device
    if on_gpu and device.type == "cuda":
        tf.experimental.sync_devices()
    elif on_gpu:
        plain = values.numpy()
        # NumPy's own bfloat16 is none that torch knows.
        known = plain if plain.dtype.kind != "V" else plain.astype(np.float32)
        return torch.from_numpy(known)
    return torch.utils.dlpack.from_dlpack(tf.experimental.dlpack.to_dlpack(values)).to(device)


def _canonical(values: Tensor, space: int, *, channels_last: bool) -> Tensor:
    """Bring (1, *space, channel) to (1, channel, *space)."""
    return values.movedim(-1, 1) if channels_last and values.ndim == space + 2 else values


# --- a run ----------------------------------------------------------------------------------------


class KerasRun(Run):
    """A forward pass, with what its backward passes need."""

    def __init__(
        self,
        framework: KerasFramework,
        traced: TracedGraph,
        spec: ModelSpec,
        values: dict[str, Any],
        keep: Collection[str],
    ) -> None:
        self._framework, self._traced, self._spec = framework, traced, spec
        self._values = values
        self._space = len(spec.input.space)
        self.output = self._torch_output(traced.output)
        self.scores = None if traced.cut is None else self._torch_output(traced.cut.scores)
        self.activations = {name: self._of_layer(name, self._activation(name)) for name in keep}
        self.nbytes = sum(
            value.shape.num_elements() * value.dtype.size
            for name, value in values.items()
            if name.split(":", maxsplit=1)[0] in traced.graph.from_input
        )

    def _activation(self, layer: str) -> Any:
        output = self._traced.calls[layer].output
        graph = self._traced.graph
        return self._values[output.name] if output.name in self._values else graph.constant(output)

    def _torch_output(self, tensor: Any) -> Tensor:
        return self._framework.arranged(self._traced, self._spec, self._values[tensor.name])

    def _of_layer(self, layer: str, value: Any) -> Tensor:
        last = self._traced.calls[layer].channels_last
        return _canonical(_to_torch(value, self._framework.device), self._space, channels_last=last)

    def _of_input(self, gradient: Tensor) -> Tensor:
        axes = self._spec.input.axes
        own = "bc" + self._spec.input.space
        if "c" not in axes:
            gradient, axes = gradient.unsqueeze(1), axes.replace("b", "bc")
        return gradient.permute([axes.index(axis) for axis in own])

    def _seed(self, seed: Tensor) -> Any:
        if self._framework.rearranges(self._traced, self._spec, seed.ndim):
            seed = seed.movedim(1, -1)
        return _to_tensorflow(seed)

    def gradients(
        self, seed: Tensor, layers: Sequence[str], *, with_input: bool = False
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        asked: list[str | None] = [*layers, *[None][: int(with_input)]]
        found = self._pull_back(seed, asked)
        reaches_input = self._traced.gradients[1][None] is not None
        # Where nothing arrives, the score does not depend on it; but behind a cast that is unknown.
        gradients = {
            name: self._of_layer(name, found[name])
            if name in found
            else torch.zeros_like(self.activations[name])
            for name in layers
            if name in found or reaches_input
        }
        if None not in found:
            return gradients, None
        return gradients, self._of_input(_to_torch(found[None], self._framework.device))

    def sweep(
        self, seed: Tensor, layers: Sequence[str], visit: Callable[[str, Tensor], None]
    ) -> None:
        arrived: set[str | None] = set()

        def visited(name: str | None, value: Any) -> None:
            assert name is not None
            arrived.add(name)
            visit(name, self._of_layer(name, value))

        self._pull_back(seed, list(layers), visited)
        for name in layers:
            if name not in arrived:
                visit(name, torch.zeros_like(self.activations[name]))

    def _pull_back(
        self,
        seed: Tensor,
        layers: list[str | None],
        visit: Callable[[str | None, Any], None] | None = None,
    ) -> dict[Any, Any]:
        traced = self._traced
        with self._framework.passing("backward pass", self._spec):
            made, of = traced.gradients
        for name in layers:
            if name is not None and not traced.differentiable(name):
                raise NeuroscopeError(f"The layer “{name}” {WITHOUT_GRADIENT}.")
        wanted = {name: of[name] for name in layers if of[name] is not None}
        if not wanted:
            # Behind a cast there may be gradients that don't reach the input.
            _gradient(of[None])
        names: dict[str, list[str | None]] = {}
        for name, tensor in wanted.items():
            names.setdefault(tensor.name, []).append(name)

        def met(tensor: str, value: Any) -> None:
            for name in names.get(tensor, ()):
                assert visit is not None
                visit(name, value)

        key = "back", tuple(layers)
        if visit is not None:
            self._run(made, seed, list(wanted.values()), key, met)
            return {}
        values = self._run(made, seed, list(wanted.values()), key)
        return {name: values[tensor.name] for name, tensor in wanted.items()}

    def _run(
        self,
        made: keras_graph.Gradients,
        seed: Tensor,
        wanted: list[Any],
        key: Hashable,
        met: Callable[[str, Any], None] | None = None,
    ) -> dict[str, Any]:
        """Return the gradients wanted; where they are looked at as they come, none is kept."""
        graph = self._traced.graph
        given = {**self._values, made.seed.name: self._seed(seed)}
        plan = graph.plan(
            wanted, given.keys(), keep=met is None, key=(key, met is None, frozenset(given))
        )
        with self._framework.passing("backward pass", self._spec):
            values = plan.run(given, met)
        for tensor in {tensor.name: tensor for tensor in wanted}.values():
            # A layer next to the scores has the seed itself for its gradient.
            if tensor.name in given or graph.is_constant(tensor):
                value = given[tensor.name] if tensor.name in given else graph.constant(tensor)
                values[tensor.name] = value
                if met is not None:
                    met(tensor.name, value)
        return values

    def guided_gradient(self, seed: Tensor) -> tuple[Tensor, int]:
        with self._framework.passing("backward pass", self._spec):
            made, count = self._traced.guided
        gradient = _gradient(made.of[0])
        values = self._run(made, seed, [gradient], "guided")
        return self._of_input(_to_torch(values[gradient.name], self._framework.device)), count

    def guided_notes(self, layers: LayerGraph) -> list[str]:
        return unguided_notes(self._traced.unguided(), ())


def _gradient(gradient: Any) -> Any:
    """Return the gradient of the input, and refuse where there is none."""
    if gradient is None:
        raise NeuroscopeError(
            "The network's answer has no gradient: somewhere it rounds, takes an argmax or stops "
            "the gradient; only scores and activations can be shown of it."
        )
    return gradient


# --- the model ------------------------------------------------------------------------------------


class KerasFramework(Framework):
    """Any ``keras.Model`` of Keras 3 on TensorFlow."""

    name = "keras"
    capabilities = (
        Capability.SCORES | Capability.ACTIVATIONS | Capability.GRADIENTS | Capability.GUIDED
    )

    kinds = KINDS

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
        self.device, self._place = _choose_device(device)
        policy = str(model.compute_dtype)
        self.dtype = getattr(torch, policy, torch.float32)
        self._traces: OrderedDict[Hashable, TracedGraph] = OrderedDict()
        self._digest: tuple[Hashable, str] | None = None
        outputs = getattr(model, "outputs", None)
        self.offers_several = isinstance(outputs, list) and len(outputs) > 1

    @contextmanager
    def frozen(self) -> Iterator[None]:
        # Passes run in inference mode and on a graph: there is nothing to put back.
        with self.lock:
            yield

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
            layers = self._flat_layers()
            axes = _input_axes(axes, shape, layers)
            refuse_without_image(shape, axes)
        found: dict[str, Any] = {"axes": axes} if axes != given.axes else {}
        if shape is not None and len(shape) == len(axes):
            size = tuple(n for n, axis in zip(shape, axes, strict=True) if axis in "zyx")
            if given.size is None or isinstance(given.size, SizeRule):
                fixed = tuple(n for n in size if n is not None)
                if len(fixed) == len(size):
                    found["size"] = fixed
            if given.channels is None:
                channels = shape[axes.index("c")] if "c" in axes else 1
                if channels is not None:
                    found["channels"] = channels
        if "normalization" not in given.model_fields_set and takes_bytes(
            self.model, self._flat_layers()
        ):
            found["normalization"] = AS_BYTES
        return spec.with_input(**found) if found else spec

    def normalises_bytes(self, spec: ModelSpec, black: Tensor) -> bool | None:
        if (told := takes_bytes(self.model, self._flat_layers())) is not None:
            return told
        with self.passing("forward pass", spec, black):
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
    def passing(self, what: str, spec: ModelSpec, x: Tensor | None = None) -> Iterator[None]:
        """Hold the model and its device, and turn what TensorFlow raises into a sentence."""
        import tensorflow as tf

        with self.lock, tf.device(self._place), _speaking(what, spec, self._place, x):
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
            self._refuse_large(traced, shape)
            self._traces[key] = traced
            self.offers_several = traced.recorder.answers_several
            while len(self._traces) > _MOST_TRACES:
                self._traces.popitem(last=False)
        self._traces.move_to_end(key)
        return self._traces[key]

    def outputs(self, x: Tensor, spec: ModelSpec) -> list[OfferedOutput]:
        with self.passing("forward pass", spec, x):
            # A pass that is too large is told before it runs.
            self._traced(x, spec)
            given = self._given(x, spec)
            return offered_outputs(self.model, given, len(spec.input.space))

    @staticmethod
    def _refuse_large(traced: TracedGraph, shape: tuple[int, ...]) -> None:
        """Refuse a pass that takes more memory than there is, or than any network needs."""
        total, largest = traced.graph.sizes
        image = _NUMBER * math.prod(shape)
        if total > max(limits.ALWAYS_PASS, limits.MOST_PASS_GROWTH * image):
            why = "more than any network needs"
        elif largest > limits.ALWAYS_PASS and largest > (free := free_memory()):
            total, why = largest, f"of which {free:,} are free"
        else:
            return
        sides = " × ".join(map(str, shape))
        raise OutOfMemoryError(
            f"A pass of the network for an input of {sides} would take {total:,} bytes of memory, "
            f"{why}; give it a smaller one."
        )

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
        return _to_tensorflow(values)

    def _forward(
        self, traced: TracedGraph, x: Tensor, spec: ModelSpec, wanted: list[Any], progress: Progress
    ) -> dict[str, Any]:
        graph = traced.graph
        given = {graph.x.name: self._given(x, spec)}
        total = len(traced.calls)
        done: set[str] = set()

        def met(tensor: str, value: Any) -> None:
            for name in traced.answers.get(tensor, ()):
                done.add(name)
                progress(len(done), total, "forward pass")

        wanted = [tensor for tensor in wanted if tensor.name not in given]
        key = "forward", tuple(tensor.name for tensor in wanted)
        values = graph.plan(wanted, given.keys(), key=key).run(given, met)
        for tensor in wanted:
            if tensor.name not in values:
                values[tensor.name] = graph.constant(tensor)
        return {**given, **values}

    def rearranges(self, traced: TracedGraph, spec: ModelSpec, ndim: int) -> bool:
        """Whether the output's channels are moved: not where the spec says its axes."""
        axes = spec.output.axes
        return axes is None and traced.channels_last and ndim == len(spec.input.space) + 2

    def arranged(self, traced: TracedGraph, spec: ModelSpec, output: Any) -> Tensor:
        """Return the output as the engine takes it."""
        values = _to_torch(output, self.device)
        return values.movedim(-1, 1) if self.rearranges(traced, spec, values.ndim) else values

    def layers(self, x: Tensor, spec: ModelSpec, progress: Progress) -> tuple[LayerGraph, Tensor]:
        with self.passing("forward pass", spec, x):
            traced = self._traced(x, spec, progress)
            values = self._forward(traced, x, spec, [traced.output], progress)
            output = self.arranged(traced, spec, values[traced.output.name])
        space = len(spec.input.space)
        layers = [
            Layer(
                call.name,
                call.kind,
                _output_shape(call, space),
                call.layer.count_params() if hasattr(call.layer, "count_params") else 0,
                call.inputs,
                tuple(dict.fromkeys(_consumers(traced, call))),
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
    ) -> tuple[str, Literal["softmax", "sigmoid"]] | None:
        found = traced.activation
        if found is None or found[1] == "sigmoid":
            return found
        axis = spec.output.axis_of("c", min(1, output.ndim - 1))
        assert traced.cut is not None
        values = output.float().exp() if traced.cut.op.type == "LogSoftmax" else output.float()
        total = values.sum(axis)
        return found if bool(torch.allclose(total, torch.ones_like(total), atol=1e-2)) else None

    def run(
        self,
        x: Tensor,
        spec: ModelSpec,
        layers: LayerGraph,
        keep: Collection[str],
        progress: Progress,
    ) -> KerasRun:
        with self.passing("forward pass", spec, x):
            traced = self._with_end(self._traced(x, spec), layers)
            missing = [name for name in keep if name not in traced.calls]
            if missing:
                raise NeuroscopeError(
                    f"The layer “{missing[0]}” did not run for this image: the network chooses "
                    f"its way by its input."
                )
            ends = [traced.output, *([traced.cut.scores] if traced.cut else [])]
            kept = [traced.calls[name].output for name in keep]
            values = self._forward(traced, x, spec, [*ends, *kept, *traced.saved], progress)
            return KerasRun(self, traced, spec, values, keep)

    def _with_end(self, traced: TracedGraph, layers: LayerGraph) -> TracedGraph:
        return traced if layers.final_activation is not None or not traced.cut else traced.whole

    def output(
        self, x: Tensor, spec: ModelSpec, layers: LayerGraph
    ) -> tuple[Tensor, Tensor | None]:
        with self.passing("forward pass", spec, x):
            traced = self._with_end(self._traced(x, spec), layers)
            ends = [traced.output, *([traced.cut.scores] if traced.cut else [])]
            values = self._forward(traced, x, spec, ends, no_progress)
            found = [self.arranged(traced, spec, values[tensor.name]) for tensor in ends]
        return found[0], found[1] if len(found) > 1 else None

    # --- weights ---

    def _weights(self) -> Iterator[tuple[str, Any]]:
        for number, weight in enumerate(self.model.weights):
            yield f"{number}:{weight.path}", weight.value.read_value()

    def state(self) -> Hashable:
        with self.lock:
            values = tuple(_fingerprint(value) for _, value in self._weights())
            return self._structure(), values

    def digest(self, state: Hashable = None) -> str:
        with self.lock:
            state = self.state() if state is None else state
            if self._digest is None or self._digest[0] != state:
                digest = hashlib.sha256()
                for name, value in self._weights():
                    digest.update(f"{name}:{value.dtype.name}:{tuple(value.shape)}".encode())
                    plain = np.ascontiguousarray(value.numpy())
                    digest.update(plain.reshape(-1).view(np.uint8).data)
                self._digest = state, digest.hexdigest()
            return self._digest[1]

    def guided_notes(self, layers: LayerGraph) -> list[str]:
        traced = next(reversed(self._traces.values()), None)
        if traced is None:
            return []
        if hidden := traced.opaque:
            raise NeuroscopeError(
                f"Guided backpropagation can't see inside the function “{hidden[0]}” and its "
                f"answer would be wrong; use the network as it was before it was saved or "
                f"compiled, or Saliency."
            )
        return []


def _consumers(traced: TracedGraph, call: Call) -> list[str]:
    """Return the layers that take what a layer answers; of a block, those outside of it."""
    if call.kind != "block":
        return call.consumers
    last = traced.recorder.source_of(call.output)
    return [name for name in (last.consumers if last else ())
            if not name.startswith(call.name + ".")]  # fmt: skip


def _parts(model: Any) -> list[int]:
    """Return what two models may share."""
    layers = model._flatten_layers(include_self=False)
    return [id(one) for one in (model, *layers, *model.weights)]


def _output_shape(call: Call, space: int) -> tuple[int, ...]:
    shape = [n or 0 for n in call.output.shape.as_list()] if call.output.shape.rank else [0]
    if call.channels_last and len(shape) == space + 2:
        shape.insert(1, shape.pop())
    return tuple(shape[1:])


def _input_axes(axes: str, shape: tuple[int | None, ...] | None, layers: list[Any]) -> str:
    """Return the order of the input's axes, of a model that takes `shape` and has `layers`."""
    import keras

    formats = Counter(
        layer.data_format
        for layer in layers
        if isinstance(getattr(layer, "data_format", None), str)
    )
    default = keras.config.image_data_format()
    last = (formats.most_common(1)[0][0] if formats else default) == "channels_last"
    space = "".join(axis for axis in axes if axis in "zyx")
    if shape is not None:
        one_axis = any(type(layer).__name__.endswith("1D") for layer in layers)
        if len(shape) == 3 and not one_axis:
            return "byx"
        space = {3: "x", 4: "yx", 5: "zyx"}.get(len(shape), space)
    return f"b{space}c" if last else f"bc{space}"


_ROW = 64
# Fixed, and unlike for each place in a row, so that values that change places are noticed too.
_PLACES = np.cos(np.arange(1, _ROW + 1, dtype=np.float32) ** np.float32(1.5)) + np.float32(1.5)


def _fingerprint(value: Any) -> int:
    """Return a number that changes with the values: one product for each row of 64 of them."""
    import tensorflow as tf

    if not value.dtype.is_floating or "GPU" in value.device:
        if not value.dtype.is_floating:
            return hash(value.numpy().tobytes())
        flat = tf.cast(tf.reshape(value, [-1]), tf.float32)
        whole = int(flat.shape[0]) // _ROW * _ROW
        rows = tf.linalg.matvec(tf.reshape(flat[:whole], [-1, _ROW]), tf.constant(_PLACES))
        return hash((rows.numpy().tobytes(), flat[whole:].numpy().tobytes()))
    plain = torch.utils.dlpack.from_dlpack(tf.experimental.dlpack.to_dlpack(value))
    flat = plain.reshape(-1).float()
    whole = flat.numel() // _ROW * _ROW
    rows = torch.mv(flat[:whole].reshape(-1, _ROW), torch.from_numpy(_PLACES))
    return hash((rows.numpy().tobytes(), flat[whole:].numpy().tobytes()))


def _choose_device(device: str) -> tuple[torch.device, str]:
    """Return the device of the engine's arrays, and TensorFlow's name of where it runs."""
    import tensorflow as tf

    wanted, _, number = str(device).partition(":")
    if wanted not in ("auto", "cpu", "cuda") or (number and not number.isdigit()):
        raise NeuroscopeError(
            f"TensorFlow has no device “{shortened(str(device))}”; choose auto, cpu, cuda or "
            f"cuda:1."
        )
    gpus = [] if wanted == "cpu" else tf.config.list_logical_devices("GPU")
    if wanted == "cpu" or (wanted == "auto" and not gpus):
        return torch.device("cpu"), "/CPU:0"
    index = int(number or 0)
    if index >= len(gpus):
        raise NeuroscopeError(
            f"The device “{device}” is not available to this TensorFlow ({tf.__version__}), "
            f"which sees {len(gpus)} GPUs; choose auto or cpu."
        )
    # A torch without CUDA gets its arrays on the host.
    there = torch.cuda.is_available() and index < torch.cuda.device_count()
    return torch.device("cuda", index) if there else torch.device("cpu"), f"/GPU:{index}"


_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@contextmanager
def _speaking(what: str, spec: ModelSpec, place: str, x: Tensor | None) -> Iterator[None]:
    """Turn what a network raises into a sentence."""
    import tensorflow as tf

    try:
        yield
    except (NeuroscopeError, Cancelled):
        raise
    except Exception as error:
        lines = [line.strip() for line in _COLOURS.sub("", str(error)).splitlines()]
        told = [line for line in lines if line and not line.startswith("Exception encountered")]
        text = shortened(told[0], 300) if told else ""
        named = f"{type(error).__name__}: {text}" if text else type(error).__name__
        if isinstance(error, tf.errors.ResourceExhaustedError | MemoryError):
            smaller = "a smaller image or fewer layers"
            advice = smaller if "CPU" in place else f'device="cpu", {smaller}'
            raise OutOfMemoryError(
                f"The {what} ran out of memory on {place.strip('/')}; try {advice}."
            ) from error
        if isinstance(error, tf.errors.OperatorNotAllowedInGraphError) or "numpy()" in text:
            raise NeuroscopeError(
                "The network's call() can't be traced: it asks Python about the values of tensors, "
                "as an if or numpy() does; write it with keras.ops or tf.cond."
            ) from error
        given = ""
        if x is not None:
            shape = " × ".join(str(n) for n in x.shape[2:])
            given = f" on an input of {x.shape[1]} channels and {shape} pixels"
        if "concat" in text.lower() or "matching shapes" in text or "broadcast" in text:
            advice = (
                "the sizes that it takes are multiples of a step: say so in the spec's "
                "input.size, such as {min: 32, step: 32}"
            )
        elif "too small" in text or "empty output" in text or "Negative dimension" in text:
            advice = "the image is smaller than the network's stride: give a larger one"
        else:
            advice = "check the spec's input against what the network takes"
        raise NeuroscopeError(
            f"The network's {what} failed{given} with {named}; {advice}."
        ) from error

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
import re
import sys
import threading
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope.engine.errors import (
    Cancelled,
    NeuroscopeError,
    Progress,
    no_progress,
    shortened,
)
from napari_neuroscope.engine.frameworks import keras_graph
from napari_neuroscope.engine.frameworks.base import Capability, Framework, Run
from napari_neuroscope.engine.layers import WITHOUT_GRADIENT, Kind, Layer, LayerGraph
from napari_neuroscope.engine.spec import ModelSpec, SizeRule

_MOST_TRACES = 8

# --- what kind of layer a layer or operation is ---------------------------------------------------

# By the file that a layer's class is written in, then by its folder.
_LAYER_KINDS: dict[str, Kind] = {
    "dense": "dense", "einsum_dense": "dense", "activation": "activation",
    "add": "add", "average": "add", "subtract": "add", "concatenate": "concatenate",
    "up_sampling1d": "upsampling", "up_sampling2d": "upsampling", "up_sampling3d": "upsampling",
    "conv1d_transpose": "transposed convolution", "conv2d_transpose": "transposed convolution",
    "conv3d_transpose": "transposed convolution",
    "activations": "activation", "attention": "attention", "convolutional": "convolution",
    "normalization": "normalisation", "pooling": "pooling", "regularization": "dropout",
    "reshaping": "reshape",
}  # fmt: skip

# Operations of TensorFlow, and of ``keras.ops`` in functional models by their class.
_OPERATION_KINDS: dict[str, Kind] = {
    **dict.fromkeys((*keras_graph.NONLINEAR, *keras_graph.CLIPPING, "Softmax", "LogSoftmax", "Gelu",
                     "Silu", "HardSigmoid", "HardSilu", "Clip", "Celu", "Glu", "LogSigmoid",
                     "SoftSign"), "activation"),
    **dict.fromkeys(("Conv2D", "Conv3D", "DepthwiseConv2dNative", "Conv", "DepthwiseConv",
                     "SeparableConv"), "convolution"),
    **dict.fromkeys(("Conv2DBackpropInput", "Conv3DBackpropInputV2", "ConvTranspose"),
                    "transposed convolution"),
    **dict.fromkeys(("MaxPool", "AvgPool", "MaxPool3D", "AvgPool3D", "AveragePool", "Mean", "Max"),
                    "pooling"),
    **dict.fromkeys(("FusedBatchNormV3", "BatchNormalization", "LayerNorm", "Normalize"),
                    "normalisation"),
    **dict.fromkeys(("Add", "AddV2", "Sub", "Subtract", "AddN"), "add"),
    **dict.fromkeys(("ConcatV2", "Pack", "Concatenate", "Stack"), "concatenate"),
    **dict.fromkeys(("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "Resize"),
                    "upsampling"),
    **dict.fromkeys(("Reshape", "Transpose", "Pad", "PadV2", "MirrorPad", "SpaceToDepth",
                     "DepthToSpace", "Flatten", "Squeeze", "ExpandDims"), "reshape"),
    **dict.fromkeys(("MatMul", "BatchMatMulV2", "Mul", "Einsum"), "other"),
}  # fmt: skip
# These join tensors; with a number or a weight they are arithmetic and no layer.
_NEED_TWO_TENSORS = {"Add", "AddV2", "Sub", "Mul", "AddN"}
_NAMES = {
    "AddV2": "add", "ConcatV2": "concat", "PadV2": "pad", "FusedBatchNormV3": "batch_norm",
    "DepthwiseConv2dNative": "depthwise_conv2d", "Conv2DBackpropInput": "conv2d_transpose",
    "Conv3DBackpropInputV2": "conv3d_transpose", "BatchMatMulV2": "mat_mul",
    "ResizeNearestNeighbor": "resize_nearest", "Conv2D": "conv2d", "Conv3D": "conv3d",
    "MaxPool3D": "max_pool3d", "AvgPool3D": "avg_pool3d",
}  # fmt: skip
_DESCRIBED = (
    "filters", "units", "kernel_size", "pool_size", "size", "strides", "padding", "dilation_rate",
    "groups", "activation", "use_bias", "rate", "axis", "epsilon", "negative_slope", "max_value",
    "interpolation",
)  # fmt: skip


def _layer_kind(layer: Any) -> Kind | None:
    """Return the kind of a layer that is one; None for one made of others."""
    import keras

    if isinstance(layer, keras.Model):
        return None
    if not isinstance(layer, keras.Layer):
        return _OPERATION_KINDS.get(type(layer).__name__, "other")
    for ancestor in type(layer).__mro__:
        parts = ancestor.__module__.split(".")
        if parts[:3] == ["keras", "src", "layers"] and len(parts) > 4:
            return _LAYER_KINDS.get(parts[-1], _LAYER_KINDS.get(parts[3], "other"))
    return None


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _tensors(value: Any) -> Iterator[Any]:
    """Yield the tensors in nested arguments or results."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif hasattr(value, "op") and hasattr(value, "dtype"):
        yield value


# --- seeing a trace -------------------------------------------------------------------------------


@dataclass
class _Call:
    """A layer that has run, or is running."""

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
    started: int = 0


class _Recorder:
    """Names every layer call and every operation outside of layers, while a model is traced."""

    def __init__(self, model: Any, progress: Progress, *, channels_last: bool) -> None:
        self.calls: list[_Call] = []
        self.stopped: Exception | None = None
        self._model, self._progress, self._channels_last = model, progress, channels_last
        self._thread = threading.get_ident()
        self._names: Counter[str] = Counter()
        self._paths: list[str] = []
        self._open: list[_Call] = []
        self._inside_layer = False
        self._sources: dict[str, tuple[str, ...]] = {}
        self._by_name: dict[str, _Call] = {}
        # Which layer made an operation, where one did.
        self.makers: dict[str, str] = {}
        self._graph: Any = None
        self._seen = 0
        self._from_input: set[str] = set()

    @contextmanager
    def watching(self, graph: Any, x: Any) -> Iterator[None]:
        """Watch the calls in this thread; the model's own objects are not touched."""
        import keras

        self._graph, self._from_input = graph, {x.op.name}
        self._seen = len(graph.get_operations())
        originals = [(c, c.__dict__["__call__"]) for c in (keras.Operation, keras.Layer)]

        def watched(original: Any, *, of_layers: bool) -> Any:
            def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
                # Keras calls a layer as an operation once more.
                if (
                    threading.get_ident() != self._thread
                    or self._inside_layer
                    or isinstance(layer, keras.Layer) != of_layers
                    or (layer is self._model and not self._open)
                ):
                    return original(layer, *args, **kwargs)
                with self._calling(layer, (args, kwargs)) as call:
                    result = original(layer, *args, **kwargs)
                    call.output = next(_tensors(result), None)
                return result

            return call

        try:
            for owner, original in originals:
                owner.__call__ = watched(original, of_layers=owner is keras.Layer)
            yield
        finally:
            for owner, original in originals:
                owner.__call__ = original
        self._look()

    @contextmanager
    def _calling(self, layer: Any, given: Any) -> Iterator[_Call]:
        self._look()
        kind = _layer_kind(layer)
        path = ".".join([*self._paths, layer.name])
        call = _Call(
            self._name(path, ":"),
            kind or "block",
            type(layer).__name__,
            self._block(),
            self._from(_tensors(given)),
            layer,
            started=len(self.calls),
        )
        call.channels_last = self._layout(call)
        self._open.append(call)
        self._paths.append(layer.name)
        self._inside_layer = kind is not None
        try:
            yield call
        finally:
            self._inside_layer = False
            self._look(maker=call.name if kind else None)
            self._open.pop()
            self._paths.pop()
        if call.output is None:
            return
        # A block is no node of its own, unless nothing was seen inside of it.
        if call.kind == "block" and len(self.calls) == call.started:
            call.kind = "other"
        self._finish(call)

    def _layout(self, call: _Call) -> bool:
        own = getattr(call.layer, "data_format", None)
        if isinstance(own, str):
            return own == "channels_last"
        return self._by_name[call.inputs[0]].channels_last if call.inputs else self._channels_last

    def _name(self, base: str, sign: str) -> str:
        self._names[base] += 1
        number = self._names[base]
        return base if number == 1 else f"{base}{sign}{number}"

    def _block(self) -> str:
        return self._open[-1].name if self._open else ""

    def _from(self, tensors: Any) -> tuple[str, ...]:
        return tuple(
            dict.fromkeys(name for tensor in tensors for name in self._sources.get(tensor.name, ()))
        )

    def _finish(self, call: _Call) -> None:
        self.calls.append(call)
        self._by_name[call.name] = call
        if call.kind != "block":
            self._sources[call.output.name] = (call.name,)
            for source in call.inputs:
                self._by_name[source].consumers.append(call.name)
        try:
            self._progress(len(self.calls), 0, "looking for layers")
        except Exception as error:
            # Keras words what is raised inside of a model anew.
            self.stopped = error
            raise

    def _look(self, maker: str | None = None) -> None:
        """Look at the operations made since the last look."""
        made = self._graph.get_operations()[self._seen :]
        self._seen += len(made)
        for op in made:
            variable = [t for t in op.inputs if t.op.name in self._from_input]
            if not variable:
                continue
            self._from_input.add(op.name)
            if maker is not None:
                self.makers[op.name] = maker
                continue
            kind = _OPERATION_KINDS.get(op.type)
            sources = self._from(variable)
            if op.type == "BiasAdd" and len(sources) == 1:
                before = self._by_name[sources[0]]
                if before.output is op.inputs[0] and before.kind in ("convolution", "dense"):
                    before.output = op.outputs[0]
                    self._sources[op.outputs[0].name] = sources
                    continue
            if kind is None or (op.type in _NEED_TWO_TENSORS and len(variable) < 2):
                for output in op.outputs:
                    self._sources[output.name] = sources
                if not keras_graph.same_place(op):
                    for source in sources:
                        self._by_name[source].altered = True
                continue
            if op.type in ("MatMul", "BatchMatMulV2") and len(variable) == 1:
                kind = "dense"
            base = _NAMES.get(op.type, _snake(op.type))
            call = _Call(self._name(base, "_"), kind, base, self._block(), sources)
            call.output = op.outputs[0]
            call.channels_last = self._layout(call)
            self.makers[op.name] = call.name
            self._finish(call)
            for output in op.outputs[1:]:
                self._sources[output.name] = (call.name,)

    def source_of(self, tensor: Any) -> _Call | None:
        """Return the one layer that a tensor comes from."""
        sources = self._from([tensor])
        return self._by_name[sources[0]] if len(sources) == 1 else None

    def maker(self, op: Any) -> _Call | None:
        """Return the layer that made an operation."""
        return self._by_name.get(self.makers.get(op.name, ""))


def _describe(layer: Any) -> str:
    if layer is None or _layer_kind(layer) is None or not hasattr(layer, "get_config"):
        return ""
    try:
        with warnings.catch_warnings():
            # Keras warns of lambdas as if they were saved.
            warnings.simplefilter("ignore")
            config = layer.get_config()
    except Exception:  # noqa: BLE001  a layer of any package, asked for a line of text
        return type(layer).__name__
    plain = [
        f"{name}={config[name]}"
        for name in _DESCRIBED
        if isinstance(config.get(name), str | int | float | list | tuple)
    ]
    return f"{type(layer).__name__}({', '.join(plain)})"


# --- a trace --------------------------------------------------------------------------------------


class _Traced:
    """A model's graph for inputs of one shape."""

    def __init__(
        self, model: Any, shape: tuple[int, ...], spec: ModelSpec, progress: Progress
    ) -> None:
        import tensorflow as tf

        last = spec.input.axes.endswith("c")
        recorder, x, output, concrete = _trace(
            model, shape, spec, progress, channels_last=last, inline=False
        )
        if _can_inline(concrete.graph):
            # What a tf.function hides can be seen where it is unrolled, if it can be.
            try:
                recorder, x, output, concrete = _trace(
                    model, shape, spec, progress, channels_last=last, inline=True
                )
            except (NeuroscopeError, Cancelled):
                raise
            except Exception:  # noqa: BLE001  whatever the function minds: it works as it is
                pass
        self.recorder, self.output = recorder, output
        # Gradients are taken of a graph that is ours alone, and is grown for them.
        with concrete.graph.as_default():
            self.cut = keras_graph.cut_end(output)
        self.graph = keras_graph.Graph(concrete, x)
        self.calls = {call.name: call for call in recorder.calls}
        source = recorder.source_of(output)
        self.channels_last = last if source is None else source.channels_last
        self.activation: tuple[str, Literal["softmax", "sigmoid"]] | None = None
        self._whole: tuple[_Call, Any] | None = None
        if self.cut is not None:
            self._look_at_the_end(self.cut)
        self._size = self.graph.size
        self._floats = {tf.float16, tf.bfloat16, tf.float32, tf.float64}

    def _look_at_the_end(self, cut: keras_graph.Cut) -> None:
        maker = self.recorder.maker(cut.op)
        if maker is not None and maker.kind == "activation":
            self.activation = maker.name, cut.kind
            return
        # It is a part of a layer, and no layer of its own.
        self.activation = f"{maker.name if maker else ''}.{cut.kind}", cut.kind
        if maker is not None and maker.output.shape == cut.logits.shape:
            inside = {t.name for t in (cut.op.outputs[0], self.output)}
            if maker.output.name in inside or keras_graph.same_place(maker.output.op):
                self._whole = maker, maker.output
                maker.output = cut.logits

    def leave_whole(self) -> None:
        """Don't cut the end: what looked like a final softmax is none over the classes."""
        self.cut = self.activation = None
        if self._whole is not None:
            self._whole[0].output = self._whole[1]

    @property
    def end(self) -> Any:
        """The tensor that gradients start from."""
        return self.output if self.cut is None else self.cut.scores

    def differentiable(self, name: str) -> bool:
        """Whether a gradient can be pulled back to a layer."""
        output = self.calls[name].output
        return output.dtype in self._floats and self.graph.depends(output)

    @cached_property
    def answers(self) -> dict[str, list[str]]:
        """The layers that answer a tensor, by its name."""
        found: dict[str, list[str]] = {}
        for call in self.calls.values():
            found.setdefault(call.output.name, []).append(call.name)
        return found

    @cached_property
    def _activations(self) -> tuple[dict[str, Any], list[Any]]:
        return keras_graph.activations(self.graph, self._size)

    @cached_property
    def _guide(self) -> keras_graph.Guide:
        return keras_graph.Guide(self.graph, self._activations[0].values())

    @cached_property
    def gradients(self) -> tuple[keras_graph.Gradients, dict[str | None, Any]]:
        """The graph of gradients, and those of the layers by name; the input's is None's."""
        self._guide  # noqa: B018  marks the operations, before anything is asked of them
        names = [name for name in self.calls if self.differentiable(name)]
        ends = [self.calls[name].output for name in names]
        made = keras_graph.Gradients(self.graph, self.end, [*ends, self.graph.x])
        return made, dict(zip([*names, None], made.of, strict=True))

    @cached_property
    def guided(self) -> tuple[keras_graph.Gradients, int]:
        """The graph of the guided gradient of the input, and how many activations it guides."""
        self._guide.on, self._guide.count = True, 0
        try:
            made = keras_graph.Gradients(self.graph, self.end, [self.graph.x])
        finally:
            self._guide.on = False
        return made, self._guide.count

    @cached_property
    def saved(self) -> list[Any]:
        """The tensors that a forward pass keeps for the backward passes."""
        needed = self.gradients[0].needs()
        return [tensor for tensor in needed if tensor is not self.graph.x]

    def unguided(self) -> list[str]:
        """Return the layers that clip, which guided backpropagation does not touch."""
        makers = [self.recorder.maker(op) for op in self._activations[1]]
        return list(dict.fromkeys(call.name for call in makers if call is not None))

    @cached_property
    def opaque(self) -> list[str]:
        """The names of operations that hold a graph of their own, with activations inside."""
        ops = self.graph.graph.get_operations()[: self._size]
        calls = [op for op in ops if op.type in keras_graph.CALLS]
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
    found = {
        name
        for name, nodes in library.items()
        if any(node.op in keras_graph.NONLINEAR for node in nodes)
    }
    while more := {
        name
        for name, nodes in library.items()
        if name not in found and any(_called(node) & found for node in nodes)
    }:
        found |= more
    return found


def _can_inline(graph: Any) -> bool:
    """Whether there are functions that could be unrolled; what XLA compiles may need it."""
    calls = [op for op in graph.get_operations() if op.type.endswith("PartitionedCall")]
    compiled = [op for op in calls if "_XlaMustCompile" in op.node_def.attr]
    return bool(calls) and not any(op.node_def.attr["_XlaMustCompile"].b for op in compiled)


# Classes are watched, and functions unrolled, in the whole process: one trace at a time.
_TRACING = threading.Lock()


def _trace(
    model: Any,
    shape: tuple[int, ...],
    spec: ModelSpec,
    progress: Progress,
    *,
    channels_last: bool,
    inline: bool,
) -> tuple[_Recorder, Any, Any, Any]:
    import tensorflow as tf

    recorder = _Recorder(model, progress, channels_last=channels_last)
    found: list[Any] = []

    def forward(x: Any) -> Any:
        eagerly = tf.config.functions_run_eagerly()
        with recorder.watching(tf.compat.v1.get_default_graph(), x):
            if inline:
                tf.config.run_functions_eagerly(True)
            try:
                answer = model(x, training=False)
            finally:
                if inline:
                    tf.config.run_functions_eagerly(eagerly)
        output = _choose_output(answer, spec.output.index, getattr(model, "output_names", None))
        found[:] = [x, output]
        return output

    with _TRACING:
        try:
            concrete = tf.function(forward, autograph=False).get_concrete_function(
                tf.TensorSpec(shape, tf.float32)
            )
        except Exception:
            if recorder.stopped is not None:
                raise recorder.stopped from None
            raise
    return recorder, *found, concrete


def _choose_output(answer: Any, index: str | int | None, names: Sequence[str] | None) -> Any:
    """Return the output that is explained, of a tensor, dict or list."""
    if isinstance(answer, Mapping):
        if index is None:
            index = next((key for key in ("out", "logits") if key in answer), next(iter(answer)))
        if index not in answer:
            raise NeuroscopeError(
                f"The network has no output “{index}”: its outputs are "
                f"{', '.join(f'“{key}”' for key in answer)}; set the spec's output.index."
            )
        return _choose_output(answer[index], None, None)
    if isinstance(answer, list | tuple) and answer:
        if isinstance(index, str) and names is not None and index in names:
            index = list(names).index(index)
        index = 0 if index is None else index
        if not isinstance(index, int) or not -len(answer) <= index < len(answer):
            named = f" ({', '.join(names)})" if names else ""
            raise NeuroscopeError(
                f"The network has {len(answer)} outputs, 0..{len(answer) - 1}{named}, but "
                f"output.index is {index!r}."
            )
        return _choose_output(answer[index], None, None)
    if not hasattr(answer, "op"):
        raise NeuroscopeError(
            f"The network answered a {type(answer).__name__}, no tensor; set the spec's "
            f"output.index to the output that holds the scores."
        )
    if not answer.dtype.is_floating:
        raise NeuroscopeError(
            "The network's output holds whole numbers, such as labels; set the spec's "
            "output.index to the output that holds scores, or give the network without argmax."
        )
    return answer


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


def _to_axes(x: Tensor, axes: str) -> Tensor:
    """Bring (1, channel, *space) to the network's order of axes."""
    own = "bc" + "".join(axis for axis in axes if axis in "zyx")
    if "c" not in axes:
        x, own = x.squeeze(1), own.replace("c", "")
    return x if own == axes else x.permute([own.index(axis) for axis in axes])


def _canonical(values: Tensor, space: int, *, channels_last: bool) -> Tensor:
    """Bring (1, *space, channel) to (1, channel, *space)."""
    return values.movedim(-1, 1) if channels_last and values.ndim == space + 2 else values


# --- a run ----------------------------------------------------------------------------------------


class KerasRun(Run):
    """A forward pass, with what its backward passes need."""

    def __init__(
        self,
        framework: KerasFramework,
        traced: _Traced,
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

    def _of_input(self, value: Any | None) -> Tensor:
        x = self._values[self._traced.graph.x.name]
        axes = self._spec.input.axes
        own = "bc" + self._spec.input.space
        gradient = _to_torch(x, self._framework.device) if value is None else value
        if value is None:
            gradient = torch.zeros_like(gradient)
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
        found: dict[str | None, Any] = self._pull_back(seed, [*layers, *[None][: int(with_input)]])
        # Where nothing arrives, the score does not depend on it.
        gradients = {
            name: self._of_layer(name, found[name])
            if name in found
            else torch.zeros_like(self.activations[name])
            for name in layers
        }
        if not with_input:
            return gradients, None
        of_input = found.get(None)
        return gradients, self._of_input(
            None if of_input is None else _to_torch(of_input, self._framework.device)
        )

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
        _refuse_without(of[None])
        wanted = {name: of[name] for name in layers if of[name] is not None}
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
        _refuse_without(made.of[0])
        values = self._run(made, seed, [made.of[0]], "guided")
        return self._of_input(_to_torch(values[made.of[0].name], self._framework.device)), count


def _refuse_without(gradient: Any) -> None:
    if gradient is None:
        raise NeuroscopeError(
            "The network's answer has no gradient: somewhere it rounds, takes an argmax or stops "
            "the gradient; only scores and activations can be shown of it."
        )


# --- the model ------------------------------------------------------------------------------------


def import_tensorflow() -> Any:
    """Import TensorFlow so that it takes a GPU's memory as it needs it, not all at once."""
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except (RuntimeError, ValueError):
            # It is in use already, as its owner set it.
            break
    return tf


class KerasFramework(Framework):
    """Any ``keras.Model`` of Keras 3 on TensorFlow."""

    name = "keras"
    capabilities = (
        Capability.SCORES | Capability.ACTIVATIONS | Capability.GRADIENTS | Capability.GUIDED
    )

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
        self.lock = threading.RLock()
        self.device, self._place = _choose_device(device)
        policy = str(model.compute_dtype)
        self.dtype = getattr(torch, policy, torch.float32)
        self._traces: OrderedDict[Hashable, _Traced] = OrderedDict()
        self._digest: tuple[Hashable, str] | None = None

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
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
        if not found:
            return spec
        return spec.model_copy(update={"input": given.model_copy(update=found)})

    def input_channels(self) -> int | None:
        for layer in self._flat_layers():
            if _layer_kind(layer) == "convolution" and layer.built:
                kernel = getattr(layer, "kernel", None)
                if kernel is not None and getattr(layer, "groups", 1) == 1:
                    return int(kernel.shape[-2])
            if _layer_kind(layer) == "dense":
                return None
        return None

    # --- passes ---

    @contextmanager
    def passing(self, what: str, spec: ModelSpec, x: Tensor | None = None) -> Iterator[None]:
        """Hold the model and its device, and turn what TensorFlow raises into a sentence."""
        import tensorflow as tf

        with self.lock, tf.device(self._place), _speaking(what, spec, self._place, x):
            yield

    def _traced(self, x: Tensor, spec: ModelSpec, progress: Progress = no_progress) -> _Traced:
        if "b" not in spec.input.axes:
            raise NeuroscopeError(
                f"A Keras network takes a batch, but the spec's input.axes “{spec.input.axes}” "
                f"have none; put a b where it comes."
            )
        shape = tuple(_to_axes(x, spec.input.axes).shape)
        if any(not layer.built for layer in [self.model, *self._flat_layers()]):
            # A subclassed model makes its weights when it is first called.
            self.model(_to_tensorflow(_to_axes(x, spec.input.axes)), training=False)
        key = shape, spec.input.axes, spec.output.index, self._structure()
        if key not in self._traces:
            self._traces[key] = _Traced(self.model, shape, spec, progress)
            while len(self._traces) > _MOST_TRACES:
                self._traces.popitem(last=False)
        self._traces.move_to_end(key)
        return self._traces[key]

    def _structure(self) -> Hashable:
        """Return what changes when layers, their activations or their variables are exchanged."""
        layers = self._flat_layers()
        return (
            tuple((id(layer), id(getattr(layer, "activation", None))) for layer in layers),
            tuple(id(weight.value) for weight in self.model.weights),
        )

    def _forward(
        self, traced: _Traced, x: Tensor, spec: ModelSpec, wanted: list[Any], progress: Progress
    ) -> dict[str, Any]:
        graph = traced.graph
        given = {graph.x.name: _to_tensorflow(_to_axes(x.float(), spec.input.axes))}
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

    def rearranges(self, traced: _Traced, spec: ModelSpec, ndim: int) -> bool:
        """Whether the output's channels are moved: not where the spec says its axes."""
        axes = spec.output.axes
        return axes is None and traced.channels_last and ndim == len(spec.input.space) + 2

    def arranged(self, traced: _Traced, spec: ModelSpec, output: Any) -> Tensor:
        """Return the output as the engine takes it."""
        values = _to_torch(output, self.device)
        return values.movedim(-1, 1) if self.rearranges(traced, spec, values.ndim) else values

    def layers(self, x: Tensor, spec: ModelSpec, progress: Progress) -> tuple[LayerGraph, Tensor]:
        with self.passing("forward pass", spec, x):
            traced = self._traced(x, spec, progress)
            values = self._forward(traced, x, spec, [traced.output], progress)
            output = self.arranged(traced, spec, values[traced.output.name])
        space = len(spec.input.space)
        for call in traced.calls.values():
            if call.kind == "block":
                inside = call.name + "."
                last = traced.recorder.source_of(call.output)
                call.consumers = [
                    name for name in (last.consumers if last else ()) if not name.startswith(inside)
                ]
        layers = [
            Layer(
                call.name,
                call.kind,
                _output_shape(call, space),
                call.layer.count_params() if hasattr(call.layer, "count_params") else 0,
                call.inputs,
                tuple(dict.fromkeys(call.consumers)),
                call.operation,
                call.block,
                altered=call.altered,
                differentiable=traced.differentiable(call.name),
                description=_describe(call.layer),
            )
            for call in traced.calls.values()
        ]
        return LayerGraph(layers, space, self._final_activation(traced, spec, output)), output

    def _final_activation(
        self, traced: _Traced, spec: ModelSpec, output: Tensor
    ) -> tuple[str, Literal["softmax", "sigmoid"]] | None:
        found = traced.activation
        if found is None or found[1] == "sigmoid":
            return found
        axes = spec.output.axes
        axis = axes.index("c") if axes and "c" in axes else min(1, output.ndim - 1)
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

    def _with_end(self, traced: _Traced, layers: LayerGraph) -> _Traced:
        if layers.final_activation is None and traced.cut is not None:
            traced.leave_whole()
        return traced

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
        state = self.state() if state is None else state
        if self._digest is None or self._digest[0] != state:
            digest = hashlib.sha256()
            for name, value in self._weights():
                digest.update(f"{name}:{value.dtype.name}:{tuple(value.shape)}".encode())
                digest.update(np.ascontiguousarray(value.numpy()).reshape(-1).view(np.uint8).data)
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
                f"compiled, or another method."
            )
        unguided = traced.unguided()
        if not unguided:
            return []
        return [
            f"{', '.join(unguided[:3])}{', …' if len(unguided) > 3 else ''} can't be told from "
            f"other arithmetic and passes the plain gradient: the map is only guided elsewhere"
        ]


def _output_shape(call: _Call, space: int) -> tuple[int, ...]:
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
            raise NeuroscopeError(
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

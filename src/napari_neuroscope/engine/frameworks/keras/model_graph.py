"""A Keras model is traced: its graph, and the layers seen while it was made."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from napari_neuroscope.engine.errors import Cancelled, NeuroscopeError, Progress
from napari_neuroscope.engine.frameworks.activation_search import Activations
from napari_neuroscope.engine.frameworks.keras import graph as keras_graph
from napari_neuroscope.engine.frameworks.keras.guided import Guide, activations
from napari_neuroscope.engine.frameworks.quiet import quiet
from napari_neuroscope.engine.graph.layer_graph import Kind
from napari_neuroscope.engine.spec.model_spec import ModelSpec

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


def layer_kind(layer: Any) -> Kind | None:
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
class Call:
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
        self.calls: list[Call] = []
        self.stopped: Exception | None = None
        self.answers_several = False
        self._model, self._progress, self._channels_last = model, progress, channels_last
        self._thread = threading.get_ident()
        self._names: Counter[str] = Counter()
        self._paths: list[str] = []
        self._open: list[Call] = []
        self._inside_layer = False
        self._sources: dict[str, tuple[str, ...]] = {}
        self._by_name: dict[str, Call] = {}
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
    def _calling(self, layer: Any, given: Any) -> Iterator[Call]:
        self._look()
        kind = layer_kind(layer)
        path = ".".join([*self._paths, layer.name])
        call = Call(
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

    def _layout(self, call: Call) -> bool:
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

    def _finish(self, call: Call) -> None:
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
            call = Call(self._name(base, "_"), kind, base, self._block(), sources)
            call.output = op.outputs[0]
            call.channels_last = self._layout(call)
            self.makers[op.name] = call.name
            self._finish(call)
            for output in op.outputs[1:]:
                self._sources[output.name] = (call.name,)

    def source_of(self, tensor: Any) -> Call | None:
        """Return the one layer that a tensor comes from."""
        sources = self._from([tensor])
        return self._by_name[sources[0]] if len(sources) == 1 else None

    def maker(self, op: Any) -> Call | None:
        """Return the layer that made an operation."""
        return self._by_name.get(self.makers.get(op.name, ""))


def describe(layer: Any) -> str:
    """Return a layer's configuration in one line; "" for one made of others."""
    if layer is None or layer_kind(layer) is None or not hasattr(layer, "get_config"):
        return ""
    try:
        # Keras warns of lambdas as if they were saved.
        with quiet():
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
    activation
        The name of the end, and what it is.
    """

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
        self._uncut = self.calls
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
                self.calls = {**self.calls, maker.name: replace(maker, output=cut.logits)}

    @cached_property
    def whole(self) -> TracedGraph:
        """The same graph with its end: where a final softmax is none over the classes."""
        self._guide  # noqa: B018  shared: operations are marked once
        made = copy(self)
        for name in ("answers", "gradients", "guided", "saved"):
            made.__dict__.pop(name, None)
        made.cut = made.activation = None
        made.calls = self._uncut
        return made

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
    def _activations(self) -> Activations:
        return activations(self.graph, [self.output, self.end])

    @cached_property
    def _guide(self) -> Guide:
        return Guide(self.graph, map(str, self._activations.parts))

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
        """Return what may be an activation or arithmetic, and is not guided: layers, by name."""
        found = self._activations
        names = sorted({*found.clippings, *found.unclear}, key=self._place)
        return list(
            dict.fromkeys(self._title(self.graph.graph.get_operation_by_name(n)) for n in names)
        )

    def _place(self, name: Any) -> int:
        return self.graph.place(self.graph.graph.get_operation_by_name(name))

    def _title(self, op: Any) -> str:
        maker = self.recorder.maker(op)
        return _snake(op.type) if maker is None else maker.name

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
        recorder.answers_several = not hasattr(answer, "op")
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

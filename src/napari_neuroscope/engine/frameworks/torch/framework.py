"""PyTorch: layers as they run, one forward pass, gradients for many layers and targets.

Nothing in the model is replaced. Module hooks and a function mode see one forward pass; layers
are then known by their edges in the autograd graph, which stay right whatever an in-place
operation does to their values afterwards.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, is_dataclass
from dataclasses import fields as fields_of
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge, saved_tensors_hooks
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only
from torch.utils.weak import WeakTensorKeyDictionary

from napari_neuroscope.engine.errors import (
    Cancelled,
    NeuroscopeError,
    OutOfMemoryError,
    Progress,
    no_progress,
    shortened,
)
from napari_neuroscope.engine.files.file_kind import Kind as FileKind
from napari_neuroscope.engine.frameworks.base import (
    Capability,
    Framework,
    OtherLayersError,
    Run,
)
from napari_neuroscope.engine.frameworks.common import to_axes
from napari_neuroscope.engine.frameworks.guided_notes import unguided_notes
from napari_neuroscope.engine.frameworks.model_lock import ModelLock
from napari_neuroscope.engine.frameworks.output_choice import OfferedOutput
from napari_neuroscope.engine.frameworks.quiet import quiet
from napari_neuroscope.engine.frameworks.torch.autograd_graph import guard_batch_norms, nodes_behind
from napari_neuroscope.engine.frameworks.torch.compiled import run_eagerly
from napari_neuroscope.engine.frameworks.torch.custom_functions import runs_in_custom_function
from napari_neuroscope.engine.frameworks.torch.files.load import KINDS, load_torch
from napari_neuroscope.engine.frameworks.torch.guided.elementwise import ElementwiseRecorder
from napari_neuroscope.engine.frameworks.torch.guided.guided import (
    Guide,
    GuidedMode,
    Guides,
    ordered,
)
from napari_neuroscope.engine.frameworks.torch.input_values import takes_bytes
from napari_neuroscope.engine.frameworks.torch.lrp.graph_check import examine
from napari_neuroscope.engine.frameworks.torch.lrp.relevance_pass import (
    Recorder as RelevanceRecorder,
)
from napari_neuroscope.engine.frameworks.torch.lrp.relevance_pass import TorchRelevance
from napari_neuroscope.engine.frameworks.torch.precision import full_precision
from napari_neuroscope.engine.frameworks.torch.side_effects import SideEffects, attributes_put_back
from napari_neuroscope.engine.frameworks.torch.tracing.attention import AttentionKeeper
from napari_neuroscope.engine.frameworks.torch.tracing.call_names import CallNames
from napari_neuroscope.engine.frameworks.torch.tracing.positions import PlaceKeeper
from napari_neuroscope.engine.frameworks.torch.tracing.reach import (
    reach_of_function,
    reach_of_module,
)
from napari_neuroscope.engine.graph.layer_graph import WITHOUT_GRADIENT, Kind, Layer, LayerGraph
from napari_neuroscope.engine.graph.reach import Reach
from napari_neuroscope.engine.graph.token_layout import TokenLayout
from napari_neuroscope.engine.spec.model_spec import ModelSpec

# --- what kind of layer a module or function is ---------------------------------------------------

_MODULE_KINDS: dict[str, Kind] = {
    "conv": "convolution", "linear": "dense", "pooling": "pooling", "activation": "activation",
    "batchnorm": "normalisation", "instancenorm": "normalisation", "normalization": "normalisation",
    "dropout": "dropout", "upsampling": "upsampling", "flatten": "reshape", "padding": "reshape",
    "pixelshuffle": "reshape", "channelshuffle": "reshape", "fold": "reshape", "rnn": "other",
    "sparse": "other", "distance": "other",
}  # fmt: skip

_FUNCTION_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution"), "convolution"),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
                    "transposed convolution"),
    **dict.fromkeys(("linear", "bilinear", "addmm"), "dense"),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d",
                     "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d",
                     "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d",
                     "adaptive_max_pool3d", "lp_pool1d", "lp_pool2d", "mean", "amax"), "pooling"),
    **dict.fromkeys(("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm",
                     "local_response_norm", "normalize"), "normalisation"),
    **dict.fromkeys(("relu", "relu6", "threshold", "hardtanh", "leaky_relu", "prelu", "rrelu",
                     "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish", "hardsigmoid",
                     "softplus", "softsign", "tanh", "sigmoid", "logsigmoid", "log_sigmoid",
                     "softmax",
                     "log_softmax", "softmin", "clamp", "clamp_min", "clamp_max", "clip",
                     "maximum", "max", "fmax", "glu"), "activation"),
    **dict.fromkeys(("scaled_dot_product_attention", "multi_head_attention_forward"), "attention"),
    **dict.fromkeys(("add", "sub"), "add"),
    **dict.fromkeys(("cat", "concat", "concatenate", "stack", "hstack"), "concatenate"),
    **dict.fromkeys(("interpolate", "upsample", "upsample_nearest2d", "upsample_bilinear2d",
                     "grid_sample"), "upsampling"),
    **dict.fromkeys(("flatten", "reshape", "view", "permute", "transpose", "pad", "pixel_shuffle",
                     "pixel_unshuffle", "unfold", "fold"), "reshape"),
    **dict.fromkeys(("dropout", "dropout2d", "dropout3d", "alpha_dropout"), "dropout"),
    **dict.fromkeys(("mul", "matmul", "bmm", "einsum"), "other"),
}  # fmt: skip

# These join tensors; with a plain number they are arithmetic and no layer.
_NEED_TWO_TENSORS = {"add", "sub", "mul", "maximum", "max", "fmax"}
_SOFTMAX = {"Softmax", "Softmax2d", "LogSoftmax", "softmax", "log_softmax"}
_SIGMOID = {"Sigmoid", "LogSigmoid", "sigmoid", "logsigmoid", "log_sigmoid"}
_LOGARITHMIC = {"LogSoftmax", "log_softmax", "LogSigmoid", "logsigmoid", "log_sigmoid"}
_UNGUIDED = {"clamp", "clamp_min", "clamp_max", "clip", "maximum", "max", "fmax"}
# The operator is one method with several names: a + b, a += b, 1 + b.
_OPERATORS = {
    "iadd": "add",
    "radd": "add",
    "isub": "sub",
    "rsub": "sub",
    "imul": "mul",
    "rmul": "mul",
    "rmatmul": "matmul",
    "imatmul": "matmul",
}


# Arithmetic and copies that are no layer leave each position where it is.
_STILL = frozenset({
    "add", "sub", "mul", "div", "truediv", "itruediv", "rtruediv", "true_divide", "neg", "pow",
    "rpow", "sqrt", "rsqrt", "square", "exp", "log", "abs", "sign", "float", "half", "double",
    "bfloat16", "to", "type", "type_as", "clone", "contiguous", "detach", "requires_grad", "cpu",
    "cuda", "expand", "expand_as", "where", "nan_to_num", "erf", "sin", "cos",
})  # fmt: skip
_CONVOLUTIONS = {"Conv1d", "Conv2d", "Conv3d"}
_OF_CHANNELS = frozenset({"getitem", "chunk", "split", "narrow"})


def _stays(operation: str, inputs: list[Tensor], output: Tensor) -> bool:
    """Whether an operation that is no layer leaves all positions where they are."""
    if operation in _STILL or _FUNCTION_KINDS.get(operation) == "activation":
        return True
    # Of channels alone, not of places: their number is as before.
    first = inputs[0]
    return (
        operation in _OF_CHANNELS
        and len(inputs) == 1
        and output.ndim == first.ndim
        and output.shape[2:] == first.shape[2:]
    )


def _operation(function: Any) -> str:
    """Return the plain name of a function, method or exported operation."""
    name = getattr(function, "__name__", "").split(".")[0]
    plain = name.strip("_")
    return _OPERATORS.get(plain, plain) if name.startswith("__") else plain


def _module_kind(module: nn.Module) -> Kind | None:
    """Return the kind of a module that is one layer; None for one made of others."""
    if isinstance(module, torch.jit.ScriptModule):
        return "other"
    if isinstance(module, nn.MultiheadAttention):
        return "attention"
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        return "transposed convolution"
    if isinstance(module, nn.Identity):
        return "other"
    for ancestor in type(module).__mro__:
        package, _, file = ancestor.__module__.rpartition(".")
        if package == "torch.nn.modules" and file in _MODULE_KINDS:
            return _MODULE_KINDS[file]
    return None


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested arguments or results."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


# --- seeing a forward pass ------------------------------------------------------------------------


@dataclass
class _Call:
    """A layer that has just run, or is about to."""

    name: str
    kind: Kind
    operation: str
    block: str
    inputs: list[Tensor]
    module: nn.Module | None
    output: Tensor | None = None
    answer: Any = None
    given: tuple[Any, Any] = ((), {})
    reach: Reach = None
    takes_input: bool = False
    moved: bool = False
    cut: tuple[tuple[float, float, int], ...] | None = None


class _Watcher:
    """What is done as layers run: gather the graph, keep activations, or answer for a layer."""

    cut: str | None = None
    recorder: _Recorder

    def begin(self, given: Tensor) -> None: ...

    def enter(self, call: _Call) -> None: ...

    def leave(self, call: _Call) -> None: ...

    def pass_through(self, operation: str, inputs: list[Tensor], outputs: list[Tensor]) -> None: ...

    def ran(
        self, function: Any, kind: Kind | None, given: tuple[Any, Any], inputs: list[Tensor],
        output: Any,
    ) -> None: ...  # fmt: skip

    def instead(self, call: _Call) -> Tensor | None:
        """Return what a functional operation answers without running; None where it shall run."""
        return None


class _Recorder(TorchFunctionMode):
    """Name every module call and functional operation of a forward pass, in order.

    Attributes
    ----------
    names
        What names them, and knows how often each was called so far.
    """

    def __init__(
        self, model: nn.Module, watcher: _Watcher, progress: Progress | None, total: int
    ) -> None:
        super().__init__()
        self._watcher, self._total = watcher, total
        self._progress = None if progress is no_progress else progress
        self.names = CallNames(model)
        self._open: list[_Call] = []
        self._inside_layer = 0
        self._done = 0
        self._model = model

    @property
    def running(self) -> str:
        """The name of the module call that runs now."""
        return self._block()

    @contextmanager
    def watching(
        self, only: Collection[str] | None = None, whole: str | None = None
    ) -> Iterator[None]:
        """Watch the calls of the model in this thread; nothing stays behind.

        With `only`, paths of modules, their outputs alone are watched, and no functional operation;
        of the module `whole` what it takes is watched too.
        """
        # Nothing to watch is no reason to go through the modules, for each of many passes.
        needed = only is None or only or self._progress is not None
        with ExitStack() as stack:
            for path, module in self._model.named_modules() if needed else ():
                # What runs inside of scripted modules can't be seen from Python.
                if not path or isinstance(
                    module, nn.ModuleList | nn.ModuleDict | torch.jit.ScriptModule
                ):
                    continue
                if only is not None and path in only and path != whole:
                    stack.callback(module.register_forward_hook(self._leave(path)).remove)
                elif only is None or path in only:
                    before, after = self._module_hooks(path, module)
                    stack.callback(
                        module.register_forward_pre_hook(before, with_kwargs=True).remove
                    )
                    stack.callback(module.register_forward_hook(after, with_kwargs=True).remove)
                elif self._progress is not None and path.count(".") < 2:
                    # Enough to be followed and stopped by.
                    stack.callback(module.register_forward_hook(self._tick).remove)
            if only is None:
                stack.enter_context(self)
            yield

    def _leave(self, path: str) -> Callable[..., None]:
        """Return a hook that does no more than hand over a module's output."""

        def hook(module: nn.Module, args: Any, output: Any) -> None:
            tensor = output if isinstance(output, Tensor) else next(_tensors(output), None)
            self._finish(_Call(self.names.of_module(path), "other", "", "", [], module, tensor))

        return hook

    def _tick(self, *_: Any) -> None:
        if self._progress is not None:
            self._done += 1
            self._progress(min(self._done, self._total), self._total, "forward pass")

    def _block(self) -> str:
        return self._open[-1].name if self._open else ""

    def _module_hooks(self, path: str, module: nn.Module) -> tuple[Callable, Callable]:
        kind = _module_kind(module)
        operation = type(module).__name__

        def before(_: nn.Module, args: Any, kwargs: Any) -> None:
            if kind is not None:
                self._inside_layer += 1
                if self._inside_layer > 1:
                    return
            elif self._inside_layer:
                return
            call = _Call(
                self.names.of_module(path),
                kind or "block",
                operation,
                self._block(),
                [*_tensors(args), *_tensors(kwargs)],
                module,
            )
            self._open.append(call)
            self._watcher.enter(call)

        def after(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if kind is not None:
                self._inside_layer -= 1
            if self._inside_layer:
                return
            call = self._open.pop()
            call.output, call.answer = next(_tensors(output), None), output
            self._finish(call)

        return before, after

    def _finish(self, call: _Call) -> None:
        self._watcher.leave(call)
        self._tick()

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._inside_layer:
            return function(*args, **kwargs)
        operation = _operation(function)
        kind = _FUNCTION_KINDS.get(operation)
        inputs = [*_tensors(args), *_tensors(kwargs)]
        if operation in _NEED_TWO_TENSORS and len(inputs) < 2:
            kind = None
        # A gradient goes around what runs in a custom Function.
        if kind is None or runs_in_custom_function():
            output = function(*args, **kwargs)
            self._watcher.pass_through(operation, inputs, list(_tensors(output)))
            self._watcher.ran(function, kind, (args, kwargs), inputs, output)
            return output
        call = _Call(
            self.names.of_operation(operation), kind, operation, self._block(), inputs, None
        )
        call.given = args, kwargs
        self._watcher.enter(call)
        output = self._watcher.instead(call)
        if output is None:
            output = function(*args, **kwargs)
        self._watcher.ran(function, kind, (args, kwargs), inputs, output)
        call.output = next(_tensors(output), None)
        self._finish(call)
        return output


class _GraphWatcher(_Watcher):
    """Gather layers with their edges, and what in-place operations overwrite."""

    def __init__(self, axes: str) -> None:
        self.calls: list[_Call] = []
        self._inputs: dict[str, tuple[str, ...]] = {}
        self._sources: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._outputs: dict[str, tuple[Tensor, int]] = {}
        self._opened: dict[str, int] = {}
        self._altered: set[str] = set()
        self._differentiable: set[str] = set()
        self._of_input: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._moved: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._places = PlaceKeeper(axes)
        self._layouts: dict[str, TokenLayout | Literal["shape", "unknown"] | None] = {}
        self._edges: dict[str, GradientEdge] = {}
        self._nodes: dict[str, Any] = {}

    def begin(self, given: Tensor) -> None:
        self._of_input[given] = True
        self._places.begin(given)

    def enter(self, call: _Call) -> None:
        call.takes_input = any(tensor in self._of_input for tensor in call.inputs)
        call.moved = any(tensor in self._moved for tensor in call.inputs)
        if call.moved:
            # Weights are among the inputs of functions.
            of_image = [t for t in call.inputs if t in self._of_input or self._from([t])]
            call.cut = self._places.cut_of(of_image[0]) if len(of_image) == 1 else None
        self._inputs[call.name] = self._from(call.inputs)
        self._opened[call.name] = len(self.calls)
        if call.kind != "block":
            args, kwargs = call.given
            call.reach = (
                reach_of_function(call.operation, args, kwargs)
                if call.module is None
                else reach_of_module(call.module)
            )
            call.given = (), {}

    def leave(self, call: _Call) -> None:
        output = call.output
        if output is None:
            return
        # A block is no node of its own, unless nothing was seen inside of it.
        block = call.kind == "block"
        if block and self._opened[call.name] == len(self.calls):
            call.kind = "other"
        if call.kind != "block":
            self._sources[output] = (call.name,)
        self._place(call, output, block=block)
        call.inputs = []
        self.calls.append(call)
        # Asked now: a reentrant checkpoint gives its last tensor a gradient afterwards.
        if output.requires_grad:
            self._differentiable.add(call.name)
            self._nodes[call.name] = get_gradient_edge(output).node
        plain = output.detach()
        self._outputs[call.name] = (plain, plain._version)

    def pass_through(self, operation: str, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        of_input = any(tensor in self._of_input for tensor in inputs)
        moved = any(tensor in self._moved for tensor in inputs)
        if of_input or moved or self._from(inputs):
            for output in outputs:
                if of_input:
                    self._of_input[output] = True
                if moved or not _stays(operation, inputs, output):
                    self._moved[output] = True
        if outputs and (sources := self._from(inputs)):
            places = {tensor.data_ptr() for tensor in inputs}
            for output in outputs:
                self._sources[output] = sources
                if output.data_ptr() not in places:
                    self._altered.update(sources)

    def ran(
        self, function: Any, kind: Kind | None, given: tuple[Any, Any], inputs: list[Tensor],
        output: Any,
    ) -> None:  # fmt: skip
        with torch.no_grad():
            self._places.ran_function(function, _operation(function), kind, *given, inputs, output)

    def _place(self, call: _Call, output: Tensor, *, block: bool) -> None:
        """Find out where the positions of a layer's output are; inside of a block it was seen."""
        # None of this is the model's own.
        with torch._C.DisableTorchFunction(), torch.no_grad():
            if call.module is not None and not block:
                self._places.ran_module(call.module, call.kind, call.inputs, output)
            layout = self._layouts[call.name] = self._places.layout(output)
        if isinstance(layout, TokenLayout) and layout.beside and output.requires_grad:
            self._edges[call.name] = get_gradient_edge(output)

    def read_beside(self, output: Tensor, *, batched: bool) -> dict[str, tuple[int, ...]]:
        """Return the layers of whose positions none is read, and the places that are."""
        if not self._edges or not output.requires_grad:
            return {}
        # Of an answer's parts at random, so that what is normalised does not cancel out.
        generator = torch.Generator().manual_seed(0)
        seed = torch.randn(output.shape, generator=generator).to(output)
        found = torch.autograd.grad(output, list(self._edges.values()), seed, allow_unused=True)
        read: dict[str, tuple[int, ...]] = {}
        told = False
        for name, gradient in zip(self._edges, found, strict=True):
            layout = self._layouts[name]
            assert isinstance(layout, TokenLayout)
            if gradient is None:
                read[name] = ()
                continue
            flat = layout.flat(gradient if batched else gradient[None])[0]
            places = flat.any(0).nonzero()[:, 0].tolist()
            told = told or bool(places)
            if set(places).isdisjoint(layout.cells.tolist()):
                read[name] = tuple(places)
        # An untrained head may be zero, and says nothing.
        return read if told else {}

    def leading(self, output: Tensor) -> set[str]:
        """Return the layers that an answer is computed from, or of which that can't be told."""
        if not output.requires_grad:
            return set(self._outputs)
        met = nodes_behind(get_gradient_edge(output).node)
        return {name for name in self._outputs if self._nodes.get(name, output.grad_fn) in met}

    def _from(self, tensors: list[Tensor]) -> tuple[str, ...]:
        return tuple(
            dict.fromkeys(name for tensor in tensors for name in self._sources.get(tensor, ()))
        )

    def final_layer(self, output: Tensor) -> str | None:
        """Return the layer whose output is the network's output, itself."""
        sources = self._from([output])
        if len(sources) != 1 or self._outputs[sources[0]][0].shape != output.shape:
            return None
        return sources[0] if self._outputs[sources[0]][0].data_ptr() == output.data_ptr() else None

    def layers(
        self,
        read_beside: Mapping[str, tuple[int, ...]],
        leading: Collection[str],
        *,
        batched: bool,
    ) -> list[Layer]:
        """Return what was seen, as layers, their shapes without the batch."""
        # Where all is (channel, *space), what was lost sight of will be too.
        tokens = any(isinstance(layout, TokenLayout) for layout in self._layouts.values())
        unseen: Literal["shape", "unknown"] = "unknown" if tokens else "shape"
        consumers: dict[str, list[str]] = {}
        for call in self.calls:
            if call.kind != "block":
                for source in self._inputs[call.name]:
                    consumers.setdefault(source, []).append(call.name)
        for call in self.calls:
            if call.kind == "block":
                inside = call.name + "."
                last = self._sources.get(call.output, ())
                consumers[call.name] = [
                    name
                    for source in last
                    for name in consumers.get(source, ())
                    if not name.startswith(inside)
                ]
        return [
            Layer(
                call.name,
                call.kind,
                layout.own_shape
                if isinstance(layout := self._layouts[call.name] or unseen, TokenLayout)
                else tuple(self._outputs[call.name][0].shape[batched:]),
                sum(p.numel() for p in call.module.parameters()) if call.module is not None else 0,
                self._inputs[call.name],
                tuple(consumers.get(call.name, ())),
                call.operation,
                call.block,
                overwritten=self._outputs[call.name][0]._version != self._outputs[call.name][1],
                altered=call.name in self._altered,
                differentiable=call.name in self._differentiable,
                description=_describe(call.module),
                reach=call.reach,
                takes_input=call.takes_input,
                moved=call.moved,
                cut=call.cut,
                layout=layout,
                read_beside=read_beside.get(call.name),
                leads=call.name in leading,
            )
            for call in self.calls
        ]


def _describe(module: nn.Module | None) -> str:
    if module is None or next(module.children(), None) is not None:
        return ""
    return f"{type(module).__name__}({module.extra_repr()})"


@dataclass
class _Kept:
    value: Tensor
    version: int
    edge: GradientEdge | None


class _Keeper(_Watcher):
    """Keep the outputs of some layers, and where they are in the autograd graph."""

    def __init__(self, keep: Collection[str], copy: Collection[str], cut: str | None) -> None:
        self.kept: dict[str, _Kept] = {}
        self.order: list[tuple[str, str]] = []
        self.scores: _Kept | None = None
        self._storages: dict[int, int] = {}
        self._keep, self._copy, self.cut = keep, copy, cut

    def enter(self, call: _Call) -> None:
        if call.name == self.cut and call.inputs:
            # A copy: the sigmoid may work in place.
            self.scores = self._hold(call.inputs[0], copy=True)

    def leave(self, call: _Call) -> None:
        if call.output is None:
            return
        self.order.append((call.name, call.operation))
        if call.kind != "block":
            self._count(call.output)
        if call.name in self._keep:
            self.kept[call.name] = self._hold(call.output, copy=call.name in self._copy)

    def _hold(self, tensor: Tensor, *, copy: bool) -> _Kept:
        # The edge is taken now: an in-place operation moves the tensor on in the graph.
        edge = _edge_of(tensor)
        value = tensor.detach()
        if copy:
            value = value.clone()
            self._count(value)
        return _Kept(value, tensor._version, edge)

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        self._storages[storage.data_ptr()] = storage.nbytes()

    @property
    def nbytes(self) -> int:
        """The memory of all outputs seen; what works in place, or is a view, has none of its own.

        What autograd saves for the way back is about these.
        """
        return sum(self._storages.values())

    def overwritten(self) -> set[str]:
        """Return the layers whose kept values were changed after they were kept."""
        return {
            name
            for name, kept in self.kept.items()
            if name not in self._copy and kept.value._version != kept.version
        }


class _Nodes(_Keeper):
    """Know the layers by their nodes in the autograd graph."""

    def __init__(self, cut: str | None) -> None:
        super().__init__((), (), cut)
        self.names: dict[Any, str] = {}

    def leave(self, call: _Call) -> None:
        super().leave(call)
        if call.kind != "block" and call.output is not None and call.output.grad_fn is not None:
            self.names[call.output.grad_fn] = call.name

    @property
    def largest(self) -> int:
        """The memory of the largest output."""
        return max(self._storages.values(), default=0)


class _ActivationNames(_Keeper):
    """Know by what name a person knows the nodes of the autograd graph."""

    def __init__(self, cut: str | None) -> None:
        super().__init__((), (), cut)
        self.names: dict[Any, str] = {}

    def leave(self, call: _Call) -> None:
        super().leave(call)
        node = None if call.output is None else call.output.grad_fn
        if node is not None and call.kind != "block":
            self.names[node] = call.name
        elif node is not None:
            # Of blocks that end with it, the smallest.
            self.names.setdefault(node, call.name)

    def pass_through(self, operation: str, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        block = self.recorder.running
        for output in outputs:
            if output.grad_fn is not None:
                self.names[output.grad_fn] = f"{operation} in {block}" if block else operation


# --- going on from a layer ----------------------------------------------------------------------


class _Before(_Watcher):
    """Remember what the modules answer that have ended before a layer runs.

    Parameters
    ----------
    layer
        The layer.
    overwritten
        Layers whose answers are written on afterwards, and so must be copied.
    cut
        Where the scores are.

    Attributes
    ----------
    answers
        Their whole answers, by the name of the call; of a block that ended, nothing inside of it.
    counts
        How often modules and operations were called inside of each.
    value
        The output of the layer.
    scores
        What runs into the final softmax or sigmoid, where there is one.
    """

    def __init__(self, layer: str, overwritten: Collection[str], cut: str | None) -> None:
        self.layer, self._overwritten, self.cut = layer, overwritten, cut
        self.scores: Tensor | None = None
        self.order: list[tuple[str, str]] = []
        self.answers: dict[str, Any] = {}
        self.counts: dict[str, Counter[tuple[str, str]]] = {}
        self._at_start: dict[str, tuple[Counter[tuple[str, str]], int]] = {}
        self._over = False

    def enter(self, call: _Call) -> None:
        if call.name == self.cut and call.inputs:
            self.scores = call.inputs[0].clone()
        if not self._over and call.module is not None:
            self._at_start[call.name] = Counter(self.recorder.names.counts), len(self.answers)

    def leave(self, call: _Call) -> None:
        if call.output is not None:
            self.order.append((call.name, call.operation))
        if self._over:
            return
        if call.name == self.layer:
            assert call.output is not None
            self.value, self.answer = call.output.clone(), call.answer
            self._over = True
        if call.module is None:
            return
        names, start = self._at_start.pop(call.name)
        self.counts[call.name] = self.recorder.names.counts - names
        if call.name == self.layer:
            return
        tensors = list(_tensors(call.answer))
        # Only what has one image first can be had for several.
        if tensors and all(t.ndim and t.shape[0] == 1 for t in tensors):
            for inner in list(self.answers)[start:]:
                del self.answers[inner]
            copied = call.name in self._overwritten
            self.answers[call.name] = tree_map_only(
                Tensor, torch.clone if copied else lambda t: t, call.answer
            )

    def versions(self) -> list[int]:
        """Return how often each tensor that is remembered was written on."""
        return [tensor._version for tensor in _tensors(self.answers)]


class _Behind(_Watcher):
    """Answer for a layer with given values, and from memory for what ran before it.

    Parameters
    ----------
    before
        What is remembered.
    values
        Outputs of the layer.
    count
        Of how many inputs.
    copying
        Whether what comes after the layer writes on what was before it, so that each input needs
        an answer of its own; else all share it.
    """

    def __init__(self, before: _Before, values: Tensor, count: int, *, copying: bool) -> None:
        self._before, self._values, self._count = before, values, count
        self._copying, self.cut = copying, before.cut
        self.scores: Tensor | None = None
        self._over = False

    def enter(self, call: _Call) -> None:
        if call.name == self.cut and call.inputs:
            self.scores = call.inputs[0].clone()

    def instead(self, call: _Call) -> Tensor | None:
        if call.name != self._before.layer:
            return None
        self._over = True
        return self._values.clone()

    @contextmanager
    def answering(self, model: nn.Module) -> Iterator[None]:
        """Let the modules of a model answer without running, where they ran before the layer."""
        known = {*self._before.answers, self._before.layer}
        paths = {name.partition(":")[0] for name in known}
        with ExitStack() as stack:
            for path, module in model.named_modules():
                if path in paths and not isinstance(module, torch.jit.ScriptModule):
                    held = module.__dict__.get("forward")
                    # Beside the class's own, which it hides until this ends.
                    module.__dict__["forward"] = self._forward_of(module.forward)
                    stack.callback(_put_back, module, held)
            yield

    def _forward_of(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        def answer(*args: Any, **kwargs: Any) -> Any:
            name, before = self.recorder.running, self._before
            if (
                not self._over
                and name in before.counts
                and (name in before.answers or name == before.layer)
            ):
                self.recorder.names.counts.update(before.counts[name])
                if name == before.layer:
                    self._over = True
                    return self._given(before.answer)
                return tree_map_only(Tensor, self._for_all, before.answers[name])
            return forward(*args, **kwargs)

        return answer

    def _given(self, answer: Any) -> Any:
        """Return the values in place of the first tensor of the layer's answer."""
        left = [self._values.clone()]
        return tree_map_only(Tensor, lambda t: left.pop() if left else self._for_all(t), answer)

    def _for_all(self, tensor: Tensor) -> Tensor:
        if self._copying or tensor.shape[0] != 1:
            return tensor.repeat(self._count, *(1,) * (tensor.ndim - 1))
        return tensor.expand(self._count, *tensor.shape[1:])


def _put_back(module: nn.Module, forward: Any) -> None:
    if forward is None:
        del module.__dict__["forward"]
    else:
        module.__dict__["forward"] = forward


# --- leaving a model as it was --------------------------------------------------------------------


def _wrapped(model: nn.Module) -> nn.Module | None:
    """Return the module inside of a compiled or parallel one; None where there is none."""
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return model.module
    inner = getattr(model, "_orig_mod", None)
    return inner if isinstance(inner, nn.Module) else None


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Run in evaluation mode with frozen parameters, then put both back."""
    training = [module for module in model.modules() if module.training]
    learning = [
        p for p in model.parameters() if p.requires_grad and not is_lazy(p) and not p.is_inference()
    ]
    # The flag alone is set: a module's own train() may do more than that.
    try:
        for module in training:
            module.training = False
        for parameter in learning:
            parameter.requires_grad_(False)
        yield
    finally:
        for module in training:
            module.training = True
        for parameter in learning:
            parameter.requires_grad_(True)


_ASKED = re.compile(r"allocate ([\d.]+ ?\w+)")


@contextmanager
def _speaking(what: str, x: Tensor, spec: ModelSpec) -> Iterator[None]:
    """Turn what a network raises into a sentence."""
    try:
        yield
    except (NeuroscopeError, Cancelled):
        raise
    except Exception as error:
        text = shortened(str(error).strip().split("\n")[0], 300)
        named = f"{type(error).__name__}: {text}" if text else type(error).__name__
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or (
            "out of memory" in text or "allocate memory" in text
        ):
            asked = _ASKED.search(str(error))
            advice = (
                "a smaller image or fewer layers"
                if x.device.type == "cpu"
                else 'device="cpu", a smaller image or fewer layers'
            )
            raise OutOfMemoryError(
                f"The {what} ran out of memory on {x.device}"
                f"{f' (it asked for {asked[1]})' if asked else ''}; try {advice}."
            ) from error
        shape = " × ".join(str(n) for n in x.shape[2:])
        if "too small" in text or "smaller than" in text or "greater than actual input" in text:
            advice = "the image is smaller than the network's stride: give a larger one"
        elif "Sizes of tensors must match" in text or "must match the size of tensor" in text:
            advice = (
                "the sizes that it takes are multiples of a step: say so in the spec's "
                "input.size, such as {min: 32, step: 32}"
            )
        elif "conv3d" in text or "5D input" in text:
            advice = "it takes volumes, so say input.axes: bczyx in its spec"
        elif "conv1d" in text:
            advice = "it takes signals of one axis, and no image"
        else:
            advice = "check the spec's input against what the network takes"
        raise NeuroscopeError(
            f"The network's {what} failed on an input of {x.shape[1]} channels and {shape} "
            f"pixels with {named}; {advice}."
        ) from error


# --- gradients ------------------------------------------------------------------------------------

_NO_GRADIENT = (
    "The network's answer has no gradient: somewhere it detaches, rounds, or runs under "
    "torch.no_grad(); only scores and activations can be shown of it."
)


def _edge_of(tensor: Tensor) -> GradientEdge | None:
    """Return where a tensor is in the autograd graph."""
    return get_gradient_edge(tensor) if tensor.requires_grad else None


class TorchRun(Run):
    """A forward pass in PyTorch, with its autograd graph."""

    def __init__(
        self, framework: TorchFramework, spec: ModelSpec, x: Tensor, output: Tensor, keeper: _Keeper
    ) -> None:
        self._framework, self._spec, self._x = framework, spec, x
        self._batched = "b" in spec.input.axes
        self._edges = {n: kept.edge for n, kept in keeper.kept.items() if kept.edge is not None}
        self._splits: dict[tuple[str, ...], tuple[list[str], dict[Any, list[str]]]] = {}
        self._cut = keeper.cut
        self._guide, self._guided = Guide(), GuidedMode()
        self.output = output.detach()
        self.scores = keeper.scores.value if keeper.scores else None
        self.activations = {n: self._with_batch(kept.value) for n, kept in keeper.kept.items()}
        self.nbytes = keeper.nbytes + x.nbytes
        if keeper.scores is not None:
            self._end = keeper.scores.edge
        else:
            self._end = _edge_of(output)
        if self._end is not None and x.device.type == "cpu":
            guard_batch_norms(nodes_behind(self._end.node))

    def _with_batch(self, values: Tensor) -> Tensor:
        return values if self._batched else values[None]

    def gradients(
        self, seed: Tensor, layers: Sequence[str], *, with_input: bool = False
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        ends = [*(self._edge(name) for name in layers), *([self._x] if with_input else [])]
        found = self._pull_back(seed, ends)
        # Where nothing arrives, the score does not depend on it.
        gradients = {
            name: torch.zeros_like(self.activations[name])
            if gradient is None
            else self._with_batch(gradient)
            for name, gradient in zip(layers, found, strict=False)
        }
        if not with_input:
            return gradients, None
        return gradients, torch.zeros_like(self._x) if found[-1] is None else found[-1]

    def input_gradient(self, seed: Tensor, *, last: bool = False) -> Tensor:
        found = self._pull_back(seed, [self._x], last=last)[0]
        return torch.zeros_like(self._x) if found is None else found

    def gradients_together(self, seeds: Tensor, layers: Sequence[str]) -> dict[str, Tensor] | None:
        ends = [self._edge(name) for name in layers]
        if self._end is None:
            return None
        with self._framework.frozen(), torch.inference_mode(False):
            try:
                found = torch.autograd.grad(
                    [self._end], ends, [seeds], retain_graph=True, allow_unused=True,
                    is_grads_batched=True,
                )  # fmt: skip
            except RuntimeError:
                # An operation has no rule for batches; one after another will do, or say why not.
                return None
        return {
            name: seeds.new_zeros(len(seeds), *self.activations[name].shape)
            if gradient is None
            else (gradient if self._batched else gradient[:, None])
            for name, gradient in zip(layers, found, strict=True)
        }

    def _edge(self, layer: str) -> GradientEdge:
        if layer not in self._edges:
            raise NeuroscopeError(f"The layer “{layer}” {WITHOUT_GRADIENT}.")
        return self._edges[layer]

    def sweep(
        self, seed: Tensor, layers: Sequence[str], visit: Callable[[str, Tensor], None]
    ) -> None:
        left = set(layers)
        order = tuple(layers)
        if order not in self._splits:
            self._splits[order] = self._split(order)
        ends, met = self._splits[order]

        def arrived(here: list[str], numbers: list[int]) -> Callable[..., None]:
            def hook(gradients: tuple[Tensor | None, ...]) -> None:
                for name, number in zip(here, numbers, strict=True):
                    if (gradient := gradients[number]) is not None and name in left:
                        left.discard(name)
                        visit(name, self._with_batch(gradient))

            return hook

        with ExitStack() as stack:
            for node, here in met.items():
                numbers = [self._edge(name).output_nr for name in here]
                stack.callback(node.register_prehook(arrived(here, numbers)).remove)
            found = self._pull_back(seed, [self._edge(name) for name in ends])
        for name, gradient in zip(ends, found, strict=True):
            if gradient is not None:
                left.discard(name)
                visit(name, self._with_batch(gradient))
        # What the pass did not meet either has no part in the score, or lies behind an operation
        # that hides it; a pass of its own tells.
        for name, gradient in self.gradients(seed, sorted(left))[0].items() if left else ():
            visit(name, gradient)

    def _split(self, layers: Sequence[str]) -> tuple[list[str], dict[Any, list[str]]]:
        """Return the layers at which a backward pass can stop, and the nodes of those it meets.

        A node is only met where the pass goes on behind it: a layer behind which no other layer
        asked for lies must be an end. The stem of a network is thus left out where it can be.
        """
        at_node: dict[Any, list[str]] = {}
        for name in layers:
            at_node.setdefault(self._edge(name).node, []).append(name)
        if len(at_node) == 1:
            return list(layers), {}
        goes_on: dict[Any, bool] = {}
        for start in at_node:
            stack = [(start, False)]
            while stack:
                node, behind_known = stack.pop()
                if node in goes_on:
                    continue
                behind = [n for n, _ in node.next_functions if n is not None]
                if behind_known:
                    goes_on[node] = any(n in at_node or goes_on.get(n, False) for n in behind)
                else:
                    stack.append((node, True))
                    stack.extend((n, False) for n in behind if n not in goes_on)
        ends = [name for node, names in at_node.items() if not goes_on[node] for name in names]
        return ends, {node: names for node, names in at_node.items() if goes_on[node]}

    def guided_gradient(self, seed: Tensor) -> tuple[Tensor, int]:
        passed, guide, nodes = self, *self._known_guide()
        if guide is None:
            self._framework.recorded(self._x, self._spec, self._cut, saving=False)
            guide, nodes = self._known_guide()
        if guide is None:
            # It ran otherwise before, as what is scripted does until it is warm.
            passed = self._framework.recorded(self._x, self._spec, self._cut, saving=True)
            guide, nodes = passed._known_guide()
        assert guide is not None
        guided = GuidedMode()
        with guided.following(guide.plan, nodes):
            found = passed._pull_back(seed, [passed._x])[0]
        self._guide, self._guided = guide, guided
        return torch.zeros_like(self._x) if found is None else found, guided.count

    def learn(self, recorder: ElementwiseRecorder, names: Mapping[Any, str]) -> None:
        """Let the framework know what was recorded of this pass."""
        if self._end is not None:
            nodes = ordered([self._end.node])
            self._framework.guides.learn(recorder, nodes, self._x.shape, names)

    def _known_guide(self) -> tuple[Guide | None, list[Any]]:
        if self._end is None:
            return Guide(), []
        nodes = ordered([self._end.node])
        return self._framework.guides.known(nodes, self._x.shape), nodes

    def guided_notes(self, layers: LayerGraph) -> list[str]:
        guide, guided = self._guide, self._guided
        # What runs inside of a reentrant checkpoint has no gradient, and is told of by `guided`.
        clipping = [n for n, i in layers.items() if i.operation in _UNGUIDED and i.differentiable]
        unclear = [name for name in clipping if name not in guide.inside]
        return unguided_notes(
            [*unclear, *guide.unclear, *guided.unclear], [*guide.hiding, *guided.hiding]
        )

    def _pull_back(
        self, seed: Tensor, inputs: list[Any], *, last: bool = False
    ) -> list[Tensor | None]:
        if not inputs:
            return []
        if self._end is None:
            raise NeuroscopeError(_NO_GRADIENT)
        # A way back that finds a reentrant checkpoint is gone again.
        keep = not last or _goes_through(self._end, "CheckpointFunctionBackward")
        with (
            self._framework.frozen(),
            torch.inference_mode(False),
            _speaking("backward pass", self._x, self._spec),
        ):
            try:
                return list(
                    torch.autograd.grad(
                        [self._end], inputs, [seed], retain_graph=keep, allow_unused=True
                    )
                )
            except RuntimeError as error:
                if "use_reentrant" not in str(error):
                    raise
                return self._pull_back_whole(seed, inputs)

    def _pull_back_whole(self, seed: Tensor, inputs: list[Any]) -> list[Tensor | None]:
        """Pull back by ``backward()``, which alone goes through reentrant checkpoints."""
        found: dict[int, Tensor | None] = {}

        def catch(number: int, output: int) -> Callable[..., None]:
            return lambda gradients: found.__setitem__(number, gradients[output])

        assert self._end is not None
        self._x.grad = None
        try:
            with ExitStack() as stack:
                for number, end in enumerate(inputs):
                    if isinstance(end, GradientEdge):
                        hook = end.node.register_prehook(catch(number, end.output_nr))
                        stack.callback(hook.remove)
                torch.autograd.backward([self._end], [seed], retain_graph=True)
            return [
                found.get(number) if isinstance(end, GradientEdge) else self._x.grad
                for number, end in enumerate(inputs)
            ]
        finally:
            self._x.grad = None


def _nothing(_: Any) -> Any:
    return None


def _goes_through(end: GradientEdge, kind: str) -> bool:
    """Whether a way back leads through a node of a kind."""
    return any(node.name() == kind for node in nodes_behind(end.node))


# --- the model ------------------------------------------------------------------------------------


_QUANTISED = Capability.SCORES | Capability.ACTIVATIONS | Capability.RESUMED | Capability.ATTENTION
_WHY_QUANTISED = "and the network is quantised (int8): what it rounds has none; give the network as it was before"


class TorchFramework(Framework):
    """Any ``torch.nn.Module``."""

    name = "torch"
    capabilities = (
        Capability.SCORES
        | Capability.ACTIVATIONS
        | Capability.GRADIENTS
        | Capability.GUIDED
        | Capability.RESUMED
        | Capability.RANDOMISED
        | Capability.RELEVANCE
        | Capability.ATTENTION
    )

    kinds = KINDS

    @classmethod
    def load(
        cls,
        path: Path,
        kind: FileKind,
        *,
        factory: Any,
        arguments: dict[str, Any] | None,
        trust: bool,
    ) -> nn.Module:
        return load_torch(path, kind, factory=factory, arguments=arguments, trust=trust)

    @classmethod
    def recognises(cls, model: Any) -> bool:
        return isinstance(model, nn.Module)

    def __init__(self, model: nn.Module, device: str) -> None:
        self._given = model
        # Compiled and parallel wrappers hide the module whose layers are explained.
        while (inner := _wrapped(model)) is not None:
            model = inner
        self.model = model
        self.lock = ModelLock(lambda: _parts(model))
        self.device = _choose_device(device, model)
        with self.lock:
            if any(t.device != self.device for t in _weights(model)):
                model.to(self.device)
        self.dtype = next(
            (p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32
        )
        self._quantised = any(".quantized" in type(part).__module__ for part in model.modules())
        if self._quantised:
            self.capabilities = _QUANTISED  # type: ignore[misc]
            self.limits = _WHY_QUANTISED  # type: ignore[misc]
        self._digest: tuple[Hashable, str] | None = None
        self._held = False
        self._ran_others = False
        self._side_effects = SideEffects(model)
        self.guides = Guides()
        self._is_lazy = any(map(is_lazy, (*model.parameters(), *model.buffers())))

    @contextmanager
    def frozen(self) -> Iterator[None]:
        # Recompute behind a checkpoint and batch norms ask for it in backward passes too.
        with self.lock:
            if self._held:
                yield
                return
            self._held = True
            try:
                with (
                    _undisturbed(self.model),
                    self._side_effects.undone(),
                    full_precision(),
                    run_eagerly(),
                ):
                    yield
            finally:
                self._held = False

    @property
    def draws(self) -> bool:
        return self._side_effects.draws

    def input_channels(self) -> int | None:
        shape = self.example_shape()
        if shape is not None:
            return shape[1]
        for module in self.model.modules():
            if isinstance(module, nn.modules.conv._ConvNd):
                return module.in_channels
            if isinstance(module, nn.Linear):
                return None
            if getattr(module, "original_name", "") in _CONVOLUTIONS:
                # A scripted convolution is known by its weights.
                return module.weight.shape[1]
        return None

    def completed(self, spec: ModelSpec) -> ModelSpec:
        if "axes" not in spec.input.model_fields_set and self._takes_volumes():
            return spec.with_input(axes="bczyx")
        return spec

    def _takes_volumes(self) -> bool:
        """Whether all its convolutions are of three axes."""
        axes = {
            # A scripted convolution is known by the name of what it was.
            getattr(module, "original_name", type(module).__name__)
            for module in self.model.modules()
        } & _CONVOLUTIONS
        return axes == {"Conv3d"}

    def normalises_bytes(self, spec: ModelSpec, black: Tensor) -> bool | None:
        def forward(image: Tensor) -> None:
            self._forward(image, spec, _Watcher(), only=())

        with self.lock, torch.no_grad():
            return takes_bytes(forward, black)

    def example_shape(self) -> tuple[int, ...] | None:
        shape = getattr(self.model, "example_shape", None)
        return tuple(shape.tolist()) if isinstance(shape, Tensor) else None

    def layers(self, x: Tensor, spec: ModelSpec, progress: Progress) -> tuple[LayerGraph, Tensor]:
        watcher = _GraphWatcher(spec.input.axes)
        with self.frozen(), torch.inference_mode(False), torch.enable_grad():
            leaf = x.detach().to(self.device, self.dtype).clone().requires_grad_()
            output = self._forward(leaf, spec, watcher, progress, total=0)
            self._side_effects.seen()
        batched = "b" in spec.input.axes
        read = watcher.read_beside(output, batched=batched)
        layers = watcher.layers(read, watcher.leading(output), batched=batched)
        final = watcher.final_layer(output)
        activation: tuple[str, Literal["softmax", "sigmoid"]] | None = None
        for layer in layers:
            if layer.name == final and layer.operation in _SOFTMAX:
                logarithmic = layer.operation in _LOGARITHMIC
                if _sums_to_one(output.exp() if logarithmic else output, spec):
                    activation = (layer.name, "softmax")
            elif layer.name == final and layer.operation in _SIGMOID:
                activation = (layer.name, "sigmoid")
        return LayerGraph(layers, len(spec.input.space), activation), output.detach()

    def run(
        self,
        x: Tensor,
        spec: ModelSpec,
        layers: LayerGraph,
        keep: Collection[str],
        progress: Progress,
    ) -> TorchRun:
        if any(weight.is_inference() for weight in _weights(self.model)):
            raise NeuroscopeError(
                "The network's weights were made under torch.inference_mode(), which keeps them "
                "from every gradient; make or load the network outside of it."
            )
        return self._passed(x, spec, layers, keep, progress, gradients=not self._quantised)

    def run_no_grad(
        self, x: Tensor, spec: ModelSpec, layers: LayerGraph, keep: Collection[str]
    ) -> TorchRun:
        return self._passed(x, spec, layers, keep, None, gradients=False)

    def _passed(
        self,
        x: Tensor,
        spec: ModelSpec,
        layers: LayerGraph,
        keep: Collection[str],
        progress: Progress | None,
        *,
        gradients: bool,
    ) -> TorchRun:
        copy = {name for name in keep if layers[name].overwritten}
        cut = layers.final_activation[0] if layers.final_activation else None
        only = self._paths(keep, cut)
        shape = tuple(x.shape[2:])
        if gradients and layers and shape not in layers.shapes_run:
            only = None
        while True:
            keeper = _Keeper(keep, copy, cut)
            with self.lock, torch.inference_mode(False), torch.set_grad_enabled(gradients):
                leaf = x.detach().to(self.device, self.dtype).clone().requires_grad_(gradients)
                output = self._forward(leaf, spec, keeper, progress, total=len(layers), only=only)
            if only is None and layers:
                self._check_order(keeper.order, layers)
                layers.shapes_run.add(shape)
            missing = set(keep) - set(keeper.kept)
            if missing:
                raise NeuroscopeError(
                    f"The layer “{min(missing)}” did not run for this image: the network chooses "
                    f"its way by its input."
                )
            # A network that chose another way than at first may overwrite other layers.
            changed = keeper.overwritten()
            if not changed:
                return TorchRun(self, spec, leaf, output, keeper)
            copy |= changed

    @contextmanager
    def _moved_to_cpu(self) -> Iterator[None]:
        with self.lock:
            device = self.device
            self.model.to("cpu")
            self.device = torch.device("cpu")
            try:
                yield
            finally:
                self.device = device
                self.model.to(device)

    def on_cpu(self) -> AbstractContextManager[None] | None:
        return None if self.device.type == "cpu" else self._moved_to_cpu()

    def _check_order(self, order: list[tuple[str, str]], layers: LayerGraph) -> None:
        """Refuse layers that are not those of a pass, where all that ran was watched."""
        if order == [(name, layer.operation) for name, layer in layers.items()]:
            return
        # It may hang on a count of calls.
        self._ran_others = True
        raise OtherLayersError(
            "The network ran other layers for this image than for the one that its layers were "
            "found with: it chooses its way by its input."
        )

    def _paths(self, keep: Collection[str], cut: str | None) -> set[str] | None:
        """Return the modules whose calls are all that is needed; None where there is more."""
        wanted = {name.partition(":")[0] for name in [*keep, *([cut] if cut else [])]}
        return wanted if wanted <= dict(self.model.named_modules()).keys() else None

    def output(
        self, x: Tensor, spec: ModelSpec, layers: LayerGraph
    ) -> tuple[Tensor, Tensor | None]:
        cut = layers.final_activation[0] if layers.final_activation else None
        keeper = _Keeper((), (), cut)
        only = self._paths((), cut)
        with self.lock, torch.no_grad():
            output = self._forward(x.detach().to(self.device, self.dtype), spec, keeper, only=only)
        if only is None:
            self._check_order(keeper.order, layers)
        return output.detach(), keeper.scores.value if keeper.scores else None

    def outputs(self, x: Tensor, spec: ModelSpec) -> list[OfferedOutput]:
        nothing = _Keeper((), (), None)
        with self.frozen(), torch.inference_mode(False), torch.enable_grad():
            leaf = x.detach().to(self.device, self.dtype).clone().requires_grad_()
            return self._forward(leaf, spec, nothing, only=(), choose=offered_outputs)

    def resumed(
        self, x: Tensor, spec: ModelSpec, layers: LayerGraph, layer: str
    ) -> Callable[[Tensor, int], tuple[Tensor, Tensor | None]]:
        cut = layers.final_activation[0] if layers.final_activation else None
        overwritten = {name for name in layers if layers[name].overwritten}
        layout = layers[layer].layout
        for copying in (False, True):
            own = x.detach().to(self.device, self.dtype).clone()
            before = _Before(layer, overwritten, cut)
            with self.lock, torch.no_grad():
                output = self._forward(own, spec, before)
            self._check_order(before.order, layers)
            go_on = partial(self._go_on, own, spec, before, copying=copying)
            if isinstance(layout, TokenLayout):
                values = layout.repeated(before.value, 2)
            else:
                values = before.value.expand(2, *before.value.shape[1:])
            versions = own._version, before.versions()
            try:
                twice = go_on(values, 2)
            except OutOfMemoryError:
                raise
            except NeuroscopeError:
                # What several inputs share can't be written on.
                if copying:
                    raise
                continue
            if versions == (own._version, before.versions()):
                break
        for end, alone in zip(twice, (output.detach(), before.scores), strict=True):
            if not _agree(end, alone):
                raise NeuroscopeError(
                    f"The network can't be gone on with from the layer “{layer}”: what comes after "
                    f"it depends on more than its output; choose a later layer."
                )
        return go_on

    def _go_on(
        self,
        x: Tensor,
        spec: ModelSpec,
        before: _Before,
        values: Tensor,
        count: int,
        *,
        copying: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Pass `count` inputs like `x` (1, ...) on from outputs of a layer."""
        behind = _Behind(before, values.to(self.device, self.dtype), count, copying=copying)
        several = x.expand(count, *x.shape[1:])
        with self.lock, torch.no_grad(), behind.answering(self.model):
            output = self._forward(several, spec, behind, copying=copying)
        return output.detach(), behind.scores

    def relevance(self, x: Tensor, spec: ModelSpec, layers: LayerGraph) -> TorchRelevance:
        cut = layers.final_activation[0] if layers.final_activation else None
        copying = False
        while True:
            nodes, recorder = _Nodes(cut), RelevanceRecorder(_operation, copying=copying)
            with self.lock, torch.inference_mode(False), torch.enable_grad():
                leaf = x.detach().to(self.device, self.dtype).clone().requires_grad_()
                with recorder:
                    output = self._forward(leaf, spec, nodes)
                end = nodes.scores.edge if nodes.scores else _edge_of(output)
            self._check_order(nodes.order, layers)
            if copying or not recorder.overwritten:
                break
            copying = True
        if end is None:
            raise NeuroscopeError(_NO_GRADIENT)
        examine(end, nodes.names)

        @contextmanager
        def held() -> Iterator[None]:
            with (
                self.frozen(),
                torch.inference_mode(False),
                _speaking("relevance pass", leaf, spec),
            ):
                yield

        return TorchRelevance(
            leaf, end, recorder.tape, held, nbytes=nodes.nbytes, largest=nodes.largest
        )

    def recorded(self, x: Tensor, spec: ModelSpec, cut: str | None, *, saving: bool) -> TorchRun:
        """Run a pass whose every operation is looked at, and learn from it what can be guided.

        Without `saving` it can't be gone back, and takes little memory.
        """
        names = _ActivationNames(cut)
        with self.lock, torch.inference_mode(False), torch.enable_grad(), ExitStack() as stack:
            leaf = x.detach().clone().requires_grad_()
            recorder = ElementwiseRecorder([leaf])
            if not saving:
                stack.enter_context(saved_tensors_hooks(_nothing, _nothing))
            stack.enter_context(recorder)
            output = self._forward(leaf, spec, names)
            recorder.see(output)
        run = TorchRun(self, spec, leaf, output, names)
        run.learn(recorder, names.names)
        return run

    def attention(self, x: Tensor, spec: ModelSpec) -> list[Tensor]:
        nothing = _Keeper((), (), None)
        with self.lock, torch.no_grad(), AttentionKeeper(_operation) as keeper:
            self._forward(x, spec, nothing, lambda *_: None, total=0, only=())
        return keeper.found

    @contextmanager
    def randomised(self, layers: LayerGraph, seed: int) -> Iterator[Callable[[str], None]]:
        generator = torch.Generator().manual_seed(seed)
        held: dict[int, tuple[Tensor, Tensor]] = {}

        def replace(layer: str) -> None:
            module = self.model.get_submodule(layer.partition(":")[0])
            for weight in module.parameters():
                if not weight.is_floating_point():
                    continue
                # Tied weights are kept as they were at first.
                held.setdefault(id(weight), (weight, weight.detach().clone()))
                own = weight.detach().float()
                deviation = own.std(correction=0) if own.numel() > 1 else own.abs().sum()
                drawn = torch.randn(weight.shape, generator=generator).to(weight.device)
                # Beside autograd's count of changes: passes that are kept go on with the old
                # weights, which are back when they are asked.
                torch.add(drawn.mul_(deviation), own.mean(), out=weight.data)

        with self.frozen(), torch.inference_mode(False), torch.no_grad():
            try:
                yield replace
            finally:
                # The first last: of weights that share memory it alone was held as it was.
                for weight, value in reversed(held.values()):
                    weight.data.copy_(value)

    def _forward(
        self,
        x: Tensor,
        spec: ModelSpec,
        watcher: _Watcher,
        progress: Progress | None = None,
        total: int = 0,
        only: Collection[str] | None = None,
        *,
        copying: bool = True,
        choose: Callable[[Any, str | int | None], Any] | None = None,
    ) -> Any:
        recorder = watcher.recorder = _Recorder(self.model, watcher, progress, total)
        with (
            self.frozen(),
            torch.inference_mode(False),
            quiet(),
            torch.autocast(self.device.type, enabled=False),
            _speaking("forward pass", x, spec),
        ):
            given = x.to(self.device, self.dtype)
            if copying:
                # A network may write on its input.
                given = given.clone()
            given = to_axes(given, spec.input.axes)
            if self._is_lazy:
                # They take their shapes, and their values by chance, from a first pass.
                with torch.no_grad():
                    self.model(given.clone())
                self._is_lazy = False
            watcher.begin(given)
            cut = watcher.cut
            try:
                with (
                    recorder.watching(only, cut.partition(":")[0] if cut else None),
                    attributes_put_back(self.model, numbers=self._ran_others),
                    self._side_effects.same_draws(),
                ):
                    answer = self.model(given)
            finally:
                # They hold each other, and with them what was kept of the pass.
                del watcher.recorder
            self.offers_several = not isinstance(answer, Tensor)
            chosen = (choose or choose_output)(answer, spec.output.index)
            if choose:
                return chosen
            batched = _with_batch(chosen, given, spec)
            if batched is not chosen:
                watcher.pass_through("reshape", [chosen], [batched])
            return batched

    def state(self) -> Hashable:
        # A sanity check of another thread has random weights there meanwhile.
        with self.lock:
            weights = _weights(self.model)
            marks = tuple((w.data_ptr(), 0 if w.is_inference() else w._version) for w in weights)
            # Versions miss what is written through ``.data``.
            return marks, _fingerprint(weights)

    def digest(self, state: Hashable = None) -> str:
        with self.lock:
            state = self.state() if state is None else state
            if self._digest is None or self._digest[0] != state:
                self._digest = state, _digest_of(_named_weights(self.model))
            return self._digest[1]

    def guided_notes(self, layers: LayerGraph) -> list[str]:
        for path, module in self.model.named_modules():
            if isinstance(module, torch.jit.RecursiveScriptModule):
                raise NeuroscopeError(
                    f"Guided backpropagation can't see inside the scripted module "
                    f"“{path or type(module).__name__}” and its answer would be wrong; use the "
                    f"network as it was before torch.jit.script, or Saliency."
                )
        return []


def _with_batch(output: Tensor, given: Tensor, spec: ModelSpec) -> Tensor:
    """Return an answer with its batch of one, where the network squeezed that away."""
    batch = spec.input.axes.find("b")
    if batch < 0 or given.shape[batch] != 1 or spec.output.axes is not None:
        return output
    if output.ndim == 0:
        return output.reshape(1, 1)
    return output if output.shape[0] == 1 else output[None]


def _agree(several: Tensor | None, one: Tensor | None) -> bool:
    """Whether each answer of a batch is the network's own, as far as rounding goes."""
    if several is None or one is None:
        return several is one
    if several.shape[1:] != one.shape[1:]:
        return False
    most = 1e-4 * float(one.abs().max())
    return bool(torch.allclose(several, one.expand_as(several), rtol=1e-3, atol=most))


def _sums_to_one(values: Tensor, spec: ModelSpec) -> bool:
    """Whether values are probabilities over the axis of the classes."""
    batched = "b" in spec.input.axes and values.ndim > 1
    axis = spec.output.axis_of("c", int(batched))
    total = values.detach().float().sum(axis)
    return bool(torch.allclose(total, torch.ones_like(total), atol=1e-2))


_ROW = 1024
# Fixed, and unlike for each place in a row, so that values that change places are noticed too.
_PLACES = torch.cos(torch.arange(1, _ROW + 1, dtype=torch.float32) ** 1.5) + 1.5


def _fingerprint(weights: Collection[Tensor]) -> int:
    """Return a number that changes with the values, at the cost of reading them once."""
    parts: dict[torch.device, list[Tensor]] = {}
    with torch.no_grad():
        for weight in weights:
            flat = weight.detach().view(-1) if weight.is_contiguous() else weight.reshape(-1)
            if flat.dtype is not torch.float32:
                flat = flat.to(torch.float32)
            whole = flat.numel() // _ROW * _ROW
            here = parts.setdefault(flat.device, [])
            if whole:
                # One product stands for each row.
                here.append(torch.mv(flat[:whole].view(-1, _ROW), _PLACES.to(flat.device)))
            here.append(flat[whole:])
        # One transfer a device.
        return hash(tuple(torch.cat(here).cpu().numpy().tobytes() for here in parts.values()))


def _weights(model: nn.Module) -> list[Tensor]:
    """Return all parameters and buffers, quickly: it is asked before each question."""
    return [
        tensor
        for module in model.modules()
        for tensor in (*module._parameters.values(), *module._buffers.values())
        if tensor is not None and not is_lazy(tensor)
    ]


def _named_weights(model: nn.Module) -> list[tuple[str, Tensor]]:
    return [*model.named_parameters(), *model.named_buffers()]


def _digest_of(named: list[tuple[str, Tensor]]) -> str:
    digest = hashlib.sha256()
    for name, weight in sorted(named, key=lambda one: one[0]):
        plain = weight.detach().cpu().contiguous()
        digest.update(f"{name}:{plain.dtype}:{tuple(plain.shape)}".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _parts(model: nn.Module) -> Iterator[Hashable]:
    """Yield what two models may share: modules, weights, and the memory of weights."""
    yield from map(id, model.modules())
    for tensor in _weights(model):
        yield id(tensor)
        try:
            place = tensor.untyped_storage().data_ptr()
        except (RuntimeError, NotImplementedError):
            continue  # sparse ones have none
        if place:
            yield "memory", place


def _choose_device(device: str, model: nn.Module) -> torch.device:
    if device == "auto":
        own = next((p.device for p in model.parameters()), torch.device("cpu"))
        if own.type != "cpu":
            return own
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise NeuroscopeError(
            f"There is no device “{shortened(device)}”; choose auto, cpu, cuda, cuda:1 or mps."
        ) from None
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available.get(chosen.type, False):
        raise NeuroscopeError(
            f"The device “{device}” is not available to this PyTorch ({torch.__version__}); "
            f"choose auto or cpu."
        )
    if chosen.type == "cuda":
        index = chosen.index if chosen.index is not None else torch.cuda.current_device()
        if index >= torch.cuda.device_count():
            raise NeuroscopeError(
                f"There is no device “{device}”: this machine has "
                f"{torch.cuda.device_count()} CUDA devices, from cuda:0."
            )
        chosen = torch.device("cuda", index)
    return chosen


def choose_output(answer: Any, index: str | int | None) -> Tensor:
    """Return the output that is explained, of a tensor, dict, tuple or dataclass."""
    if isinstance(answer, Tensor):
        if not answer.is_floating_point():
            raise NeuroscopeError(
                "The network's output holds whole numbers, such as labels; set the spec's "
                "output.index to the output that holds scores, or give the network without argmax."
            )
        return answer
    named = _named_outputs(answer, index)
    if named is not None:
        if index is None:
            usual = [key for key in ("out", "logits") if isinstance(named.get(key), Tensor)]
            index = next(
                iter([*usual, *(k for k, v in named.items() if isinstance(v, Tensor))]), ""
            )
        if index not in named or named[index] is None:
            has = (
                f"its outputs are {', '.join(f'“{k}”' for k in named)}" if named else "it has none"
            )
            asked = f" “{index}”" if index != "" else " that is a tensor"
            raise NeuroscopeError(
                f"The network has no output{asked}: {has}; set the spec's output.index."
            )
        return choose_output(named[index], None)
    if isinstance(answer, list | tuple) and answer:
        index = 0 if index is None else index
        if not isinstance(index, int) or not -len(answer) <= index < len(answer):
            raise NeuroscopeError(
                f"The network has {len(answer)} outputs, 0..{len(answer) - 1}, but output.index is "
                f"{index!r}."
            )
        return choose_output(answer[index], None)
    raise NeuroscopeError(
        f"The network answered a {type(answer).__name__}, no tensor; set the "
        f"spec's output.index to the output that holds the scores."
    )


def offered_outputs(answer: Any, index: str | int | None = None) -> list[OfferedOutput]:
    """Return the outputs of a pass with gradients; those that are no tensor are left out."""
    named = _named_outputs(answer, None)
    if named is None and isinstance(answer, list | tuple):
        named = dict(enumerate(answer))
    tensors: dict[Any, Tensor] = {}
    for key, value in (named or {}).items():
        one = value
        while isinstance(one, list | tuple) and one:
            one = one[0]
        if isinstance(one, Tensor) and isinstance(key, str | int):
            tensors[key] = one
    return [
        OfferedOutput(
            key, tuple(one.shape), one.is_floating_point(),
            any(_comes_from(other, one) for other in tensors.values() if other.shape != one.shape),
        )
        for key, one in tensors.items()
    ]  # fmt: skip


def _comes_from(later: Tensor, earlier: Tensor) -> bool:
    """Whether a tensor is computed from another."""
    if later.grad_fn is None or earlier.grad_fn is None or not later.is_floating_point():
        return False
    found = torch.autograd.grad(later.sum(), earlier, retain_graph=True, allow_unused=True)
    return found[0] is not None


def _named_outputs(answer: Any, index: str | int | None) -> Mapping[Any, Any] | None:
    """Return outputs by name: of a dict, a dataclass, or a named tuple that is asked by name."""
    if isinstance(answer, Mapping):
        return answer
    if isinstance(answer, tuple):
        fields = getattr(answer, "_fields", ())
        return dict(zip(fields, answer, strict=True)) if index in fields else None
    if is_dataclass(answer) and not isinstance(answer, type):
        return {field.name: getattr(answer, field.name) for field in fields_of(answer)}
    if hasattr(answer, "__dict__") and vars(answer):
        return vars(answer)
    return None

"""ONNX on ONNX Runtime: scores, and every tensor of the graph that comes from the image.

Layers are tensors, named as Netron shows them (``/enc1/Conv_output_0``). ONNX Runtime has no
gradients for what it runs. All tensors are outputs of one session, of which each question fetches
those it needs. As it keeps them all to the end of a pass, another session has the ends alone, and
joins no operations: so what is answered does not depend on what else was asked.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
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
    TimeLimitError,
    no_progress,
    shortened,
)
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.file_kind import Kind
from napari_neuroscope.engine.frameworks.base import Capability, Framework, Run
from napari_neuroscope.engine.frameworks.byte_range import AS_BYTES
from napari_neuroscope.engine.frameworks.common import to_axes
from napari_neuroscope.engine.frameworks.input_shape import refuse_without_image
from napari_neuroscope.engine.frameworks.model_lock import ModelLock
from napari_neuroscope.engine.frameworks.onnx.files import KINDS, OnnxFile, digest_of, load_onnx
from napari_neuroscope.engine.frameworks.onnx.reach import reach_of_node
from napari_neuroscope.engine.frameworks.output_choice import OfferedOutput
from napari_neuroscope.engine.graph.layer_graph import Layer, LayerGraph
from napari_neuroscope.engine.spec.model_spec import ModelSpec

# Both are slow to import, and only needed when there is a network.
for _package in ("onnx", "onnxruntime"):
    if find_spec(_package) is None:
        raise ModuleNotFoundError(f"No module named {_package!r}", name=_package)

_FLOATS = {
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
}
_ASK_EVERY = 0.1
"""Seconds."""
_ENDING = 2.0
"""Seconds that a pass that was stopped has to end."""
_INPUTS = {**_FLOATS, "tensor(uint8)": torch.uint8}


class OnnxRun(Run):
    """A forward pass, of which the outputs are kept."""

    def __init__(
        self, output: Tensor, scores: Tensor | None, activations: dict[str, Tensor]
    ) -> None:
        self.output, self.scores, self.activations = output, scores, activations
        self.nbytes = sum(value.nbytes for value in activations.values())


class OnnxFramework(Framework):
    """An ``onnx.ModelProto``, as it is when it is given: later changes of it are not seen."""

    name = "onnx"
    capabilities = Capability.SCORES | Capability.ACTIVATIONS
    limits = (
        "and ONNX networks have none: open the PyTorch or Keras network that it was exported from"
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
    ) -> OnnxFile:
        return load_onnx(path, trust=trust)

    @classmethod
    def recognises(cls, model: Any) -> bool:
        if isinstance(model, OnnxFile):
            return True
        # Nothing is imported for a model of another framework.
        known = (("onnx", "ModelProto"), ("onnxruntime", "InferenceSession"))
        kinds = (getattr(sys.modules.get(package), name, None) for package, name in known)
        return any(kind is not None and isinstance(model, kind) for kind in kinds)

    def __init__(self, model: Any, device: str) -> None:
        # By number, so that the two don't hold each other.
        own = id(self)
        self.lock = ModelLock(lambda: [own])
        file = OnnxFile.of(model)
        try:
            self._open(file, device)
        except ValueError as error:
            # A name in it is no text, or an attribute of no known type.
            title = file.title[:1].upper() + file.title[1:]
            raise NeuroscopeError(f"{title} is broken: {_plain(str(error))}.") from error

    def _open(self, file: OnnxFile, device: str) -> None:
        from napari_neuroscope.engine.frameworks.onnx.bounds import refuse_long_shapes
        from napari_neuroscope.engine.frameworks.onnx.graph import OnnxGraph
        from napari_neuroscope.engine.frameworks.onnx.guard import PassGuard
        from napari_neuroscope.engine.frameworks.onnx.input_values import takes_bytes
        from napari_neuroscope.engine.frameworks.onnx.sizes import OnnxSizes

        proto = file.model
        self._digest = digest_of(file)
        if proto.functions:
            file = file.without_functions()
            proto = file.model
        title = file.title[:1].upper() + file.title[1:]
        refuse_long_shapes(proto.graph, title)
        self._graph = OnnxGraph.of(proto.graph, title)
        self._check_ends()
        hidden = [name for name in self._graph.of_image if name not in self._graph.outputs]
        self._sizes = sizes = OnnxSizes(proto)
        self._loops = sizes.loops
        self._guard = None if file.trusted else PassGuard(file, sizes)
        # What is computed when it is opened isn't asked for by a pass.
        constants = 0 if file.trusted else sizes.constants()
        folds = constants is not None and constants <= limits.ALWAYS_PASS
        self.model, self.device = _session(file, hidden, device, folds=folds)
        self._ends_of_image = self._graph.ends()
        behind = [name for name in self._ends_of_image if name not in self._graph.outputs]
        self._of_ends, _ = _session(file, behind, str(self.device), folds=folds, joins=False)
        (self._input,) = [i for i in self.model.get_inputs() if i.name in self._graph.inputs]
        if self._input.type not in _INPUTS:
            # Text and tables are often of whole numbers; what they are says more.
            rank = len(self._input_shape() or ())
            refuse_without_image(self._input_shape(), "yx" if rank == 2 else "bcyx")
            raise NeuroscopeError(
                f"The network's input “{self._input.name}” is a {self._input.type}; only networks "
                f"that take float32, float16, float64 or uint8 are known."
            )
        whole = self._input.type == "tensor(uint8)"
        self._takes_bytes = whole or takes_bytes(proto.graph, self._input.name)
        outputs = {output.name: output for output in self.model.get_outputs()}
        self._types = {name: output.type for name, output in outputs.items()}
        self._ranks = {name: len(o.shape) for name, o in outputs.items() if o.shape}
        self._tensors = [n for n in self._graph.of_image if self._types.get(n) in _FLOATS]
        self.dtype = _FLOATS.get(self._input.type, torch.float32)

    def _check_ends(self) -> None:
        if not self._graph.outputs:
            raise NeuroscopeError("The network has no output; export it again.")
        names = list(self._graph.inputs)
        if len(names) != 1:
            raise NeuroscopeError(
                f"The network takes {len(names)} inputs ({', '.join(names)}), and only one image "
                f"can be given; export it so that it takes the image alone."
            )

    def frozen(self) -> AbstractContextManager[None]:
        return self.lock

    # --- what the model says of itself ---

    def _input_shape(self) -> tuple[int | None, ...] | None:
        (told,) = self._graph.inputs.values()
        return told[1]

    def completed(self, spec: ModelSpec) -> ModelSpec:
        shape, given = self._input_shape(), spec.input
        found: dict[str, Any] = {}
        axes = given.axes
        if "axes" not in given.model_fields_set and shape is not None:
            axes = found["axes"] = self._axes(shape, axes)
            refuse_without_image(shape, axes)
        if shape is not None and len(shape) == len(axes):
            size = tuple(n for n, axis in zip(shape, axes, strict=True) if axis in "zyx")
            if not isinstance(given.size, tuple) and None not in size:
                found["size"] = size
            if given.channels is None:
                channels = shape[axes.index("c")] if "c" in axes else 1
                found["channels"] = channels or self.input_channels()
            batch = shape[axes.index("b")] if "b" in axes else None
            if batch is not None and batch > 1:
                raise NeuroscopeError(
                    f"The network takes {batch} images at once; export it with a batch of 1, or of "
                    f"any size."
                )
        if self._takes_bytes and "normalization" not in given.model_fields_set:
            # As they are: whole numbers, or those that the network normalises itself.
            found["normalization"] = AS_BYTES
        found = {name: value for name, value in found.items() if value is not None}
        return spec.with_input(**found)

    def _axes(self, shape: tuple[int | None, ...], axes: str) -> str:
        """Return the order of the input's axes, from the graph, or else from the shape."""
        space = {2: "yx", 3: "x", 4: "yx", 5: "zyx"}.get(len(shape))
        if space is None:
            return axes
        if len(shape) == 2:
            return space
        first, last = f"bc{space}", f"b{space}c"
        told = self._graph.fits(1), self._graph.fits(len(shape) - 1)
        if told[0] or (told[0] is None and told[1] is False):
            return first
        if told[1] and len(shape) > 3:
            return last
        if len(shape) == 3:
            return "byx"
        few = [n is not None and n <= 4 for n in (shape[1], shape[-1])]
        return last if few == [False, True] else first

    def most_at_once(self) -> int | None:
        shape = self._input_shape()
        # Without a known order of axes the batch comes first, as in every exporter.
        return shape[0] if shape and len(shape) > 2 else None

    def input_channels(self) -> int | None:
        kernel = self._graph.first_convolution()
        return kernel[0] if kernel else None

    # --- passes ---

    def _channel_axes(self, spec: ModelSpec) -> dict[str, int | None]:
        axes = spec.input.axes
        return self._graph.channel_axes(axes.index("c") if "c" in axes else None, self._ranks)

    def _ask(
        self, x: Tensor, spec: ModelSpec, names: Collection[str], progress: Progress = no_progress
    ) -> dict[str, Tensor]:
        """Return the values of tensors, as they are."""
        names = list(dict.fromkeys(names))
        progress(0, 1, "forward pass")
        given = to_axes(x, spec.input.axes)
        if self._guard is not None:
            self._guard.admit(given.shape, names, spec, progress)
        if self._input.type == "tensor(uint8)":
            given = given.round().clamp(0, 255)
        array = np.ascontiguousarray(given.to("cpu", _INPUTS[self._input.type]).numpy())
        with self.lock, _speaking(x):
            session = self._of_ends if self._ends_of_image.issuperset(names) else self.model
            values = _run(session, names, {self._input.name: array}, progress, self._loops)
        progress(1, 1, "forward pass")
        return {
            name: torch.from_numpy(np.asarray(value)).to(self.device)
            for name, value in zip(names, values, strict=True)
        }

    def reconsider(self, spec: ModelSpec) -> bool:
        return self._guard is not None and self._guard.try_whole(spec, no_progress)

    @property
    def offers_several(self) -> bool:  # type: ignore[override]
        """Whether the graph has several outputs."""
        return len(self._graph.outputs) > 1

    def outputs(self, x: Tensor, spec: ModelSpec) -> list[OfferedOutput]:
        names = self._graph.outputs
        values = self._ask(x, spec, names)
        shapes = {n: tuple(self._arranged(spec, n, values[n]).shape) for n in names}
        before = {name: self._graph.sources_of(name) for name in names}
        return [
            OfferedOutput(
                name, shapes[name], self._types[name] in _FLOATS,
                any(name in before[later] and shapes[later] != shapes[name]
                    for later in names if self._types[later] in _FLOATS),
            )
            for name in names
        ]  # fmt: skip

    def _output(self, spec: ModelSpec) -> str:
        """Return the name of the output that is explained."""
        names, index = self._graph.outputs, spec.output.index
        if index is None:
            floats = [name for name in names if self._types[name] in _FLOATS]
            usual = [name for name in ("out", "logits") if name in floats]
            index = next(iter([*usual, *floats, *names]))
        if isinstance(index, int) and -len(names) <= index < len(names):
            index = names[index]
        if index not in names:
            raise NeuroscopeError(
                f"The network has no output “{index}”: its outputs are "
                f"{', '.join(f'“{name}”' for name in names)}; set the spec's output.index."
            )
        if self._types[index] not in _FLOATS:
            raise NeuroscopeError(
                f"The network's output “{index}” holds whole numbers, such as labels; set the "
                f"spec's output.index to the output that holds scores, or export the network "
                f"without argmax."
            )
        return str(index)

    def _ends(self, spec: ModelSpec, layers: LayerGraph | None) -> tuple[str, Any]:
        """Return the output, and the softmax or sigmoid before it, unless it is known for none."""
        output = self._output(spec)
        ending = self._graph.ending(output)
        if ending is None or not {ending.scores, ending.layer} <= set(self._tensors):
            return output, None
        return output, ending if layers is None or layers.final_activation else None

    def _arranged(self, spec: ModelSpec, name: str, values: Tensor) -> Tensor:
        """Bring the output's channels to their place, unless the spec says where they are."""
        axis = self._channel_axes(spec).get(name)
        if axis is None or spec.output.axes is not None or values.ndim != len(spec.input.space) + 2:
            return values
        return values.movedim(axis, 1)

    def _answers(
        self, values: dict[str, Tensor], spec: ModelSpec, output: str, ending: Any
    ) -> tuple[Tensor, Tensor | None]:
        answer = values[output]
        scores = None
        if ending is not None:
            brought = ending.bring(values[ending.scores], answer)
            scores = self._arranged(spec, output, brought)
        return self._arranged(spec, output, answer), scores

    def _activation(self, values: Tensor, spec: ModelSpec, axis: int | None) -> Tensor:
        """Bring a tensor to (1, channel, *space)."""
        space = len(spec.input.space)
        if "b" not in spec.input.axes and values.ndim < space + 2:
            values, axis = values[None], None if axis is None else axis + 1
        return values.movedim(axis, 1) if axis is not None and values.ndim == space + 2 else values

    def layers(self, x: Tensor, spec: ModelSpec, progress: Progress) -> tuple[LayerGraph, Tensor]:
        output, ending = self._ends(spec, None)
        values = self._ask(x, spec, [output, *([ending.scores, ending.layer] if ending else [])],
                           progress)  # fmt: skip
        answer, _ = self._answers(values, spec, output, ending)
        axes = self._channel_axes(spec)
        shapes = self._shapes(x, spec, progress)
        inputs, altered = self._graph.edges(self._tensors)
        outputs: dict[str, list[str]] = {name: [] for name in self._tensors}
        for name, before in inputs.items():
            for source in before:
                outputs[source].append(name)
        space = len(spec.input.space)
        parameters = self._graph.parameters_of_layers(self._tensors)
        layers = [
            Layer(
                name,
                self._graph.kind(name),
                tuple(self._activation(_shaped(shapes[name]), spec, axes[name]).shape[1:]),
                parameters[name],
                inputs[name],
                tuple(outputs[name]),
                self._graph.of_image[name].operation,
                "",
                altered=name in altered,
                differentiable=False,
                description=self._graph.of_image[name].description,
                reach=reach_of_node(
                    self._graph.of_image[name],
                    space,
                    axes[name],
                    self._graph.weights,
                    self._graph.numbers,
                ),
                takes_input=self._input.name in self._graph.of_image[name].inputs,
            )
            for name in self._tensors
        ]
        final: tuple[str, Literal["softmax", "sigmoid"]] | None = None
        if ending is not None:
            # What lies behind it may round.
            end = self._arranged(spec, output, ending.bring(values[ending.layer], values[output]))
            if ending.kind == "sigmoid" or _sums_to_one(end, ending, spec):
                final = ending.layer, ending.kind
        return LayerGraph(layers, space, final), answer

    def _shapes(
        self, x: Tensor, spec: ModelSpec, progress: Progress
    ) -> Mapping[str, Sequence[int]]:
        """Return the shapes of the layers for an input: a pass that holds all is the last resort."""
        from napari_neuroscope.engine.frameworks.onnx.sizes import ShapesError

        try:
            sizes = self._sizes.of(to_axes(x, spec.input.axes).shape)
        except ShapesError:
            sizes = None
        if sizes is not None and sizes.shapes.keys() >= set(self._tensors):
            return sizes.shapes
        values = self._ask(x, spec, self._tensors, progress)
        return {name: value.shape for name, value in values.items()}

    def run(
        self,
        x: Tensor,
        spec: ModelSpec,
        layers: LayerGraph,
        keep: Collection[str],
        progress: Progress,
    ) -> OnnxRun:
        output, ending = self._ends(spec, layers)
        ends = [output, *([ending.scores] if ending else [])]
        values = self._ask(x, spec, [*ends, *keep], progress)
        axes = self._channel_axes(spec)
        kept = {name: self._activation(values[name], spec, axes[name]) for name in keep}
        return OnnxRun(*self._answers(values, spec, output, ending), kept)

    def output(
        self, x: Tensor, spec: ModelSpec, layers: LayerGraph
    ) -> tuple[Tensor, Tensor | None]:
        output, ending = self._ends(spec, layers)
        values = self._ask(x, spec, [output, *([ending.scores] if ending else [])])
        return self._answers(values, spec, output, ending)

    # --- weights ---

    def state(self) -> Hashable:
        # The session has its own copy of the weights, which nothing changes.
        return self._digest

    def digest(self, state: Hashable = None) -> str:
        return self._digest


_UNKNOWN = re.compile(
    r"(?P<domain>[\w.\-]*):(?P<operation>\w+)(?:\([^)]*\))? is not a registered function/op"
    r"|No Op registered for (?P<standard>\w+)"
    r"|No opset import for domain '(?P<missing>[^']*)'"
)
_NEWER = re.compile(r"Opset (\d+) is under development|Unsupported model IR version: (\d+)")


def _shaped(shape: Sequence[int]) -> Tensor:
    """Return a tensor of a shape that holds nothing."""
    return torch.empty(tuple(shape), device="meta")


def _session(
    file: OnnxFile, hidden: list[str], device: str, *, folds: bool, joins: bool = True
) -> tuple[Any, torch.device]:
    """Make a session whose outputs are the network's and the tensors inside of it.

    Where it `folds`, what doesn't depend on the image is computed once; where it `joins`,
    operations between which no tensor is seen may become one.
    """
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # What fails is raised and said once.
    options.log_severity_level = 4
    # A plan of the memory of a pass is laid beside what the pass before it left: twice as much.
    options.enable_mem_pattern = False
    # More would change how tensors lie in memory, and lose time where all of them are outputs.
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = (
        levels.ORT_ENABLE_EXTENDED if joins else levels.ORT_DISABLE_ALL
    )
    if file.folder is not None:
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(file.folder)
        )
    place, providers = _choose_device(device)
    # Two messages, one after another, are read as one that has the fields of both: no weights
    # are copied, and the model that was given is not changed.
    try:
        more = onnx.GraphProto(output=[onnx.ValueInfoProto(name=name) for name in hidden])
        content = file.content + onnx.ModelProto(graph=more).SerializeToString()
        session = onnxruntime.InferenceSession(
            content,
            options,
            providers=providers,
            enable_fallback=0,
            disabled_optimizers=[] if folds else ["ConstantFolding"],
        )
    except UnicodeError:
        raise
    except Exception as error:
        if len(providers) > 1 and device == "auto":
            return _session(file, hidden, "cpu", folds=folds, joins=joins)
        raise NeuroscopeError(_why_not(str(error), onnxruntime.__version__, file.title)) from error
    if len(providers) > 1 and session.get_providers()[0] != "CUDAExecutionProvider":
        if device != "auto":
            raise _unavailable(device)
        place = torch.device("cpu")
    # It would keep these bytes, and the weights in them, to start anew with other providers.
    session._model_bytes = None
    return session, place


def _why_not(text: str, version: str, title: str) -> str:
    """Say why ONNX Runtime can't run a model, from what it raised."""
    what = title[:1].upper() + title[1:]
    if found := _UNKNOWN.search(text):
        domain = found["domain"] or found["missing"]
        operation = found["operation"] or found["standard"]
        if operation is None:
            named = re.search(r'\(".*?", (\w+),', text)
            operation = named[1] if named else "?"
        whose = f" of “{domain}”" if domain else ""
        return (
            f"{what} uses the operator “{operation}”{whose}, which ONNX Runtime does not "
            f"know; operators of shared libraries are not loaded: export the network with "
            f"standard ones."
        )
    if found := _NEWER.search(text):
        needs = f"opset {found[1]}" if found[1] else f"version {found[2]} of the format"
        return (
            f"{what} needs {needs}, which is newer than ONNX Runtime {version}; upgrade it "
            f"(pip install -U onnxruntime), or export the network for an older one."
        )
    return f"ONNX Runtime {version} can't open {title}: {_plain(text)}."


def _run(
    session: Any, names: list[str], feed: dict[str, Any], progress: Progress, loops: bool
) -> list[Any]:
    """Run a session; in a thread of its own where the work may have to be stopped in its midst."""
    if progress is no_progress and not loops:
        return session.run(names, feed)
    running = _PassThread(session, names, feed)
    end = time.monotonic() + limits.LOOP_SECONDS
    try:
        while not running.ended.wait(_ASK_EVERY):
            progress(0, 1, "forward pass")
            if progress is no_progress and time.monotonic() > end:
                raise TimeLimitError(
                    f"A pass of the network ran for more than {limits.LOOP_SECONDS:g} seconds and "
                    f"was ended; its loops may have no end."
                )
    except BaseException:
        running.stop()
        raise
    return running.result()


class _PassThread:
    """A pass in a thread of its own."""

    def __init__(self, session: Any, names: list[str], feed: dict[str, Any]) -> None:
        import onnxruntime

        self.ended = threading.Event()
        self._options = onnxruntime.RunOptions()
        self._values: list[Any] = []
        self._error: Exception | None = None
        # A daemon: one that doesn't stop is left alone, and keeps nobody from leaving.
        threading.Thread(
            target=self._run, args=(session, names, feed), name="neuroscope onnx", daemon=True
        ).start()

    def _run(self, session: Any, names: list[str], feed: dict[str, Any]) -> None:
        try:
            self._values = session.run(names, feed, self._options)
        except Exception as error:  # noqa: BLE001  it is raised where the pass was asked for
            self._error = error
        finally:
            self.ended.set()

    def stop(self) -> None:
        """Stop it between two operations; one that takes long is left alone."""
        self._options.terminate = True
        self.ended.wait(_ENDING)

    def result(self) -> list[Any]:
        """Return its values, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return self._values


_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")


def _plain(text: str) -> str:
    """Return what ONNX Runtime says, in one line without its codes."""
    return shortened(" ".join(_PREFIX.sub("", text).split()), 300).rstrip(".")


@contextmanager
def _speaking(x: Tensor) -> Iterator[None]:
    """Turn what ONNX Runtime raises into a sentence."""
    try:
        yield
    except (NeuroscopeError, Cancelled):
        raise
    except Exception as error:
        text = str(error)
        if isinstance(error, MemoryError) or "Failed to allocate memory" in text:
            raise OutOfMemoryError(
                "The forward pass ran out of memory; try a smaller image or fewer layers."
            ) from error
        shape = " × ".join(str(n) for n in x.shape[2:])
        raise NeuroscopeError(
            f"The network's forward pass failed on an input of {x.shape[1]} channels and {shape} "
            f"pixels: {_plain(text)}; check the spec's input against what the network takes."
        ) from error


def _sums_to_one(output: Tensor, ending: Any, spec: ModelSpec) -> bool:
    """Whether an output is probabilities over the axis of the classes."""
    axis = spec.output.axis_of("c", min(1, output.ndim - 1))
    total = (output.float().exp() if ending.logarithmic else output.float()).sum(axis)
    return bool(torch.allclose(total, torch.ones_like(total), atol=1e-2))


def _choose_device(device: str) -> tuple[torch.device, list[Any]]:
    """Return the device of the engine's arrays, and the providers that run the network."""
    import onnxruntime

    wanted, _, number = str(device).partition(":")
    if wanted not in ("auto", "cpu", "cuda", "mps") or (number and not number.isdigit()):
        raise NeuroscopeError(
            f"ONNX Runtime has no device “{shortened(str(device))}”; choose auto, cpu, cuda or "
            f"cuda:1."
        )
    cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if wanted == "mps" or (wanted == "cuda" and not cuda):
        raise _unavailable(device)
    if wanted == "cpu" or not cuda or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu"), ["CPUExecutionProvider"]
    index = int(number or 0)
    there = torch.cuda.is_available() and index < torch.cuda.device_count()
    # A torch without CUDA gets its arrays on the host.
    place = torch.device("cuda", index) if there else torch.device("cpu")
    return place, [("CUDAExecutionProvider", {"device_id": index}), "CPUExecutionProvider"]


def _unavailable(device: str) -> NeuroscopeError:
    import onnxruntime

    return NeuroscopeError(
        f"The device “{device}” is not available to this ONNX Runtime "
        f"({onnxruntime.__version__}); choose auto or cpu, or install onnxruntime-gpu."
    )

"""ONNX on ONNX Runtime: scores, and every tensor of the graph that comes from the image.

Layers are tensors, named as Netron shows them (``/enc1/Conv_output_0``). ONNX Runtime has no
gradients for what it runs. All tensors are outputs of one session, of which each question fetches
those it needs. As it keeps them all to the end of a pass, another session has the ends alone, and
joins no operations: so what is answered does not depend on what else was asked.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Hashable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError, Progress, no_progress
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.file_kind import Kind
from napari_neuroscope.engine.frameworks.base import Capability, Framework, Run
from napari_neuroscope.engine.frameworks.byte_range import AS_BYTES
from napari_neuroscope.engine.frameworks.common import size_and_channels, sums_to_one_along, to_axes
from napari_neuroscope.engine.frameworks.input_shape import refuse_without_image
from napari_neuroscope.engine.frameworks.model_lock import ModelLock
from napari_neuroscope.engine.frameworks.onnx.errors import in_one_line, translated_errors
from napari_neuroscope.engine.frameworks.onnx.files.load import (
    KINDS,
    OnnxFile,
    digest_of,
    load_onnx,
)
from napari_neuroscope.engine.frameworks.onnx.outputs import choose_output
from napari_neuroscope.engine.frameworks.onnx.reach import reach_of_node
from napari_neuroscope.engine.frameworks.onnx.session import open_session, run_session
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
    ) -> OnnxFile:
        return load_onnx(path, trust=trust)

    @classmethod
    def recognises(cls, model: Any) -> bool:
        if isinstance(model, OnnxFile):
            return True
        # Nothing is imported for a model of another framework.
        places = (("onnx", "ModelProto"), ("onnxruntime", "InferenceSession"))
        kinds = (getattr(sys.modules.get(package), name, None) for package, name in places)
        return any(kind is not None and isinstance(model, kind) for kind in kinds)

    def __init__(self, model: Any, device: str) -> None:
        # By number, so that the two don't hold each other.
        number = id(self)
        self.lock = ModelLock(lambda: [number])
        file = OnnxFile.of(model)
        try:
            self._open(file, device)
        except ValueError as error:
            # A name in it is no text, or an attribute of no known type.
            raise NeuroscopeError(
                f"{file.subject} is broken: {in_one_line(str(error))}."
            ) from error

    def _open(self, file: OnnxFile, device: str) -> None:
        from napari_neuroscope.engine.frameworks.onnx.files.bounds import refuse_long_shapes
        from napari_neuroscope.engine.frameworks.onnx.graph import OnnxGraph
        from napari_neuroscope.engine.frameworks.onnx.input_values import takes_bytes
        from napari_neuroscope.engine.frameworks.onnx.memory.pass_guard import PassGuard
        from napari_neuroscope.engine.frameworks.onnx.memory.pass_sizes import OnnxSizes
        from napari_neuroscope.engine.frameworks.onnx.parameters import ParameterCounter

        proto = file.model
        self._digest = digest_of(file)
        if proto.functions:
            file = file.without_functions()
            proto = file.model
        refuse_long_shapes(proto.graph, file.subject)
        self._graph = OnnxGraph.of(proto.graph, file.subject)
        self._check_ends()
        self.offers_several = len(self._graph.outputs) > 1
        self._parameters = ParameterCounter(self._graph)
        hidden = [name for name in self._graph.of_image if name not in self._graph.outputs]
        self._sizes = sizes = OnnxSizes(proto)
        self._has_loops = sizes.has_loops
        self._guard = None if file.trusted else PassGuard(file, sizes)
        # What is computed when it is opened isn't asked for by a pass.
        constants = 0 if file.trusted else sizes.constants()
        folds = constants is not None and constants <= limits.ALWAYS_PASS
        self.model, self.device = open_session(file, hidden, device, folds=folds)
        self._ends_of_image = self._graph.ends()
        behind = [name for name in self._ends_of_image if name not in self._graph.outputs]
        self._session_of_ends, _ = open_session(
            file, behind, str(self.device), folds=folds, joins=False
        )
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

    def frozen(self) -> ModelLock:
        return self.lock

    # --- what the model says of itself ---

    def _input_shape(self) -> tuple[int | None, ...] | None:
        (told,) = self._graph.inputs.values()
        return told[1]

    def completed(self, spec: ModelSpec) -> ModelSpec:
        from napari_neuroscope.engine.frameworks.onnx.input_values import input_axes

        shape, given = self._input_shape(), spec.input
        told: dict[str, Any] = {}
        axes = given.axes
        if "axes" not in given.model_fields_set and shape is not None:
            axes = told["axes"] = input_axes(self._graph, shape, axes)
            refuse_without_image(shape, axes)
        if shape is not None and len(shape) == len(axes):
            told |= size_and_channels(shape, axes, spec)
            channels = None if "channels" in told else self.input_channels()
            if given.channels is None and channels is not None:
                told["channels"] = channels
            batch = shape[axes.index("b")] if "b" in axes else None
            if batch is not None and batch > 1:
                raise NeuroscopeError(
                    f"The network takes {batch} images at once; export it with a batch of 1, or of "
                    f"any size."
                )
        if self._takes_bytes and "normalization" not in given.model_fields_set:
            # As they are: whole numbers, or those that the network normalises itself.
            told["normalization"] = AS_BYTES
        return spec.with_input(**told)

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

    def _tensor_values(
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
        with self.lock, translated_errors(x):
            session = self._session_of_ends if self._ends_of_image.issuperset(names) else self.model
            values = run_session(
                session, names, {self._input.name: array}, progress, self._has_loops
            )
        progress(1, 1, "forward pass")
        return {
            name: torch.from_numpy(np.asarray(value)).to(self.device)
            for name, value in zip(names, values, strict=True)
        }

    def reconsider(self, spec: ModelSpec) -> bool:
        return self._guard is not None and self._guard.try_whole(spec, no_progress)

    def outputs(self, x: Tensor, spec: ModelSpec) -> list[OfferedOutput]:
        names = self._graph.outputs
        values = self._tensor_values(x, spec, names)
        shapes = {n: tuple(self._with_channels_first(spec, n, values[n]).shape) for n in names}
        before = {name: self._graph.sources_of(name) for name in names}
        return [
            OfferedOutput(
                name, shapes[name], self._types[name] in _FLOATS,
                any(name in before[later] and shapes[later] != shapes[name]
                    for later in names if self._types[later] in _FLOATS),
            )
            for name in names
        ]  # fmt: skip

    def _ends(self, spec: ModelSpec, layers: LayerGraph | None) -> tuple[str, Any]:
        """Return the output, and the softmax or sigmoid before it, unless the layers say that it is none."""
        holds_numbers = {name: self._types[name] in _FLOATS for name in self._graph.outputs}
        output = choose_output(holds_numbers, spec.output.index)
        final = self._graph.final_activation(output)
        if final is None or not {final.scores, final.layer} <= set(self._tensors):
            return output, None
        return output, final if layers is None or layers.final_activation else None

    def _with_channels_first(self, spec: ModelSpec, name: str, values: Tensor) -> Tensor:
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
            scores = self._with_channels_first(spec, output, brought)
        return self._with_channels_first(spec, output, answer), scores

    def _activation(self, values: Tensor, spec: ModelSpec, axis: int | None) -> Tensor:
        """Bring a tensor to (1, channel, *space)."""
        space = len(spec.input.space)
        if "b" not in spec.input.axes and values.ndim < space + 2:
            values, axis = values[None], None if axis is None else axis + 1
        return values.movedim(axis, 1) if axis is not None and values.ndim == space + 2 else values

    def layers(self, x: Tensor, spec: ModelSpec, progress: Progress) -> tuple[LayerGraph, Tensor]:
        output, ending = self._ends(spec, None)
        values = self._tensor_values(x, spec, [output, *([ending.scores, ending.layer] if ending else [])],
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
        parameters = self._parameters.of_layers(self._tensors)
        leading = {output, *self._graph.sources_of(output)}
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
                leads=name in leading,
            )
            for name in self._tensors
        ]
        final: tuple[str, Literal["softmax", "sigmoid"]] | None = None
        if ending is not None:
            # What lies behind it may round.
            end = self._with_channels_first(
                spec, output, ending.bring(values[ending.layer], values[output])
            )
            axis = spec.output.axis_of("c", min(1, end.ndim - 1))
            probabilities = end.float().exp() if ending.logarithmic else end
            if ending.kind == "sigmoid" or sums_to_one_along(probabilities, axis):
                final = ending.layer, ending.kind
        return LayerGraph(layers, space, final), answer

    def _shapes(
        self, x: Tensor, spec: ModelSpec, progress: Progress
    ) -> Mapping[str, Sequence[int]]:
        """Return the shapes of the layers for an input: a pass that holds all is the last resort."""
        from napari_neuroscope.engine.frameworks.onnx.memory.pass_sizes import ShapesError

        try:
            sizes = self._sizes.of(to_axes(x, spec.input.axes).shape)
        except ShapesError:
            sizes = None
        if sizes is not None and sizes.shapes.keys() >= set(self._tensors):
            return sizes.shapes
        values = self._tensor_values(x, spec, self._tensors, progress)
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
        values = self._tensor_values(x, spec, [*ends, *keep], progress)
        axes = self._channel_axes(spec)
        kept = {name: self._activation(values[name], spec, axes[name]) for name in keep}
        return OnnxRun(*self._answers(values, spec, output, ending), kept)

    def output(
        self, x: Tensor, spec: ModelSpec, layers: LayerGraph
    ) -> tuple[Tensor, Tensor | None]:
        output, ending = self._ends(spec, layers)
        values = self._tensor_values(x, spec, [output, *([ending.scores] if ending else [])])
        return self._answers(values, spec, output, ending)

    # --- weights ---

    def state(self) -> Hashable:
        # The session has its own copy of the weights, which nothing changes.
        return self._digest

    def digest(self, state: Hashable = None) -> str:
        return self._digest


def _shaped(shape: Sequence[int]) -> Tensor:
    """Return a tensor of a shape that holds nothing."""
    return torch.empty(tuple(shape), device="meta")

"""Network: a model with its spec, and what can be asked of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from napari_neuroscope.engine.errors import (
    NeuroscopeError,
    OutOfMemoryError,
    Progress,
    TimeLimitError,
    no_progress,
)
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.code.trial import TrialError
from napari_neuroscope.engine.files.code.trust import UntrustedError
from napari_neuroscope.engine.frameworks.base import (
    Capability,
    Framework,
    OtherLayersError,
    RelevancePass,
    Run,
)
from napari_neuroscope.engine.frameworks.output_choice import OutputChoice
from napari_neuroscope.engine.frameworks.registry import framework_of
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.images.axes import in_read_order
from napari_neuroscope.engine.images.grid import Grid, resample
from napari_neuroscope.engine.images.preprocessing import PreparedImage, as_array, prepare
from napari_neuroscope.engine.passes.measured_end import (
    CONTRADICTED,
    MEASURED,
    TOLD,
    with_measured_end,
)
from napari_neuroscope.engine.passes.output_finder import OutputFinder
from napari_neuroscope.engine.passes.outputs import Outputs
from napari_neuroscope.engine.passes.trace import Trace, TraceCache, TraceKey
from napari_neuroscope.engine.spec.classes_beside import classes_beside
from napari_neuroscope.engine.spec.inference import infer
from napari_neuroscope.engine.spec.model_spec import ClassSpec, InputSpec, ModelSpec, SizeRule
from napari_neuroscope.engine.spec.trial_sizes import trial_image, usual_shapes
from napari_neuroscope.engine.tiles.default import find_spec_of_tiles, tiled_for
from napari_neuroscope.engine.tiles.geometry import by_tiles

if TYPE_CHECKING:
    from napari_neuroscope.engine.methods.registry import Method
    from napari_neuroscope.engine.networks.bioimageio.published import PublishedTest

T = TypeVar("T")

DEFAULT_CACHE_BYTES = 1 << 30
# Batches of one and of two are computed in another order, which rounds by less than this part.
_OF_BATCHES = 3e-4

# What a network is not asked anew after, in another way.
_ENDS_ALL = (UntrustedError, TimeLimitError, TrialError)

BYTES = (
    "the network is given values of 0..255, for which the type of its input or its first layer is "
    "made: if it takes others, say input.normalization"
)


@dataclass(frozen=True, eq=False)
class Prediction:
    """A network's answer to an image, on the image's own grid.

    Attributes
    ----------
    class_names
        The names of the classes.
    outputs, grid, image
        The answer as it is, its grid, and the image's.
    notes
        What a reader of the answer should know.
    """

    class_names: list[str]
    outputs: Outputs
    grid: Grid | None
    image: Grid
    notes: tuple[str, ...] = ()

    def _placed(self, values: Tensor) -> np.ndarray:
        if self.grid is not None:
            values = resample(values, self.grid, self.image)
        # A copy: what it is read from is kept for the next question.
        return values.cpu().numpy().copy()

    @cached_property
    def scores(self) -> np.ndarray:
        """Logits, float32 (class, *space), or (class,); NaN where the image was not seen."""
        return self._placed(self.outputs.scores)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Probabilities, float32 (class, *space), or (class,)."""
        return self._placed(self.outputs.probabilities)

    @cached_property
    def labels(self) -> np.ndarray:
        """The most probable class of each pixel, (*space), −1 where not seen; or one number."""
        if self.grid is None:
            return np.asarray(self.scores.argmax(0))
        unseen = np.isnan(self.scores[0])
        return np.where(unseen, -1, np.nan_to_num(self.scores).argmax(0)).astype(np.int32)


class Network:
    """A model with its spec; made by `load` and `wrap`.

    Attributes
    ----------
    spec
        What it expects and what its outputs mean, completed by what was found out.
    stated
        The part of it that was given.
    name
        What people call it.
    traces
        The forward passes that are kept for reuse.
    path
        The file that it was loaded from.
    classes_from
        The file beside it that names its classes, where one does.
    origin
        What `load` makes it anew from: "source", and "factory" and "arguments" where they were
        given as plain values; empty for a model in memory.
    published
        What its bioimage.io package says of it, where it has one.
    """

    def __init__(
        self,
        model: Any,
        spec: ModelSpec | None = None,
        *,
        device: str = "auto",
        name: str = "",
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        known = isinstance(model, Framework)
        self._adapter: Framework = model if known else framework_of(model)(model, device)
        self.stated = spec or ModelSpec()
        self.spec = self._adapter.completed(self.stated)
        self.name = name or self._adapter.name_of(model)
        self.path: Path | None = None
        self.classes_from: Path | None = None
        self.origin: dict[str, Any] = {}
        self.published: PublishedTest | None = None
        self.traces = TraceCache(cache_bytes)
        self._finder = OutputFinder(self._adapter)
        self._layers: LayerGraph | None = None
        self._sums_to_one = False
        self._knows_range = False
        self._resized: LayerGraph | None = None
        self._names: list[str] = []
        # Whether images of a batch see each other, once that was tried; copies share it.
        self._mixes: list[bool] = []
        self._growth = self._held_growth = 0.0

    def __repr__(self) -> str:
        return f"<Network “{self.name}”: {self.spec.task}, {self.framework} on {self.device}>"

    def with_spec(self, spec: ModelSpec) -> Network:
        """Return a network of the same model in memory with another spec."""
        other = Network(self._adapter, spec, name=self.name, cache_bytes=self.traces.limit)
        other.path, other.origin = self.path, self.origin
        other.published, other.stated = self.published, self.stated
        other._finder.choice = self._finder.choice
        return other

    def without_traces(self) -> Network:
        """Return the same network with a cache of its own that is empty.

        What a pass that is kept has of its network: were it the network itself, the two would hold
        each other, and with them all memory of a network that was let go of.
        """
        other = copy(self)
        other.traces = TraceCache(self.traces.limit)
        return other

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self._adapter.device

    @property
    def framework(self) -> str:
        """The name of its framework."""
        return self._adapter.name

    @property
    def capabilities(self) -> Capability:
        """What its framework can tell of it."""
        return self._adapter.capabilities

    def why_not(self, method: Method, options: Mapping[str, Any] | None = None) -> str | None:
        """Return why a method can't be used with the network, and what comes nearest.

        A sentence; None where it can be used. What hangs on the network's layers is said once they
        have been found.
        """
        reason = self._reason_against(method, options)
        if reason is None:
            return None
        near = method.nearest(lambda other: self._reason_against(other) is None)
        if near is method:
            return f"{reason[:-1]}; without them it runs."
        return f"{reason[:-1]}; {near.title} comes nearest." if near else reason

    def _reason_against(
        self, method: Method, options: Mapping[str, Any] | None = None
    ) -> str | None:
        limits, space = self._adapter.limits, self.spec.input.space
        reason = method.why_not(
            self.spec.task, self.capabilities, options, limits=limits, space=space
        )
        if reason is not None or self._layers is None:
            return reason
        return method.why_not_of_layers(self._layers, options)

    @cached_property
    def channels(self) -> int:
        """How many channels it takes."""
        return self._adapter.channels_of(self.spec)

    def find_value_range(self) -> None:
        """Complete the spec by the values that the network takes, where it normalises them itself.

        Asked before the first pass, and not when the network is wrapped: a pass may take long.
        """
        if self._knows_range:
            return
        with self.undisturbed():
            if not self._knows_range:
                self.spec = self._adapter.with_value_range(self.spec)
                self._knows_range = True

    def infer(self) -> None:
        """Complete the spec by asking the network: its task, and the sizes that it takes."""
        self.find_value_range()
        fixed = self._adapter.example_shape()
        known = self.spec
        self.spec, answered = self._inferred(known, fixed)
        if not answered and self._adapter.reconsider(known):
            self.spec, _ = self._inferred(known, fixed)

    def find_task(self) -> None:
        """Complete the spec by the task alone, where it is not stated, by asking the network.

        A network that answers no image of zeros keeps the task that specs have by default.
        """
        if "task" in self.spec.model_fields_set:
            return
        self.find_value_range()
        known, fixed = self.spec, self._adapter.example_shape()
        # Of the sizes that it takes nothing is asked, which would take many passes.
        size = known.input.size or (tuple(fixed[2:]) if fixed else SizeRule())
        sized = known.with_input(size=size)
        with suppress(NeuroscopeError):
            completed, _ = self._inferred(sized, fixed)
            self.spec = completed.model_copy(update={"input": known.input})

    def _inferred(self, spec: ModelSpec, fixed: tuple[int, ...] | None) -> tuple[ModelSpec, bool]:
        """Return the completed spec, and whether the network answered at all."""
        answers = 0
        too_large: OutOfMemoryError | None = None

        def ask(shape: tuple[int, ...]) -> Tensor | None:
            nonlocal answers, too_large
            try:
                x = self._trial_image(shape)
                _, answer = self._finder.asked(
                    x, spec, lambda s: self._adapter.output(x, s, LayerGraph([], len(shape)))[0]
                )
            except _ENDS_ALL:
                raise
            except OutOfMemoryError as error:
                too_large = error
                return None
            except NeuroscopeError:
                return None
            answers += 1
            return answer

        completed = infer(spec, ask, fixed[2:] if fixed else None)
        if not answers and too_large is not None:
            said = str(too_large)
            if f"“{self.name}" in said:
                raise too_large
            raise OutOfMemoryError(
                f"“{self.name}” can't be tried, since {said[:1].lower()}{said[1:]}"
            ) from too_large
        return completed, answers > 0

    def _trial_image(self, shape: tuple[int, ...]) -> Tensor:
        return trial_image(self.channels, shape, self.name)

    @property
    def layers(self) -> LayerGraph:
        """The layers, in order of execution, found by one forward pass when first asked for."""
        if self._layers is None:
            self._find_layers()
        assert self._layers is not None
        return self._layers

    def _find_layers(self) -> None:
        self.find_value_range()
        with self.undisturbed():
            for size in usual_shapes(self.spec.input.size, len(self.spec.input.space)):
                try:
                    self._discover(self._trial_image(size))
                    break
                except _ENDS_ALL:
                    raise
                except NeuroscopeError as error:
                    failure = error
            else:
                raise failure

    def layers_of(self, x: Tensor) -> LayerGraph:
        """Return the layers for an input (channel, *space): how tokens lie depends on its size."""
        layers = self.layers
        shape = tuple(x.shape[1:])
        if shape == layers.input_shape or not layers.folded:
            return layers
        with self.undisturbed():
            resized = self._resized
            if resized is None or resized.input_shape != shape:
                resized, _ = self._adapter.layers(x[None], self.spec, no_progress)
                resized.input_shape, resized.of_positions = shape, layers.of_positions
                self._resized = resized
            return resized

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, or their numbers."""
        self.layers  # noqa: B018  found together with the layers
        return self._names

    @cached_property
    def class_colours(self) -> list[tuple[int, int, int]]:
        """The colours of the classes, red, green and blue of 0..255."""
        return [self.spec.colour(i) for i in range(len(self.class_names))]

    @property
    def takes_one_size(self) -> bool:
        """Whether images of one size alone fit the model itself, whatever the spec says."""
        if "size" not in self.stated.input.model_fields_set:
            return isinstance(self.spec.input.size, tuple)
        told = self._adapter.completed(ModelSpec(input=InputSpec(axes=self.spec.input.axes)))
        return isinstance(told.input.size, tuple) or self._adapter.example_shape() is not None

    @cached_property
    def spec_of_tiles(self) -> ModelSpec | None:
        """By which spec a segmenter of one size is run tile by tile on larger images.

        None where it can't be, or its own spec says what is done with them.
        """
        self.layers  # noqa: B018  they complete the spec
        return find_spec_of_tiles(self)

    @cached_property
    def tiled(self) -> Network | None:
        """The same network by that spec, whose layers are found once."""
        return None if self.spec_of_tiles is None else self.with_spec(self.spec_of_tiles)

    @property
    def output_choice(self) -> OutputChoice | None:
        """Which of several outputs is explained; None where there is one, or it was stated."""
        self.layers  # noqa: B018  found together with the layers
        return self._finder.choice

    def outputs_of(self, output: Tensor, scores: Tensor | None, pixels: Sequence[int]) -> Outputs:
        """Return what an output means, and the scores before its end, for an input of some shape."""
        final = self.layers.final_activation
        grid = self._finder.grid_of_row(output, self.spec, self.layers, pixels)
        return Outputs(output, scores, self.spec, final[1] if final else None, grid)

    def grid_of_output(self, onto: Grid, shape: Sequence[int]) -> Grid:
        """Return where positions of the output lie on the image.

        Parameters
        ----------
        onto
            Where the pixels of the network's input lie.
        shape
            How many positions there are along each axis.
        """
        return self._finder.grid(onto, shape, self.spec, self.layers)

    def about_output(self) -> tuple[str, ...]:
        """Say of the output what `notes_of_output` does, for an image of a usual size."""
        layers = self.layers
        onto = Grid.of_image(layers.input_shape)
        placed = self.spec.task == "segmentation" and bool(self._finder.shape)
        grid = self.grid_of_output(onto, self._finder.shape) if placed else None
        return self.notes_of_output(grid, onto)

    def notes_of_output(self, grid: Grid | None, onto: Grid) -> tuple[str, ...]:
        """Say which of several outputs is explained, and what of the image it leaves out.

        Parameters
        ----------
        grid
            Where the output's positions lie; None where it has none.
        onto
            Where the pixels of the network's input lie.
        """
        choice = self.output_choice
        notes = (choice.in_words(),) if choice is not None and choice.is_of_several else ()
        ends = (
            (self.end_was_measured, MEASURED),
            (self.end_was_told, TOLD),
            (self.end_contradicts, CONTRADICTED),
        )
        notes = (*notes, *(words for holds, words in ends if holds))
        return notes if grid is None else (*notes, *self._finder.notes_of_place(grid, onto))

    @property
    def range_was_found(self) -> bool:
        """Whether the model itself tells which values of an image it takes, and nobody stated them."""
        stated = self.stated.input
        found = self.spec.input.normalization != stated.normalization
        return found and "normalization" not in stated.model_fields_set

    @property
    def end_was_measured(self) -> bool:
        """Whether its answers are taken for probabilities since trial inputs were answered so."""
        return self._end_is_unseen and not self._says_probabilities and self._has_end

    @property
    def end_was_told(self) -> bool:
        """Whether its answers are taken for probabilities since its package says so."""
        return self._end_is_unseen and self._says_probabilities and self._has_end

    @property
    def end_contradicts(self) -> bool:
        """Whether its package says that its answers lie in 0..1, where they don't."""
        return self._end_is_unseen and self._says_probabilities and not self._has_end

    @property
    def answers_sum_to_one(self) -> bool:
        """Whether its answers are taken for those of a softmax since they sum to one."""
        return self._end_is_unseen and not self._has_end and self._sums_to_one

    @property
    def _end_is_unseen(self) -> bool:
        return self.layers.final_activation is None and self.stated.output.activation is None

    @property
    def _has_end(self) -> bool:
        return self.spec.output.activation in ("softmax", "sigmoid")

    @property
    def _says_probabilities(self) -> bool:
        return self.published is not None and self.published.says_probabilities(self.spec)

    def undisturbed(self) -> AbstractContextManager[None]:
        """Hold the model as passes need it, and put it back as it was, once for several passes."""
        return self._adapter.frozen()

    def guided_notes(self) -> tuple[str, ...]:
        """Say what guided backpropagation can't guide in this network."""
        return tuple(self._adapter.guided_notes(self.layers))

    def digest(self, state: Hashable = None) -> str:
        """Return a hash of all weights, kept for as long as their `state` is the same."""
        return self._adapter.digest(state)

    def digests(self, image: Any) -> tuple[str, str]:
        """Return the digests of the network and of an image, as the record of a map has them."""
        self.find_value_range()
        with self.undisturbed():
            key = self._key(as_array(in_read_order(image, self.spec, self.channels)))
            return self.digest(key.state), key.image

    def _discover(self, x: Tensor, progress: Progress = no_progress) -> None:
        with self.undisturbed():
            # Another thread may have found them meanwhile.
            if self._layers is None:
                self._take_layers(x, progress)

    def _take_layers(self, x: Tensor, progress: Progress) -> None:
        self.spec, (layers, output) = self._finder.asked(
            x, self.spec, lambda spec: self._adapter.layers(x, spec, progress)
        )
        spec = self._finder.read(x, output, self.spec)
        if spec != self.spec:
            # Along which axis the scores are tells whether the network ends in a softmax.
            self.spec = spec
            layers, output = self._adapter.layers(x, spec, progress)
        layers.input_shape = tuple(x.shape[2:])
        layers.shapes_run.add(layers.input_shape)
        layers.of_positions = spec.task == "segmentation"
        self._finder.settle(output, spec, layers)
        grid = self._finder.grid_of_row(output, spec, layers, layers.input_shape)
        outputs = Outputs(output, None, spec, None, grid)
        self.spec = with_measured_end(
            spec,
            layers,
            outputs,
            lambda inputs: self._adapter.output(inputs, spec, layers)[0],
            x,
            told=self._says_probabilities,
        )
        self._sums_to_one = outputs.ends_in == "softmax"
        count, names = outputs.count, self.spec.classes
        if count > limits.MOST_CLASSES:
            raise NeuroscopeError(
                f"The network “{self.name}” answers {count:,} classes, more than can be shown "
                f"({limits.MOST_CLASSES:,}); set the spec's output.index or output.axes."
            )
        if not names and self.path is not None and "classes" not in self.stated.model_fields_set:
            beside = classes_beside(self.path, count)
            if beside is not None:
                self.classes_from, names = beside
        if len(names) == 1 and outputs.one_output:
            names = (ClassSpec(name="background"), *names)
        if len(names) > count:
            raise NeuroscopeError(
                f"The spec names {len(names)} classes, but the network answers {count}."
            )
        self.spec = self.spec.model_copy(update={"classes": names})
        self._names = [self.spec.class_name(i) for i in range(count)]
        ran = [layer for layer in layers.values() if layer.kind != "block"]
        self._growth = sum(math.prod(layer.output_shape) for layer in ran) / x.numel()
        # What works in place leaves its input no memory of its own, and dropout does nothing here.
        held = [n for n in ran if not n.overwritten and n.kind != "dropout"]
        self._held_growth = sum(math.prod(layer.output_shape) for layer in held) / x.numel()
        # The last: whoever sees it finds the rest.
        self._layers = layers

    def discover(self, image: Any, progress: Progress = no_progress) -> None:
        """Find the layers with this image, unless they are known."""
        self.find_value_range()
        image = in_read_order(image, self.spec, self.channels)
        if self._layers is None and not by_tiles(self, image):
            self._discover(self.prepare(image).input[None], progress)

    def _with_its_layers(self, x: Tensor, ask: Callable[[], T]) -> T:
        """Ask a pass of an input; where it runs other layers, they are found by it and it asked anew.

        Some networks choose their way by the size of their input.
        """
        try:
            return ask()
        except OtherLayersError:
            # What was kept is told by layers that are no more.
            self.traces.clear()
            self._resized = None
            self._take_layers(x, no_progress)
            return ask()

    def _fits_whole(self, x: Tensor) -> bool:
        """Whether all activations and gradients of an input take a small part of the cache."""
        return 2 * self.bytes_of_layers(x) <= self.traces.limit / 4

    def bytes_of_layers(self, x: Tensor) -> int:
        """Return about how much memory the outputs of all layers take for an input."""
        return int(self._growth * x.numel() * self._adapter.dtype.itemsize)

    def bytes_of_pass(self, x: Tensor) -> int:
        """Return about how much memory a pass forward holds, with what its way back needs."""
        return int((1 + self._held_growth) * x.numel() * self._adapter.dtype.itemsize)

    def prepare(self, image: Any) -> PreparedImage:
        """Bring an image to the network's input."""
        self.find_value_range()
        prepared = prepare(image, self.spec, self.channels)
        if self.range_was_found:
            prepared = replace(prepared, notes=(*prepared.notes, BYTES))
        return prepared

    def answer(self, prepared: PreparedImage) -> Tensor:
        """Return the network's output as it is, (1, ...), for an image that was prepared."""
        x = prepared.input[None]
        self._discover(x)
        return self._with_its_layers(x, lambda: self._adapter.output(x, self.spec, self.layers)[0])

    def answers(self, x: Tensor) -> Tensor:
        """Return the scores, or the output where it can't be cut before its end, of many inputs.

        Parameters
        ----------
        x
            Inputs as the network takes them, (input, channel, *space).

        Returns
        -------
        Tensor
            As `Outputs.raw`, of all inputs: (input, ...), or as the spec's ``output.axes`` say.
        """
        if "b" not in self.spec.input.axes:
            return torch.stack([self._raw(self._adapter.output(one[None], self.spec, self.layers))
                                for one in x])  # fmt: skip
        return self._raw(self._adapter.output(x, self.spec, self.layers))

    @staticmethod
    def _raw(ends: tuple[Tensor, Tensor | None]) -> Tensor:
        output, scores = ends
        return output if scores is None else scores

    def passed(self, x: Tensor, layers: Sequence[str] = ()) -> Run:
        """Pass many inputs (input, channel, *space) forward, so that gradients can be pulled back.

        Activations and gradients of `layers` have the inputs as their first axis.
        """
        return self._adapter.run(x, self.spec, self.layers, layers, no_progress)

    def trace_of_part(
        self, prepared: PreparedImage, layers: Sequence[str] = (), *, gradients: bool = True
    ) -> Trace:
        """Pass a part of an image forward, of which nothing is kept for another question.

        Parameters
        ----------
        prepared
            The part.
        layers
            The layers whose activations are needed.
        gradients
            Whether gradients are pulled back.
        """
        x = prepared.input[None]
        run = (
            self.passed(x, layers)
            if gradients
            else self._adapter.run_no_grad(x, self.spec, self.layers, layers)
        )
        key = TraceKey("", tuple(prepared.input.shape), "f4", self.spec, None)
        return Trace(self, prepared, run, key=key, everything=False)

    def on_cpu(self) -> AbstractContextManager[None] | None:
        """Return what holds the model on the CPU meanwhile; None where it can't be moved there."""
        return self._adapter.on_cpu()

    def resumed(self, prepared: PreparedImage, layer: str) -> Callable[[Tensor, int], Tensor]:
        """Return what goes on from a layer's output, running what comes after it alone.

        Parameters
        ----------
        prepared
            The image: what does not come from the layer stays as it is for this image.
        layer
            Which layer's output is given.

        Returns
        -------
        callable
            Takes outputs of the layer as the network has them, and of how many inputs they are;
            returns as `answers`.
        """
        x = prepared.input[None]
        go_on = self._adapter.resumed(x, self.spec, self.layers_of(prepared.input), layer)
        return lambda values, count: self._raw(go_on(values, count))

    def relevance(self, prepared: PreparedImage) -> RelevancePass:
        """Pass an image forward so that relevance can be carried back to its input."""
        return self._adapter.relevance(prepared.input[None], self.spec, self.layers)

    def attention(self, prepared: PreparedImage) -> list[Tensor]:
        """Pass an image forward and return what attended to what, as `Framework.attention`."""
        return self._adapter.attention(prepared.input[None], self.spec)

    @property
    def most_at_once(self) -> int | None:
        """How many inputs fit one pass, where the model itself says it; None where it does not."""
        if "b" not in self.spec.input.axes or self._adapter.draws:
            # Of random numbers, each input is given the same.
            return 1
        return self._adapter.most_at_once()

    def mixes_batches(self, x: Tensor, alone: Tensor) -> bool:
        """Whether the answer to an input hangs on the others of its batch, tried once.

        Parameters
        ----------
        x
            The input, (1, channel, *space).
        alone
            What is known of it: as `answers`.
        """
        if not self._mixes:
            axis = self.spec.output.axis_of("b", 0)
            generator = torch.Generator().manual_seed(0)
            other = 3 + 3 * torch.randn(x.shape, generator=generator).to(x)
            try:
                both = self.answers(torch.cat([x, other]))
            except _ENDS_ALL:
                raise
            except NeuroscopeError:
                # It takes one at a time, which is told when it is asked.
                return False
            if both.ndim != alone.ndim or both.shape[axis] != 2:
                return False
            precision = max(_OF_BATCHES, 16 * torch.finfo(both.dtype).eps)
            first, alone = both.narrow(axis, 0, 1).float(), alone.float().to(both.device)
            apart = (first - alone).abs().max()
            self._mixes.append(bool(apart > precision * alone.abs().max()))
        return self._mixes[0]

    def notes_of_chance(self) -> tuple[str, ...]:
        """Say that the network draws random numbers, where it does."""
        if not self._adapter.draws:
            return ()
        return (
            "the network draws random numbers as it runs (dropout or noise, say): each pass draws the "
            "same ones here, others give another answer",
        )

    def predict(self, image: Any) -> Prediction:
        """Ask the network for its answer to an image.

        Parameters
        ----------
        image
            An array with the spec's ``image_axes``, of any real type. Where the spec says tile by
            tile, one larger than a tile is read window by window.

        Returns
        -------
        Prediction
            Scores, probabilities and labels on the image's own grid.
        """
        self.find_value_range()
        image = in_read_order(image, self.spec, self.channels)
        if by_tiles(self, image):
            from napari_neuroscope.engine.tiles.prediction import predict_tiled

            return predict_tiled(self, image)
        if (tiled := tiled_for(self, image)) is not None:
            from napari_neuroscope.engine.tiles.prediction import predict_tiled

            return predict_tiled(tiled, image)
        array = as_array(image)
        with self.undisturbed():
            held = self.traces.get(self._key(array))
            if held is not None:
                prepared, outputs = held.prepared, held.outputs
            else:
                prepared = self.prepare(array)
                x = prepared.input[None]
                self._discover(x)
                output, scores = self._with_its_layers(
                    x, lambda: self._adapter.output(x, self.spec, self.layers)
                )
                outputs = self.outputs_of(output, scores, prepared.grid.shape)
            grid = None
            if self.spec.task == "segmentation":
                grid = self.grid_of_output(prepared.grid, outputs.predicted.shape)
        notes = (
            *prepared.notes, *self.notes_of_output(grid, prepared.grid), *self.notes_of_chance()
        )  # fmt: skip
        return Prediction(self.class_names, outputs, grid, prepared.image, notes)

    def trace(
        self,
        image: Any,
        layers: Sequence[str] = (),
        *,
        keep: Literal["asked", "everything", "fit"] = "fit",
        progress: Progress = no_progress,
    ) -> Trace:
        """Pass an image forward, or return the pass that is kept of it.

        Parameters
        ----------
        image
            An array with the spec's ``image_axes``.
        layers
            The layers whose activations are needed.
        keep
            ``"asked"`` keeps those alone; ``"everything"`` keeps all, and all gradients of each
            target, so that the next question about the image takes no pass; ``"fit"`` keeps
            everything where that takes a quarter of the cache at most.
        progress
            Follows the work, and may stop it.

        Raises
        ------
        NeuroscopeError
            Where the image does not fit the network, or is larger than a tile of one that is run
            tile by tile.
        """
        self.find_value_range()
        image = in_read_order(image, self.spec, self.channels)
        if by_tiles(self, image):
            raise NeuroscopeError(
                "The image is larger than a tile, as which the spec has the network run, and this "
                "asks for the whole at once; take a part of it, or set the spec's input.resize to "
                "pad."
            )
        with self.undisturbed():
            return self._traced(as_array(image), layers, keep, progress)

    def _traced(
        self,
        array: np.ndarray,
        layers: Sequence[str],
        keep: Literal["asked", "everything", "fit"],
        progress: Progress,
    ) -> Trace:
        key = self._key(array)
        held = self.traces.get(key)
        if held is not None and (
            held.everything or (keep != "everything" and set(layers) <= set(held.layers))
        ):
            return held
        prepared = self.prepare(array)
        x = prepared.input[None]
        self._discover(x, progress)
        everything = keep == "everything" or (keep == "fit" and self._fits_whole(x))

        def run_of_its_layers() -> Run:
            if missing := set(layers) - set(self.layers):
                raise OtherLayersError(
                    f"The layer “{min(missing)}” does not run for this image: the network chooses "
                    f"its way by its input."
                )
            kept: Collection[str] = list(self.layers) if everything else layers
            return self._adapter.run(x, self.spec, self.layers, kept, progress)

        run = self._with_its_layers(x, run_of_its_layers)
        trace = Trace(self, prepared, run, key=key, everything=everything)
        self.traces.put(key, trace)
        return trace

    def trace_of(self, prepared: PreparedImage, like: Trace, layers: Sequence[str] = ()) -> Trace:
        """Pass an input forward that is no image's own, such as one with noise on it.

        Parameters
        ----------
        prepared
            The input.
        like
            A pass of the image that it is a variant of.
        layers
            The layers whose activations are needed.
        """
        run = self.passed(prepared.input[None], layers)
        return Trace(self, prepared, run, key=like.key, everything=False)

    def randomised(self, seed: int) -> AbstractContextManager[Callable[[str], None]]:
        """Let the weights of layers be replaced by random ones, and put back in the end.

        Gives a function that takes a layer's name. Each weight is drawn from a normal distribution
        of the mean and the deviation that the weights of its array had.
        """
        return self._adapter.randomised(self.layers, seed)

    def _key(self, image: np.ndarray) -> TraceKey:
        return TraceKey(
            image_digest(image), image.shape, image.dtype.str, self.spec, self._adapter.state()
        )


def image_digest(image: np.ndarray) -> str:
    """Return a hash of an image's values."""
    content = np.ascontiguousarray(image).data if image.size else b""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def wrap(
    model: Any,
    spec: ModelSpec | dict[str, Any] | None = None,
    *,
    device: str = "auto",
    name: str = "",
) -> Network:
    """Make a network of a model in memory.

    Parameters
    ----------
    model
        A ``torch.nn.Module``, or a model of another installed framework, left as it is but for
        being moved to `device`; or a function that returns scores of float32 NumPy arrays with the
        spec's ``input.axes``, of which nothing else can be seen.
    spec
        What it expects and what its outputs mean. A task that it doesn't state is found out.
    device
        "cpu", "cuda", "cuda:1", "mps", or "auto": an accelerator where there is one.
    name
        What people call it.

    Raises
    ------
    NeuroscopeError
        Where the model is of no known framework, or the device does not exist.
    """
    if spec is not None and not isinstance(spec, ModelSpec):
        spec = ModelSpec.parse(spec)
    network = Network(model, spec, device=device, name=name)
    network.find_task()
    return network

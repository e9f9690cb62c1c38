"""Model: a network in memory with its spec, and what can be passed through it.

It knows nothing of what is kept between questions, nor of where it was opened from: `Network` does.

Longer than other files, for it is the one place where a framework is asked anything: each method is one
question, and to split them would hide that there is no other way.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError, Progress, no_progress
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
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.images.preprocessing import PreparedImage, prepare
from napari_neuroscope.engine.passes.batch_trial import ENDS_ALL_TRIALS, BatchTrial
from napari_neuroscope.engine.passes.discovery import Discovery, class_specs, discover
from napari_neuroscope.engine.passes.output.output_end import OutputEnd
from napari_neuroscope.engine.passes.output.output_finder import OutputFinder
from napari_neuroscope.engine.passes.output.outputs import Outputs
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from napari_neuroscope.engine.spec.trial_sizes import trial_image, usual_shapes

T = TypeVar("T")

BYTES = (
    "the network is given values of 0..255, for which the type of its input or its first layer is "
    "made: if it takes others, say input.normalization"
)


class Model:
    """A network in memory with its spec: what passes are made of.

    Attributes
    ----------
    adapter
        The model, as its framework sees it.
    spec
        What it expects and what its outputs mean, completed by what was found out.
    stated
        The part of it that was given.
    name
        What people call it.
    path
        The file that it was loaded from.
    classes_from
        The file beside it that names its classes, where one does.
    output_finder
        Which output is explained, and where it lies.
    """

    def __init__(
        self, model: Any, spec: ModelSpec | None = None, *, device: str = "auto", name: str = ""
    ) -> None:
        is_adapter = isinstance(model, Framework)
        self.adapter: Framework = model if is_adapter else framework_of(model)(model, device)
        self.stated = spec or ModelSpec()
        self.spec = self.adapter.completed(self.stated)
        self.name = name or self.adapter.name_of(model)
        self.path: Path | None = None
        self.classes_from: Path | None = None
        self.output_finder = OutputFinder(self.adapter)
        self._discovery: Discovery | None = None
        self._resized: LayerGraph | None = None
        self._knows_range = False
        self._names: list[str] = []
        self._batch_trial = BatchTrial()

    def with_spec(self, spec: ModelSpec) -> Self:
        """Return the same model in memory with another spec."""
        model = type(self)(self.adapter, spec, name=self.name)
        model.path, model.stated = self.path, self.stated
        model.output_finder.choice = self.output_finder.choice
        return model

    def for_a_pass(self) -> Model:
        """Return what a pass that is kept has of its model.

        Were it what keeps the pass, the two would hold each other, and with them all memory of a
        network that was let go of.
        """
        return copy(self)

    # --- what it is ---

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.adapter.device

    @property
    def framework(self) -> str:
        """The name of its framework."""
        return self.adapter.name

    @property
    def capabilities(self) -> Capability:
        """What its framework can tell of it."""
        return self.adapter.capabilities

    @cached_property
    def channels(self) -> int:
        """How many channels it takes."""
        return self.adapter.channels_of(self.spec)

    def frozen(self) -> AbstractContextManager[None]:
        """Hold the model as passes need it, and put it back as it was, once for several passes."""
        return self.adapter.frozen()

    def on_cpu(self) -> AbstractContextManager[None] | None:
        """Return what holds the model on the CPU meanwhile; None where it can't be moved there."""
        return self.adapter.on_cpu()

    def digest(self, state: Hashable = None) -> str:
        """Return a hash of all weights, kept for as long as their `state` is the same."""
        return self.adapter.digest(state)

    def randomised(self, seed: int) -> AbstractContextManager[Callable[[str], None]]:
        """Let the weights of layers be replaced by random ones, and put back in the end.

        Gives a function that takes a layer's name. Each weight is drawn from a normal distribution
        of the mean and the deviation that the weights of its array had.
        """
        return self.adapter.randomised(self.layers, seed)

    # --- what it takes ---

    def find_value_range(self) -> None:
        """Complete the spec by the values that the model takes, where it normalises them itself.

        Asked before the first pass, and not when the model is wrapped: a pass may take long.
        """
        if self._knows_range:
            return
        with self.frozen():
            if not self._knows_range:
                self.spec = self.adapter.with_value_range(self.spec)
                self._knows_range = True

    @property
    def range_was_found(self) -> bool:
        """Whether the model itself tells which values of an image it takes, and nobody stated them."""
        stated = self.stated.input
        differs = self.spec.input.normalization != stated.normalization
        return differs and "normalization" not in stated.model_fields_set

    def trial_image(self, shape: tuple[int, ...]) -> Tensor:
        """Return an image of zeros of a spatial shape, (1, channel, *space)."""
        return trial_image(self.channels, shape, self.name)

    def prepare(self, image: Any) -> PreparedImage:
        """Bring an image to the network's input."""
        self.find_value_range()
        prepared = prepare(image, self.spec, self.channels)
        if self.range_was_found:
            prepared = replace(prepared, notes=(*prepared.notes, BYTES))
        return prepared

    # --- its layers ---

    @property
    def layers(self) -> LayerGraph:
        """The layers, in order of execution, found by one forward pass when first asked for."""
        return self._discovered.layers

    @property
    def _discovered(self) -> Discovery:
        if self._discovery is None:
            self._discover_by_trial()
        assert self._discovery is not None
        return self._discovery

    @property
    def has_layers(self) -> bool:
        """Whether the layers have been found already."""
        return self._discovery is not None

    def _discover_by_trial(self) -> None:
        self.find_value_range()
        with self.frozen():
            for size in usual_shapes(self.spec.input.size, len(self.spec.input.space)):
                try:
                    self.discover_by(self.trial_image(size))
                    break
                except ENDS_ALL_TRIALS:
                    raise
                except NeuroscopeError as error:
                    failure = error
            else:
                raise failure

    def discover_by(self, x: Tensor, progress: Progress = no_progress) -> None:
        """Find the layers by an input (1, channel, *space), unless they are known."""
        with self.frozen():
            # Another thread may have found them meanwhile.
            if self._discovery is None:
                self._discover(x, progress)

    def _discover(self, x: Tensor, progress: Progress) -> None:
        self.spec, discovery = discover(
            self.adapter, self.output_finder, self.spec, x, progress, self._says_probabilities
        )
        may_look_beside = "classes" not in self.stated.model_fields_set
        beside, classes = class_specs(
            discovery.outputs, self.spec, self.name, self.path if may_look_beside else None
        )
        self.classes_from = beside or self.classes_from
        self.spec = self.spec.model_copy(update={"classes": classes})
        self._names = [self.spec.class_name(i) for i in range(discovery.outputs.count)]
        # The last: whoever sees it finds the rest.
        self._discovery = discovery

    def layers_of(self, x: Tensor) -> LayerGraph:
        """Return the layers for an input (channel, *space): how tokens lie depends on its size."""
        layers = self.layers
        shape = tuple(x.shape[1:])
        if shape == layers.input_shape or not layers.folded:
            return layers
        with self.frozen():
            resized = self._resized
            if resized is None or resized.input_shape != shape:
                resized, _ = self.adapter.layers(x[None], self.spec, no_progress)
                resized.input_shape, resized.of_positions = shape, layers.of_positions
                self._resized = resized
            return resized

    def with_its_layers(self, x: Tensor, ask: Callable[[], T]) -> T:
        """Ask a pass of an input; where it runs other layers, they are found by it and it asked anew.

        Some networks choose their way by the size of their input.
        """
        try:
            return ask()
        except OtherLayersError:
            self.forget_passes()
            self._resized = None
            self._discover(x, no_progress)
            return ask()

    def forget_passes(self) -> None:
        """Drop what is kept of passes, which is told by layers that are no more."""

    def guided_notes(self) -> tuple[str, ...]:
        """Say what guided backpropagation can't guide in this network."""
        return tuple(self.adapter.guided_notes(self.layers))

    def bytes_of_layers(self, x: Tensor) -> int:
        """Return about how much memory the outputs of all layers take for an input."""
        return int(self._discovered.values_of_layers * x.numel() * self.adapter.dtype.itemsize)

    def bytes_of_pass(self, x: Tensor) -> int:
        """Return about how much memory a pass forward holds, with what its way back needs."""
        return int((1 + self._discovered.values_held) * x.numel() * self.adapter.dtype.itemsize)

    # --- its output ---

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
    def output_choice(self) -> OutputChoice | None:
        """Which of several outputs is explained; None where there is one, or it was stated."""
        self.layers  # noqa: B018  found together with the layers
        return self.output_finder.choice

    @property
    def output_end(self) -> OutputEnd:
        """How it is known whether the answers are probabilities."""
        discovery = self._discovered
        return OutputEnd(
            discovery.layers.final_activation is None and self.stated.output.activation is None,
            self.spec.output.activation in ("softmax", "sigmoid"),
            self._says_probabilities(self.spec),
            discovery.outputs.ends_in == "softmax",
        )

    def _says_probabilities(self, spec: ModelSpec) -> bool:
        """Whether it comes with the word that its answers lie in 0..1."""
        return False

    def outputs_of(self, output: Tensor, scores: Tensor | None, pixels: Sequence[int]) -> Outputs:
        """Return what an output means, and the scores before its end, for an input of some shape."""
        final = self.layers.final_activation
        grid = self.output_finder.grid_of_row(output, self.spec, self.layers, pixels)
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
        return self.output_finder.grid(onto, shape, self.spec, self.layers)

    # --- passes ---

    def output(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the output for an input (1, channel, *space), and the scores before its end.

        Scores are None where the network can't be cut before its end. Layers are found first.
        """
        self.discover_by(x)
        return self.with_its_layers(x, lambda: self.adapter.output(x, self.spec, self.layers))

    def forward(self, x: Tensor) -> Tensor:
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
            return torch.stack([
                _raw(self.adapter.output(single[None], self.spec, self.layers)) for single in x
            ])  # fmt: skip
        return _raw(self.adapter.output(x, self.spec, self.layers))

    def run(self, x: Tensor, layers: Sequence[str] = ()) -> Run:
        """Pass many inputs (input, channel, *space) forward, so that gradients can be pulled back.

        Activations and gradients of `layers` have the inputs as their first axis.
        """
        return self.adapter.run(x, self.spec, self.layers, layers, no_progress)

    def run_no_grad(self, x: Tensor, layers: Sequence[str] = ()) -> Run:
        """Pass inputs forward as `run` does, where no gradient is pulled back."""
        return self.adapter.run_no_grad(x, self.spec, self.layers, layers)

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
            returns as `forward`.
        """
        x = prepared.input[None]
        go_on = self.adapter.resumed(x, self.spec, self.layers_of(prepared.input), layer)
        return lambda values, count: _raw(go_on(values, count))

    def relevance(self, prepared: PreparedImage) -> RelevancePass:
        """Pass an image forward so that relevance can be carried back to its input."""
        return self.adapter.relevance(prepared.input[None], self.spec, self.layers)

    def attention(self, prepared: PreparedImage) -> list[Tensor]:
        """Pass an image forward and return what attended to what, as `Framework.attention`."""
        return self.adapter.attention(prepared.input[None], self.spec)

    # --- batches ---

    @property
    def most_at_once(self) -> int | None:
        """How many inputs fit one pass, where the model itself says it; None where it does not."""
        if "b" not in self.spec.input.axes or self.adapter.draws:
            # Of random numbers, each input is given the same.
            return 1
        return self.adapter.most_at_once()

    def mixes_batches(self, x: Tensor, alone: Tensor) -> bool:
        """Whether the answer to an input hangs on the others of its batch, as `BatchTrial.mixes`."""
        axis = self.spec.output.axis_of("b", 0)
        return self._batch_trial.mixes(x, alone, axis, self.forward)


def _raw(ends: tuple[Tensor, Tensor | None]) -> Tensor:
    output, scores = ends
    return output if scores is None else scores

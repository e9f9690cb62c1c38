"""The interface to a framework; more are found by entry point ``napari_neuroscope.frameworks``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from enum import Flag, auto
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor, device, dtype

from napari_neuroscope.engine.errors import NeuroscopeError, Progress, no_progress
from napari_neuroscope.engine.files.file_kind import Kind
from napari_neuroscope.engine.frameworks.byte_range import AS_BYTES
from napari_neuroscope.engine.frameworks.model_lock import ModelLock
from napari_neuroscope.engine.frameworks.output_choice import OfferedOutput
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from napari_neuroscope.engine.spec.trial_sizes import trial_image, usual_shapes


class Capability(Flag):
    """What a framework can tell of a network."""

    SCORES = auto()
    ACTIVATIONS = auto()
    GRADIENTS = auto()
    GUIDED = auto()
    RESUMED = auto()
    RANDOMISED = auto()
    RELEVANCE = auto()
    ATTENTION = auto()


class OtherLayersError(NeuroscopeError):
    """A pass that ran other layers than those that the network was found to have."""


class Run:
    """One forward pass of one image, kept so that gradients can be pulled back through it.

    The methods are for frameworks that can give gradients, `guided_gradient` for those that can
    guide them.

    Attributes
    ----------
    output
        The chosen output of the network, as it is: (1, ...).
    scores
        The output before the final softmax or sigmoid, of the same shape; None where the network
        can't be cut there.
    activations
        The outputs of the layers kept: (1, ...) each, detached.
    nbytes
        About how much memory the run holds.
    """

    output: Tensor
    scores: Tensor | None
    activations: Mapping[str, Tensor]
    nbytes: int

    def gradients(
        self, seed: Tensor, layers: Sequence[str], *, with_input: bool = False
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """Pull `seed`, a gradient of ``scores`` (or ``output``), back to layers and the input.

        Returns the gradients of the layers, shaped as their activations, and of the input
        (1, channel, *space) where it is asked for; without those that a cast to whole numbers
        keeps them from, where others are there.
        """
        raise NeuroscopeError("The network's framework gives no gradients.")

    def input_gradient(self, seed: Tensor, *, last: bool = False) -> Tensor:
        """Pull `seed` back to the input: (1, channel, *space).

        The `last` time the run is not asked again, and may let go of what it keeps on the way.
        """
        gradient = self.gradients(seed, [], with_input=True)[1]
        assert gradient is not None
        return gradient

    def gradients_together(self, seeds: Tensor, layers: Sequence[str]) -> dict[str, Tensor] | None:
        """Pull several seeds (seed, ...) back in one pass: gradients (seed, 1, ...) of the layers.

        None where the framework, or an operation of the network, can't do that.
        """
        return None

    def sweep(
        self, seed: Tensor, layers: Sequence[str], visit: Callable[[str, Tensor], None]
    ) -> None:
        """Pull `seed` back and call ``visit(layer, gradient)`` as each gradient arrives.

        No gradient outlives its visit, so that memory does not grow with the number of layers. A
        framework that meets them all in one pass does it in one.
        """
        for layer in layers:
            visit(layer, self.gradients(seed, [layer])[0][layer])

    def guided_gradient(self, seed: Tensor) -> tuple[Tensor, int]:
        """Pull `seed` back to the input by guided backpropagation.

        Returns the gradient (1, channel, *space) and how many nonlinearities were guided.
        """
        raise NeuroscopeError("The network's framework can't guide backpropagation.")

    def guided_notes(self, layers: LayerGraph) -> list[str]:
        """Say what the last guided gradient was not guided through, by the names of layers."""
        return []


@dataclass(frozen=True)
class RelevanceRule:
    """How the layers of a network share relevance out to what they are given.

    Attributes
    ----------
    convolution
        What convolutions share by: ``"epsilon"``, ``"gamma"`` or ``"z_plus"``; dense layers, and
        those that give the scores, share by epsilon.
    flat_input
        Whether the first layers share alike, whatever the values of the input.
    epsilon
        What is added to the size of each sum, as a part of their root mean square.
    gamma
        How much more counts what speaks for the sign of a sum.
    """

    convolution: Literal["epsilon", "gamma", "z_plus"] = "z_plus"
    flat_input: bool = True
    epsilon: float = 1e-6
    gamma: float = 0.25


class RelevancePass(ABC):
    """One forward pass of one image, kept so that relevance can be carried back through it.

    Attributes
    ----------
    nbytes
        About how much memory it holds.
    largest
        About how much memory the largest output of its layers takes.
    """

    nbytes: int
    largest: int

    @abstractmethod
    def at_input(self, seeds: Tensor, rule: RelevanceRule) -> Tensor:
        """Carry relevance back to the input: (seed, 1, channel, *space).

        It begins as the scores (or the output) times `seeds` (seed, ...), gradients of them.
        """


class Framework(ABC):
    """One model, as its framework sees it.

    Parameters
    ----------
    model
        The framework's own object.
    device
        Where it shall run: "auto", "cpu", "cuda", "cuda:1", "mps".

    Attributes
    ----------
    name
        What people call the framework.
    capabilities
        What it can tell of a network.
    limits
        Why it can't tell the rest and what to do, as the second half of a sentence: “<method> needs
        gradients, <limits>”.
    kinds
        The kinds of file that it loads.
    suffixes
        The usual endings of its own kinds of file.
    takes_anything
        Whether it is asked after all others, since it takes what they may know better.
    offers_several
        Whether the network has several outputs, as far as it was seen yet.
    """

    name: ClassVar[str]
    # A framework may narrow both for a model, as for one that is quantised.
    capabilities: Capability
    limits: str = "which this network's framework can't give"
    kinds: ClassVar[tuple[Kind, ...]] = ()
    suffixes: ClassVar[tuple[str, ...]] = ()
    takes_anything: ClassVar[bool] = False

    model: Any
    device: device
    dtype: dtype
    lock: AbstractContextManager[None]
    offers_several: bool = False

    @classmethod
    def kind_of(cls, path: Path, head: bytes) -> Kind | None:
        """Return which of the framework's own kinds a file is, told without running it; or None.

        `head` holds its first 4096 bytes; a folder has none.
        """
        return None

    @classmethod
    def load(
        cls, path: Path, kind: Kind, *, factory: Any, arguments: dict[str, Any] | None, trust: bool
    ) -> Any:
        """Load a model from a file of one of `kinds`, running no code of it without trust."""
        raise NotImplementedError

    @classmethod
    @abstractmethod
    def recognises(cls, model: Any) -> bool:
        """Whether `model` belongs to this framework."""

    @classmethod
    def name_of(cls, model: Any) -> str:
        """Return what a model is called where nobody named it."""
        return type(model).__name__

    @abstractmethod
    def __init__(self, model: Any, device: str) -> None: ...

    def frozen(self) -> AbstractContextManager[None]:
        """Hold the model as passes need it, and put it back as it was; may be nested.

        No other thread uses the model meanwhile, nor another network that shares a part of it.
        """
        return ModelLock(lambda: [id(self.model)])

    def completed(self, spec: ModelSpec) -> ModelSpec:
        """Return the spec with what the model itself says of its input, without a pass."""
        return spec

    def with_value_range(self, spec: ModelSpec) -> ModelSpec:
        """Return the spec with the values that the model takes, where it normalises them itself.

        It may be asked about images for that; what is stated stays.
        """
        if "normalization" in spec.input.model_fields_set:
            return spec
        for shape in usual_shapes(spec.input.size, len(spec.input.space)):
            with suppress(NeuroscopeError):
                image = trial_image(self.channels_of(spec), shape, self.name)
                is_of_bytes = self.normalises_bytes(spec, image)
                if is_of_bytes is not None:
                    return spec.with_input(normalization=AS_BYTES) if is_of_bytes else spec
        return spec

    def normalises_bytes(self, spec: ModelSpec, black: Tensor) -> bool | None:
        """Return whether the model is made for images of 0..255; None where that can't be seen.

        Parameters
        ----------
        spec
            What is known of the model.
        black
            An image of zeros, (1, channel, *space), that it may be asked about.
        """
        return None

    def channels_of(self, spec: ModelSpec) -> int:
        """Return how many channels the network takes, of colours where nothing tells it."""
        likely = {"gray": 1, "rgb": 3, "bgr": 3}.get(spec.input.order or "", 3)
        return spec.input.channels or self.input_channels() or likely

    @abstractmethod
    def input_channels(self) -> int | None:
        """Return how many channels the network's first layer takes, where that can be told."""

    def example_shape(self) -> tuple[int, ...] | None:
        """Return the only shape of input that the model takes, where its file says so."""
        return None

    @abstractmethod
    def layers(self, x: Tensor, spec: ModelSpec, progress: Progress) -> tuple[LayerGraph, Tensor]:
        """Find the layers by a pass of `x` (1, channel, *space); also return the output."""

    @abstractmethod
    def run(
        self,
        x: Tensor,
        spec: ModelSpec,
        layers: LayerGraph,
        keep: Collection[str],
        progress: Progress,
    ) -> Run:
        """Pass `x` (1, channel, *space) forward, keeping the outputs of the layers in `keep`."""

    def run_no_grad(
        self, x: Tensor, spec: ModelSpec, layers: LayerGraph, keep: Collection[str]
    ) -> Run:
        """Pass `x` forward as `run`, where no gradient is asked for: it need hold no more."""
        return self.run(x, spec, layers, keep, no_progress)

    def on_cpu(self) -> AbstractContextManager[None] | None:
        """Return what holds the model on the CPU meanwhile; None where it is there already.

        None, too, where a framework can't move it.
        """
        return None

    @abstractmethod
    def output(
        self, x: Tensor, spec: ModelSpec, layers: LayerGraph
    ) -> tuple[Tensor, Tensor | None]:
        """Pass `x` forward, keeping nothing: the output and the scores, as `Run` has them.

        Here and in `run`, `x` holds several inputs where many variants of an image are asked about.
        """

    def resumed(
        self, x: Tensor, spec: ModelSpec, layers: LayerGraph, layer: str
    ) -> Callable[[Tensor, int], tuple[Tensor, Tensor | None]]:
        """Return what goes on from outputs of a layer, of n inputs, to those that `output` returns.

        It takes them as the network has them, and n. What does not come from the layer stays as it
        is for `x` (1, channel, *space). It is for frameworks with the capability RESUMED.
        """
        raise NeuroscopeError("The network's framework can't go on from the output of a layer.")

    def outputs(self, x: Tensor, spec: ModelSpec) -> list[OfferedOutput]:
        """Return the outputs that the network has for `x` (1, channel, *space); [] where one."""
        return []

    def relevance(self, x: Tensor, spec: ModelSpec, layers: LayerGraph) -> RelevancePass:
        """Pass `x` (1, channel, *space) forward so that relevance can be carried back.

        It is for frameworks with the capability RELEVANCE.

        Raises
        ------
        NeuroscopeError
            Where a layer has no rule: it names the layer.
        """
        raise NeuroscopeError("The network's framework can't carry relevance back.")

    def attention(self, x: Tensor, spec: ModelSpec) -> list[Tensor]:
        """Pass `x` (1, channel, *space) forward and return what attended to what, in order.

        The weights of each attention, (..., query, key), of which each row sums to one. It is for
        frameworks with the capability ATTENTION.
        """
        raise NeuroscopeError("The network's framework can't tell attention.")

    def randomised(
        self, layers: LayerGraph, seed: int
    ) -> AbstractContextManager[Callable[[str], None]]:
        """Hold the model while weights of layers are replaced by random ones, then put them back.

        Gives a function that takes a layer's name. It is for frameworks with the capability
        RANDOMISED; the weights come back bit for bit, whatever happens.
        """
        raise NeuroscopeError("The network's framework can't replace its weights.")

    @property
    def draws(self) -> bool:
        """Whether passes were seen to draw random numbers: each then draws the same."""
        return False

    def reconsider(self, spec: ModelSpec) -> bool:
        """Look closer at a model none of whose passes was let run; return whether they may run now.

        Some of a file that nobody trusts are not run, because they seem to fail.
        """
        return False

    def most_at_once(self) -> int | None:
        """Return how many inputs a pass takes, where the model's file fixes it; else None."""
        return None

    @abstractmethod
    def state(self) -> Hashable:
        """Return what changes when the weights change: cheap, asked before every reuse.

        None where nothing can tell: then no pass is kept for the next question.
        """

    @abstractmethod
    def digest(self, state: Hashable = None) -> str:
        """Return a hash of all weights, for the record; kept while `state` is the same."""

    def guided_notes(self, layers: LayerGraph) -> list[str]:
        """Say what guided backpropagation can't guide in this network; refuse what it can't do."""
        return []

"""Trace: one forward pass that serves every layer, class and method asked of the same image."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.frameworks.base import RelevanceRule, Run
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.graph.token_layout import TokenLayout
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.images.preprocessing import PreparedImage
from napari_neuroscope.engine.passes.gradient_store import GradientStore
from napari_neuroscope.engine.passes.model import Model
from napari_neuroscope.engine.passes.target import (
    Mask,
    ResolvedTarget,
    Target,
    instead_in_words,
    resolve_region,
)
from napari_neuroscope.engine.passes.target_value import (
    TargetScores,
    seed_of,
    target_value,
    target_values,
)
from napari_neuroscope.engine.passes.unit_placement import cells_of_layers, laid_out
from napari_neuroscope.engine.spec.model_spec import ModelSpec


class TraceKey(NamedTuple):
    """What a trace is of; equal keys mean equal answers."""

    image: str
    shape: tuple[int, ...]
    dtype: str
    spec: ModelSpec
    state: Hashable


class Trace:
    """One forward pass of one image, with the gradients pulled back through it so far.

    Attributes
    ----------
    network, prepared
        The network, and the image as it took it.
    key
        Equal for equal images, specs and weights.
    outputs
        Its answer; see `Outputs`.
    layers
        The layers whose activations are kept.
    everything
        Whether all are kept, and with them all gradients of a target: another layer or method is
        then answered without a pass.
    """

    def __init__(
        self,
        network: Model,
        prepared: PreparedImage,
        run: Run,
        *,
        key: TraceKey,
        everything: bool,
    ) -> None:
        self.network, self.prepared = network.for_a_pass(), prepared
        self.key, self.everything = key, everything
        self.layers = tuple(run.activations)
        self._run = run
        self.outputs = network.outputs_of(run.output, run.scores, prepared.grid.shape)
        self._graph = graph = network.layers_of(prepared.input)
        self._store = GradientStore(
            run,
            self.outputs,
            [name for name in self.layers if graph[name].differentiable],
            everything=everything,
        )
        self._of_all_targets: OrderedDict[Hashable, Any] = OrderedDict()
        self.when_grown: Callable[[Trace], None] | None = None
        self._told_bytes = 0
        self._base_bytes = max(run.nbytes, network.bytes_of_pass(prepared.input))

    @classmethod
    def of_part(
        cls,
        model: Model,
        prepared: PreparedImage,
        layers: Sequence[str] = (),
        *,
        gradients: bool = True,
    ) -> Trace:
        """Pass a part of an image forward, of which nothing is kept for another question.

        Parameters
        ----------
        model
            What it is passed through.
        prepared
            The part.
        layers
            The layers whose activations are needed.
        gradients
            Whether gradients are pulled back.
        """
        pass_forward = model.run if gradients else model.run_no_grad
        run = pass_forward(prepared.input[None], layers)
        key = TraceKey("", tuple(prepared.input.shape), "f4", model.spec, None)
        return cls(model, prepared, run, key=key, everything=False)

    def variant(self, prepared: PreparedImage, layers: Sequence[str] = ()) -> Trace:
        """Pass another input of the same image forward, such as one with noise on it.

        Parameters
        ----------
        prepared
            The input.
        layers
            The layers whose activations are needed.
        """
        run = self.network.run(prepared.input[None], layers)
        return Trace(self.network, prepared, run, key=self.key, everything=False)

    @property
    def layers_run(self) -> LayerGraph:
        """The layers as they ran for this image: how tokens lie depends on its size."""
        return self._graph

    @property
    def image_digest(self) -> str:
        """A hash of the image's values."""
        return self.key.image

    @cached_property
    def network_digest(self) -> str:
        """A hash of the weights."""
        return self.network.digest(self.key.state)

    @property
    def nbytes(self) -> int:
        """About how much memory the trace holds."""
        of_all_targets: int = sum(made.nbytes for made in self._of_all_targets.values())
        return self._base_bytes + of_all_targets + self._store.nbytes

    @cached_property
    def input(self) -> Tensor:
        """The image as the network takes it, on the network's device: (channel, *space)."""
        return self.prepared.input.to(self.network.device)

    @property
    def space(self) -> int:
        """How many spatial axes there are."""
        return len(self.prepared.grid.shape)

    @property
    def output_grid(self) -> Grid:
        """Where the output's positions lie on the image (segmentation)."""
        return self.network.grid_of_output(self.prepared.grid, self.outputs.predicted.shape)

    def grid_of_layer(self, layer: str) -> Grid:
        """Return where a layer's positions lie on the image."""
        layout = cells_of_layers(self._graph).get(layer)
        return laid_out(layout, self.prepared.grid, self.activation(layer).shape[1:])

    # --- targets ---

    def resolve(
        self, target: Target | str | int | None, ground_truth: Any = None
    ) -> ResolvedTarget:
        """Look up a target's class and region in this image.

        Raises
        ------
        NeuroscopeError
            Where the class is unknown, or the region empty.
        """
        target = Target.of(target)
        spec, outputs = self.network.spec, self.outputs
        outputs.refuse_nan()
        if target.class_ is None:
            if spec.task == "segmentation":
                raise NeuroscopeError(
                    "A segmentation's target needs a class: "
                    + ", ".join(f"“{spec.class_name(i)}”" for i in range(min(outputs.count, 12)))
                    + ("." if outputs.count <= 12 else ", …")
                )
            index = int(outputs.predicted)
        else:
            index = spec.class_index(target.class_, outputs.count)
        mask, words = None, "everywhere"
        if spec.task == "segmentation":
            mask, words = resolve_region(
                target.region,
                index=index,
                predicted=outputs.predicted,
                output=self.output_grid,
                image=self.prepared.image,
                ground_truth=ground_truth,
                name=spec.class_name(index),
            )
        elif not (target.is_everywhere or target.is_default):
            raise NeuroscopeError(
                "A region is for segmentations: a classifier answers once for the whole image."
            )
        score, notes = outputs.score_instead_of(target.score)
        if isinstance(target.region, Mask):
            notes = (*notes, *target.region.notes)
        elif spec.task == "segmentation" and target.is_default and words == "everywhere":
            notes = (*notes, instead_in_words(spec.class_name(index)))
        region_key = words if mask is None else mask.cpu().numpy().tobytes()
        return ResolvedTarget(
            index,
            mask,
            score,
            target.reduce,
            words,
            (index, region_key, score, target.reduce),
            notes,
        )

    def value(self, target: ResolvedTarget) -> float:
        """Return T, the scalar that is explained."""
        with torch.no_grad():
            return float(target_value(self.outputs, self.outputs.raw.float(), target))

    def scores(self, target: ResolvedTarget) -> TargetScores:
        """Return T, and how probable the class is over the region."""
        with torch.no_grad():
            probability = self.outputs.probabilities[target.index]
            if target.positions is not None:
                probability = probability[target.positions]
            positions = probability.numel() if probability.ndim or target.positions else None
            return TargetScores(self.value(target), float(probability.mean()), positions)

    def values(self, raw: Tensor, targets: Sequence[ResolvedTarget]) -> Tensor:
        """Return T of many answers of the network: `raw`, one an input, to (target, input)."""
        return target_values(self.outputs, self.network.spec, raw, targets)

    def seeds(self, raw: Tensor, target: ResolvedTarget) -> tuple[Tensor, float]:
        """Return ∂T/∂raw of many answers at once, and what it was multiplied by.

        Each T depends on its own answer alone, so their sum has the gradients of all.
        """
        return seed_of(raw, lambda leaf: self.values(leaf, [target]).sum())

    # --- what methods ask for ---

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what a method makes of this pass for all targets alike, made only once.

        It has `nbytes`, such as an array.
        """
        if key not in self._of_all_targets:
            self._of_all_targets[key] = make()
            self._tell_growth()
        return self._of_all_targets[key]

    def activation(self, layer: str) -> Tensor:
        """Return a layer's output, float32 (channel, *space)."""
        return self._placed(self._run.activations[layer], layer).float()

    def _placed(self, values: Tensor, layer: str) -> Tensor:
        """Return a layer's output, or its gradient, (1, ...) as the network has it, on its grid."""
        layout = self._graph[layer].layout
        return layout(values)[0] if isinstance(layout, TokenLayout) else values[0]

    def resumed(self, layer: str) -> Callable[[Tensor], Tensor]:
        """Return what goes on from outputs of a layer, running what comes after it alone.

        It takes outputs (input, channel, *space), and returns as `Model.forward`. What is beside
        their positions, such as a class token, and what does not come from the layer, is as in this
        pass.
        """
        go_on = self.network.resumed(self.prepared, layer)
        layout, activation = self._graph[layer].layout, self._run.activations[layer]
        if not isinstance(layout, TokenLayout):
            return lambda values: go_on(values, len(values))
        return lambda values: go_on(layout.back(values, activation), len(values))

    def gradient(self, target: ResolvedTarget, layer: str) -> Tensor:
        """Return ∂T/∂(a layer's output), float32 (channel, *space)."""
        return self._store.unscaled(self._placed(self._pulled(target, layer), layer), target)

    def input_gradient(self, target: ResolvedTarget) -> Tensor:
        """Return ∂T/∂input, float32 (channel, *space)."""
        return self._store.unscaled(self._pulled(target, None)[0], target)

    def _pulled(self, target: ResolvedTarget, layer: str | None) -> Tensor:
        gradient = self._store.gradient(target, layer)
        self._tell_growth()
        return gradient

    def remember_vanishing(self, target: ResolvedTarget, layer: str) -> None:
        """Remember whether the gradient that is at hand is zero everywhere, for what asks later."""
        self._store.remember_vanishing(target, layer)

    def vanishes(self, target: ResolvedTarget, layer: str) -> bool:
        """Return whether ∂T/∂(a layer's output) is zero everywhere."""
        return self._store.vanishes(target, layer)

    def guided_gradient(self, target: ResolvedTarget) -> tuple[Tensor, int]:
        """Return the guided gradient of the input (channel, *space), and the number guided."""
        gradient, count = self._store.guided_gradient(target)
        self._tell_growth()
        return self._store.unscaled(gradient[0], target), count

    def guided_notes(self) -> tuple[str, ...]:
        """Say what guided gradients of this image are not guided through."""
        return tuple(self._run.guided_notes(self._graph))

    def relevance(
        self, targets: Sequence[ResolvedTarget], rule: RelevanceRule
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the relevance of the input, by groups of targets that little memory allows for.

        It begins at the scores as s · ∂T/∂s, which for logits sums to T. A pass forward of its own
        serves all targets and rules.

        Yields
        ------
        tuple
            float32 (target, channel, *space), and what it began with in all, (target,).
        """
        relevance_pass = self.once("relevance", lambda: self.network.relevance(self.prepared))
        return self._store.relevance(relevance_pass, targets, rule)

    def together(
        self, targets: Sequence[ResolvedTarget], layers: Sequence[str], *, briefly: bool = False
    ) -> Iterator[Sequence[ResolvedTarget]]:
        """Yield targets in groups, each group's gradients pulled back in one batched pass.

        Groups are as large as little memory allows; the gradients are let go after their group.
        Where everything is kept each target has a pass of its own, which reaches all layers;
        `briefly` asks for these layers alone there too.
        """
        nbytes = sum(self._run.activations[layer].nbytes for layer in layers)
        return self._store.together(targets, layers, nbytes, briefly=briefly)

    def for_each_layer(
        self, target: ResolvedTarget, layers: Sequence[str], visit: Callable[[str], None]
    ) -> None:
        """Call ``visit(layer)`` once for each layer, while its gradient is at hand.

        One backward pass serves all layers. `visit` may ask for the activation and the gradient
        of the layer that it is called with, and for nothing that takes another pass.
        """
        self._store.for_each_layer(target, layers, visit)

    # --- letting go ---

    def forget(self, target: ResolvedTarget) -> None:
        """Drop the gradients of a target that is not asked about again."""
        self._store.forget(target)

    def forget_oldest(self, most: int) -> None:
        """Drop what was kept longest ago beside the pass, down to `most` bytes in all.

        The newest stays, for it may be what a question works with.
        """
        while self.nbytes > most:
            if len(self._of_all_targets) > 1:
                self._of_all_targets.popitem(last=False)
            elif not self._store.forget_oldest(keep=1):
                break

    def _tell_growth(self) -> None:
        if self.when_grown is not None and self.nbytes != self._told_bytes:
            self._told_bytes = self.nbytes
            self.when_grown(self)

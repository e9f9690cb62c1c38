"""Trace: one forward pass that serves every layer, class and method asked of the same image."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.frameworks.base import RelevanceRule, Run
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.graph.token_layout import TokenLayout
from napari_neuroscope.engine.images.grid import Grid
from napari_neuroscope.engine.images.preprocessing import PreparedImage
from napari_neuroscope.engine.passes.target import Mask, ResolvedTarget, Target, resolve_region
from napari_neuroscope.engine.passes.unit_placement import cells_of_layers, laid_out
from napari_neuroscope.engine.spec.model_spec import ModelSpec

if TYPE_CHECKING:
    from napari_neuroscope.engine.networks.network import Network


# Batches pay where gradients are small; large ones are better dropped one by one.
_TOGETHER_BYTES = 64 << 20


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
        network: Network,
        prepared: PreparedImage,
        run: Run,
        *,
        key: TraceKey,
        everything: bool,
    ) -> None:
        self.network, self.prepared = network.without_traces(), prepared
        self.key, self.everything = key, everything
        self.layers = tuple(run.activations)
        self._run = run
        self.outputs = network.outputs_of(run.output, run.scores, prepared.grid.shape)
        self._graph = graph = network.layers_of(prepared.input)
        self._differentiable = [name for name in self.layers if graph[name].differentiable]
        self._gradients: OrderedDict[Hashable, dict[str | None, Tensor]] = OrderedDict()
        self._scales: dict[Hashable, float] = {}
        self._guided: dict[Hashable, tuple[Tensor, int]] = {}
        self._made: OrderedDict[Hashable, Any] = OrderedDict()
        self._sweeping: dict[str, Tensor] | None = None
        self._vanishing: dict[tuple[Any, str], Tensor] = {}
        self._base_bytes = max(run.nbytes, network.bytes_of_pass(prepared.input))

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
        gradients = [g for found in self._gradients.values() for g in found.values()]
        gradients += [gradient for gradient, _ in self._guided.values()]
        made = sum(made.nbytes for made in self._made.values())
        return self._base_bytes + made + bytes_held(gradients)

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
            )
        elif not (isinstance(target.region, str) and target.region == "everywhere"):
            raise NeuroscopeError(
                "A region is for segmentations: a classifier answers once for the whole image."
            )
        score = target.score
        notes: tuple[str, ...] = ()
        if score == "logit" and outputs.ends_in is not None:
            score = "log_probability"
            notes = (
                f"the network's {outputs.ends_in} can't be cut off, so log_probability is "
                f"explained in place of the logit",
            )
        elif outputs.may_be_probability:
            notes = (
                "all of the network's answers lie in 0..1: if they are probabilities, say so with "
                "output.activation: sigmoid",
            )
        if isinstance(target.region, Mask):
            notes = (*notes, *target.region.notes)
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
            return float(self._scalar(self.outputs.raw.float(), target))

    def _scalar(self, raw: Tensor, target: ResolvedTarget) -> Tensor:
        score = self.outputs.value(raw, target.score, target.index)
        if target.positions is not None:
            # Indices, and no mask: the number of positions is then known where many are asked.
            score = score[target.positions]
        return score.sum() if target.reduce == "sum" else score.mean()

    def values(self, raw: Tensor, targets: Sequence[ResolvedTarget]) -> Tensor:
        """Return T of many answers of the network: `raw`, one an input, to (target, input)."""
        batched = "b" in self.network.spec.input.axes
        of = self.network.spec.output.axis_of("b", 0)

        def of_one(answer: Tensor) -> Tensor:
            own = answer.unsqueeze(of) if batched else answer
            return torch.stack([self._scalar(own, target) for target in targets])

        single = raw if raw.dtype in (torch.float32, torch.float64) else raw.float()
        return torch.vmap(of_one, of if batched else 0, out_dims=1)(single)

    def seeds(self, raw: Tensor, target: ResolvedTarget) -> tuple[Tensor, float]:
        """Return ∂T/∂raw of many answers at once, and what it was multiplied by.

        Each T depends on its own answer alone, so their sum has the gradients of all.
        """
        return _seed(raw, lambda leaf: self.values(leaf, [target]).sum())

    def _seed(self, target: ResolvedTarget) -> Tensor:
        """Return ∂T/∂raw: the networks' own graph then starts at its scores, whatever T is."""
        seed, scale = _seed(self.outputs.raw, lambda leaf: self._scalar(leaf, target))
        if scale != 1.0:
            self._scales[target.key] = scale
        return seed

    def _unscaled(self, gradient: Tensor, target: ResolvedTarget) -> Tensor:
        scale = self._scales.get(target.key, 1.0)
        return gradient.float() if scale == 1.0 else gradient.float() / scale

    # --- what methods ask for ---

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what a method makes of this pass for all targets alike, made only once.

        It has `nbytes`, such as an array.
        """
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def activation(self, layer: str) -> Tensor:
        """Return a layer's output, float32 (channel, *space)."""
        return self._placed(self._run.activations[layer], layer).float()

    def _placed(self, values: Tensor, layer: str) -> Tensor:
        """Return a layer's output, or its gradient, (1, ...) as the network has it, on its grid."""
        layout = self._graph[layer].layout
        return layout(values)[0] if isinstance(layout, TokenLayout) else values[0]

    def resumed(self, layer: str) -> Callable[[Tensor], Tensor]:
        """Return what goes on from outputs of a layer, running what comes after it alone.

        It takes outputs (input, channel, *space), and returns as `Network.answers`. What is beside
        their positions, such as a class token, and what does not come from the layer, is as in this
        pass.
        """
        go_on = self.network.resumed(self.prepared, layer)
        layout, own = self._graph[layer].layout, self._run.activations[layer]
        if not isinstance(layout, TokenLayout):
            return lambda values: go_on(values, len(values))
        return lambda values: go_on(layout.back(values, own), len(values))

    def gradient(self, target: ResolvedTarget, layer: str) -> Tensor:
        """Return ∂T/∂(a layer's output), float32 (channel, *space)."""
        if self._sweeping is not None and layer in self._sweeping:
            return self._unscaled(self._placed(self._sweeping[layer], layer), target)
        return self._unscaled(self._placed(self._pulled(target, layer), layer), target)

    def remember_vanishing(self, target: ResolvedTarget, layer: str) -> None:
        """Remember whether the gradient that is at hand is zero everywhere, for what asks later."""
        if self._sweeping is not None and layer in self._sweeping:
            # It stays where it is: on an accelerator nothing waits for it.
            self._vanishing[target.key, layer] = ~self._sweeping[layer].any()

    def vanishes(self, target: ResolvedTarget, layer: str) -> bool:
        """Return whether ∂T/∂(a layer's output) is zero everywhere."""
        known = self._vanishing.get((target.key, layer))
        return bool(known) if known is not None else not self.gradient(target, layer).any()

    def input_gradient(self, target: ResolvedTarget) -> Tensor:
        """Return ∂T/∂input, float32 (channel, *space)."""
        return self._unscaled(self._pulled(target, None)[0], target)

    def guided_gradient(self, target: ResolvedTarget) -> tuple[Tensor, int]:
        """Return the guided gradient of the input (channel, *space), and the number guided."""
        if target.key not in self._guided:
            self._check_idle()
            gradient, count = self._run.guided_gradient(self._seed(target))
            self._guided[target.key] = gradient, count
        gradient, count = self._guided[target.key]
        return self._unscaled(gradient[0], target), count

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
        passed = self.once("relevance", lambda: self.network.relevance(self.prepared))
        size = max(1, _TOGETHER_BYTES // max(passed.largest, 1))
        raw = self.outputs.raw.float()
        for start in range(0, len(targets), size):
            group = targets[start : start + size]
            seeds = [self._seed(target) for target in group]
            found = passed.at_input(torch.stack(seeds), rule)[:, 0]
            yield (
                torch.stack([self._unscaled(one, t) for one, t in zip(found, group, strict=True)]),
                torch.stack(
                    [self._unscaled(seed, t) * raw for seed, t in zip(seeds, group, strict=True)]
                ).flatten(1).sum(1),
            )  # fmt: skip

    def together(
        self, targets: Sequence[ResolvedTarget], layers: Sequence[str], *, briefly: bool = False
    ) -> Iterator[Sequence[ResolvedTarget]]:
        """Yield targets in groups, each group's gradients pulled back in one batched pass.

        Groups are as large as little memory allows; the gradients are let go after their group.
        Where everything is kept each target has a pass of its own, which reaches all layers;
        `briefly` asks for these layers alone there too.
        """
        held = sum(self._run.activations[layer].nbytes for layer in layers)
        alone = self.everything and not briefly
        size = 1 if alone else max(1, _TOGETHER_BYTES // max(held, 1))
        for start in range(0, len(targets), size):
            group = targets[start : start + size]
            found = self._pulled_together(group, layers) if len(group) > 1 or briefly else {}
            for number, target in enumerate(group if found else ()):
                held_now = self._gradients.setdefault(target.key, {})
                held_now.update({layer: found[layer][number] for layer in layers})
            yield group
            for target in group if found else ():
                self._gradients.pop(target.key, None)

    def _pulled_together(
        self, targets: Sequence[ResolvedTarget], layers: Sequence[str]
    ) -> dict[str, Tensor]:
        self._check_idle()
        seeds = torch.stack([self._seed(target) for target in targets])
        return self._run.gradients_together(seeds, layers) or {}

    def for_each_layer(
        self, target: ResolvedTarget, layers: Sequence[str], visit: Callable[[str], None]
    ) -> None:
        """Call ``visit(layer)`` once for each layer, while its gradient is at hand.

        One backward pass serves all layers. `visit` may ask for the activation and the gradient
        of the layer that it is called with, and for nothing that takes another pass.
        """
        held = self._gradients.get(target.key, {})
        if self.everything or all(layer in held for layer in layers):
            for layer in layers:
                visit(layer)
            return

        def arrived(layer: str, gradient: Tensor) -> None:
            self._sweeping = {layer: gradient}
            try:
                visit(layer)
            finally:
                self._sweeping = None

        self._check_idle()
        self._run.sweep(self._seed(target), layers, arrived)

    def _pulled(self, target: ResolvedTarget, layer: str | None) -> Tensor:
        held = self._gradients.setdefault(target.key, {})
        self._gradients.move_to_end(target.key)
        if layer not in held:
            self._check_idle()
            wanted = [
                n
                for n in (self._differentiable if self.everything else [layer])
                if n is not None and n not in held
            ]
            gradients, of_input = self._run.gradients(
                self._seed(target), wanted, with_input=self.everything or layer is None
            )
            held.update(gradients)
            if of_input is not None:
                held[None] = of_input
            if layer not in held:
                # By itself it is refused with the reason.
                alone = [] if layer is None else [layer]
                self._run.gradients(self._seed(target), alone, with_input=layer is None)
        return held[layer]

    def forget(self, target: ResolvedTarget) -> None:
        """Drop the gradients of a target that is not asked about again."""
        self._gradients.pop(target.key, None)
        self._guided.pop(target.key, None)
        self._scales.pop(target.key, None)

    def forget_gradients(self, most: int) -> None:
        """Drop what was kept longest ago beside the pass, down to `most` bytes in all."""
        while self.nbytes > most and (self._gradients or self._guided or self._made):
            if self._made:
                self._made.popitem(last=False)
            elif self._guided:
                self._guided.pop(next(iter(self._guided)))
            else:
                self._gradients.popitem(last=False)

    def _check_idle(self) -> None:
        if self._sweeping is not None:
            raise RuntimeError(
                "a method asked for another pass while layers are visited; it "
                "must declare what it needs"
            )


def _seed(raw: Tensor, scalar: Callable[[Tensor], Tensor]) -> tuple[Tensor, float]:
    with torch.inference_mode(False), torch.enable_grad():
        single = raw if raw.dtype in (torch.float32, torch.float64) else raw.float()
        leaf = single.detach().clone().requires_grad_()
        seed, scale = torch.autograd.grad(scalar(leaf), leaf)[0], 1.0
    if raw.dtype == torch.float16 and (most := float(seed.abs().max())):
        # Halves end at 6e-8: small gradients are carried larger, and taken back in float32.
        scale = 2.0 ** -math.floor(math.log2(most))
        seed = seed * scale
    return seed.to(raw.dtype), scale


def bytes_held(tensors: Iterable[Tensor]) -> int:
    """Return how much memory tensors hold; what several share counts once, and whole."""
    storages = (tensor.untyped_storage() for tensor in tensors)
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


class TraceCache:
    """Traces by what they are of, the newest kept, within a number of bytes.

    Parameters
    ----------
    limit
        The most bytes that are held; a larger trace is not kept at all.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._traces: OrderedDict[Hashable, Trace] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Trace | None:
        """Return a trace, and count it as the newest."""
        with self._lock:
            if key in self._traces:
                self._traces.move_to_end(key)
            return self._traces.get(key)

    def put(self, key: Hashable, trace: Trace) -> None:
        """Keep a trace, and drop others where that takes too much; also after it has grown.

        One of a network that may have changed unseen answers no other question.
        """
        if trace.key.state is None:
            return
        with self._lock:
            self._traces[key] = trace
            self._traces.move_to_end(key)
            while len(self._traces) > 1 and self.nbytes > self.limit:
                self._traces.popitem(last=False)
            trace.forget_gradients(self.limit)
            if trace.nbytes > self.limit:
                self._traces.pop(key)

    def clear(self) -> None:
        """Drop all traces."""
        with self._lock:
            self._traces.clear()

    @property
    def nbytes(self) -> int:
        """About how much memory the traces hold."""
        return sum(trace.nbytes for trace in self._traces.values())

    def __len__(self) -> int:
        return len(self._traces)

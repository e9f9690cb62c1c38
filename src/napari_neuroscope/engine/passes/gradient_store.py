"""The gradients of one pass that were pulled back so far, by target and layer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from napari_neuroscope.engine.frameworks.base import RelevancePass, RelevanceRule, Run
from napari_neuroscope.engine.passes.output.outputs import Outputs
from napari_neuroscope.engine.passes.target import ResolvedTarget
from napari_neuroscope.engine.passes.target_value import seed_of, target_value

# Batches pay where gradients are small; large ones are better dropped one by one.
_TOGETHER_BYTES = 64 << 20


class GradientStore:
    """Pulls gradients back through one pass, and keeps them.

    Gradients are as the network has them, (1, ...); those of float16 networks are scaled until
    `unscaled`.

    Parameters
    ----------
    run
        The pass.
    outputs
        Its answer.
    differentiable
        The layers that have a gradient.
    everything
        Whether one way back serves all layers, whichever are asked for.
    """

    def __init__(
        self, run: Run, outputs: Outputs, differentiable: Sequence[str], *, everything: bool
    ) -> None:
        self._run, self._outputs = run, outputs
        self._differentiable, self._everything = differentiable, everything
        # By target, then by layer; None stands for the input.
        self._gradients: OrderedDict[Hashable, dict[str | None, Tensor]] = OrderedDict()
        self._scales: dict[Hashable, float] = {}
        self._guided: OrderedDict[Hashable, tuple[Tensor, int]] = OrderedDict()
        self._vanishing: dict[tuple[Hashable, str], Tensor] = {}
        # The layer that is visited, whose gradient is at hand and not kept.
        self._at_hand: dict[str, Tensor] | None = None
        self._nbytes: int | None = 0

    @property
    def nbytes(self) -> int:
        """About how much memory the gradients hold."""
        if self._nbytes is None:
            gradients = [g for by_layer in self._gradients.values() for g in by_layer.values()]
            gradients += [gradient for gradient, _ in self._guided.values()]
            self._nbytes = bytes_held(gradients)
        return self._nbytes

    # --- one target ---

    def gradient(self, target: ResolvedTarget, layer: str | None) -> Tensor:
        """Return ∂T/∂(a layer's output), or of the input for None."""
        if self._at_hand is not None and layer in self._at_hand:
            return self._at_hand[layer]
        by_layer = self._gradients.setdefault(target.key, {})
        self._gradients.move_to_end(target.key)
        if layer not in by_layer:
            self._pull(target, layer, by_layer)
        return by_layer[layer]

    def _pull(
        self, target: ResolvedTarget, layer: str | None, by_layer: dict[str | None, Tensor]
    ) -> None:
        self._check_idle()
        asked = self._differentiable if self._everything else [layer]
        wanted = [name for name in asked if name is not None and name not in by_layer]
        gradients, of_input = self._run.gradients(
            self._seed(target), wanted, with_input=self._everything or layer is None
        )
        by_layer.update(gradients)
        if of_input is not None:
            by_layer[None] = of_input
        self._nbytes = None
        if layer not in by_layer:
            # By itself it is refused with the reason.
            alone = [] if layer is None else [layer]
            self._run.gradients(self._seed(target), alone, with_input=layer is None)

    def guided_gradient(self, target: ResolvedTarget) -> tuple[Tensor, int]:
        """Return the guided gradient of the input, and the number of activations guided."""
        if target.key not in self._guided:
            self._check_idle()
            self._guided[target.key] = self._run.guided_gradient(self._seed(target))
            self._nbytes = None
        return self._guided[target.key]

    def unscaled(self, gradient: Tensor, target: ResolvedTarget) -> Tensor:
        """Return a gradient in float32, of the size that it has."""
        scale = self._scales.get(target.key, 1.0)
        return gradient.float() if scale == 1.0 else gradient.float() / scale

    def _seed(self, target: ResolvedTarget) -> Tensor:
        seed, scale = seed_of(
            self._outputs.raw, lambda leaf: target_value(self._outputs, leaf, target)
        )
        if scale != 1.0:
            self._scales[target.key] = scale
        return seed

    def remember_vanishing(self, target: ResolvedTarget, layer: str) -> None:
        """Remember whether the gradient that is at hand is zero everywhere, for what asks later."""
        if self._at_hand is not None and layer in self._at_hand:
            # It stays where it is: on an accelerator nothing waits for it.
            self._vanishing[target.key, layer] = ~self._at_hand[layer].any()

    def vanishes(self, target: ResolvedTarget, layer: str) -> bool:
        """Return whether ∂T/∂(a layer's output) is zero everywhere."""
        vanishing = self._vanishing.get((target.key, layer))
        return not self.gradient(target, layer).any() if vanishing is None else bool(vanishing)

    # --- many at once ---

    def together(
        self,
        targets: Sequence[ResolvedTarget],
        layers: Sequence[str],
        nbytes_of_layers: int,
        *,
        briefly: bool,
    ) -> Iterator[Sequence[ResolvedTarget]]:
        """Yield targets in groups, each group's gradients pulled back in one batched pass.

        As `Trace.together`.
        """
        alone = self._everything and not briefly
        size = 1 if alone else max(1, _TOGETHER_BYTES // max(nbytes_of_layers, 1))
        for start in range(0, len(targets), size):
            group = targets[start : start + size]
            by_layer: dict[str, Tensor] = {}
            if len(group) > 1 or briefly:
                self._check_idle()
                seeds = torch.stack([self._seed(target) for target in group])
                by_layer = self._run.gradients_together(seeds, layers) or {}
            for number, target in enumerate(group if by_layer else ()):
                of_target = self._gradients.setdefault(target.key, {})
                of_target.update({layer: by_layer[layer][number] for layer in layers})
                self._nbytes = None
            yield group
            for target in group if by_layer else ():
                self._gradients.pop(target.key, None)
                self._nbytes = None

    def for_each_layer(
        self, target: ResolvedTarget, layers: Sequence[str], visit: Callable[[str], None]
    ) -> None:
        """Call ``visit(layer)`` once for each layer, as `Trace.for_each_layer`."""
        by_layer = self._gradients.get(target.key, {})
        if self._everything or all(layer in by_layer for layer in layers):
            for layer in layers:
                visit(layer)
            return

        def arrived(layer: str, gradient: Tensor) -> None:
            self._at_hand = {layer: gradient}
            try:
                visit(layer)
            finally:
                self._at_hand = None

        self._check_idle()
        self._run.sweep(self._seed(target), layers, arrived)

    def relevance(
        self, relevance_pass: RelevancePass, targets: Sequence[ResolvedTarget], rule: RelevanceRule
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the relevance of the input by groups of targets, as `Trace.relevance`."""
        size = max(1, _TOGETHER_BYTES // max(relevance_pass.largest, 1))
        raw = self._outputs.raw.float()
        for start in range(0, len(targets), size):
            group = targets[start : start + size]
            seeds = [self._seed(target) for target in group]
            at_input = relevance_pass.at_input(torch.stack(seeds), rule)[:, 0]
            unscaled = [self.unscaled(r, t) for r, t in zip(at_input, group, strict=True)]
            begun = [self.unscaled(s, t) * raw for s, t in zip(seeds, group, strict=True)]
            yield torch.stack(unscaled), torch.stack(begun).flatten(1).sum(1)

    # --- letting go ---

    def forget(self, target: ResolvedTarget) -> None:
        """Drop what is kept of a target that is not asked about again."""
        self._gradients.pop(target.key, None)
        self._guided.pop(target.key, None)
        self._scales.pop(target.key, None)
        self._nbytes = None

    def forget_oldest(self, *, keep: int = 0) -> bool:
        """Drop what was kept longest ago; whether there was anything but the newest `keep`."""
        if len(self._guided) > keep:
            self._guided.popitem(last=False)
        elif len(self._gradients) > keep:
            self._gradients.popitem(last=False)
        else:
            return False
        self._nbytes = None
        return True

    def _check_idle(self) -> None:
        if self._at_hand is not None:
            raise RuntimeError(
                "a method asked for another pass while layers are visited; it "
                "must declare what it needs"
            )


def bytes_held(tensors: Iterable[Tensor]) -> int:
    """Return how much memory tensors hold; what several share counts once, and whole."""
    storages = (tensor.untyped_storage() for tensor in tensors)
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())

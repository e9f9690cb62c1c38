"""PyTorch: relevance carried back as a gradient, by rules where a plain gradient won't do.

The relevance of values x is R = x · g, and g is what autograd carries. All that adds, moves or picks
values (sums, concatenations, views, max pooling, ReLU) then passes relevance on by its own
gradient, exactly, and operations in place or used again are autograd's business. During one forward
pass convolutions and dense layers, norms and other nonlinearities are recorded as nodes of ours
that know their rules. What else would change relevance is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge
from torch.utils.checkpoint import CheckpointError

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.frameworks.base import RelevancePass, RelevanceRule
from napari_neuroscope.engine.frameworks.torch.autograd_graph import edge_of
from napari_neuroscope.engine.frameworks.torch.errors import NO_GRADIENT, translated_errors
from napari_neuroscope.engine.frameworks.torch.lrp.graph_check import examine
from napari_neuroscope.engine.frameworks.torch.lrp.nodes import Tape
from napari_neuroscope.engine.frameworks.torch.lrp.recorder import RelevanceRecorder
from napari_neuroscope.engine.frameworks.torch.model_runner import ModelRunner, final_activation_of
from napari_neuroscope.engine.frameworks.torch.tracing.activation_keeper import LayerNodes
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.spec.model_spec import ModelSpec


def record_relevance(
    runner: ModelRunner, x: Tensor, spec: ModelSpec, layers: LayerGraph
) -> TorchRelevance:
    """Pass `x` (1, channel, *space) forward so that relevance can be carried back.

    Raises
    ------
    NeuroscopeError
        Where a layer has no rule: it names the layer.
    """
    copying = False
    while True:
        nodes = LayerNodes(final_activation_of(layers))
        recorder = RelevanceRecorder(copying=copying)
        with runner.lock, torch.inference_mode(False), torch.enable_grad():
            leaf = runner.copied(x, gradients=True)
            with recorder:
                output = runner.forward(leaf, spec, nodes)
            end = nodes.scores.edge if nodes.scores else edge_of(output)
        runner.check_order(nodes.order, layers)
        if copying or not recorder.overwritten:
            break
        copying = True
    if end is None:
        raise NeuroscopeError(NO_GRADIENT)
    examine(end, nodes.names)

    @contextmanager
    def frozen() -> Iterator[None]:
        with (
            runner.frozen(),
            torch.inference_mode(False),
            translated_errors("relevance pass", leaf),
        ):
            yield

    return TorchRelevance(
        leaf, end, recorder.tape, frozen, nbytes=nodes.nbytes, largest=nodes.largest
    )


class TorchRelevance(RelevancePass):
    """A forward pass in PyTorch whose nodes share relevance out.

    Parameters
    ----------
    leaf
        The network's input, (1, channel, *space).
    end
        Where its scores are in the graph.
    tape
        What its nodes go by.
    frozen
        Holds the network as passes need it, and speaks where one fails.
    nbytes, largest
        The memory of all outputs, and of the largest.
    """

    def __init__(
        self,
        leaf: Tensor,
        end: GradientEdge,
        tape: Tape,
        frozen: Callable[[], AbstractContextManager[None]],
        *,
        nbytes: int,
        largest: int,
    ) -> None:
        self._leaf, self._end, self._tape, self._frozen = leaf, end, tape, frozen
        self.nbytes, self.largest = nbytes + tape.nbytes, largest

    def at_input(self, seeds: Tensor, rule: RelevanceRule) -> Tensor:
        with self._frozen():
            try:
                return self._at_input(seeds, rule)
            except CheckpointError as error:
                raise NeuroscopeError(
                    "LRP can't go back through a checkpoint, which runs a part of the network again "
                    "where no rules are seen; turn checkpointing off, or use integrated_gradients."
                ) from error

    def _at_input(self, seeds: Tensor, rule: RelevanceRule) -> Tensor:
        slots = [slot for slot, _ in self._tape.slots]
        places = [place for _, place in self._tape.slots]
        self._tape.active_rule.rule = rule
        of_leaf, *of_slots = _pulled([self._end], [self._leaf, *slots], [seeds])
        x = self._leaf.detach()
        # What reaches the input beside all layers is still a gradient.
        relevance = seeds.new_zeros(len(seeds), *x.shape) if of_leaf is None else of_leaf * x
        arrived = [(p, r) for p, r in zip(places, of_slots, strict=True) if r is not None]
        if arrived:
            self._tape.active_rule.carrying = True
            try:
                ends, at_slots = zip(*arrived, strict=True)
                carried = _pulled(ends, [self._leaf], at_slots)[0]
            finally:
                self._tape.active_rule.carrying = False
            relevance = relevance if carried is None else relevance + carried
        return relevance


def _pulled(
    ends: Sequence[GradientEdge], inputs: Sequence[Any], seeds: Sequence[Tensor]
) -> list[Tensor | None]:
    """Pull several seeds (seed, ...) back together; one by one where an operation can't do that."""

    def pull(given: Sequence[Tensor], *, together: bool) -> list[Tensor | None]:
        return list(
            torch.autograd.grad(
                list(ends), list(inputs), list(given), retain_graph=True, allow_unused=True,
                is_grads_batched=together,
            )
        )  # fmt: skip

    count = len(seeds[0])
    if count > 1:
        try:
            return pull(seeds, together=True)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            pass
    rows = [pull([seed[number] for seed in seeds], together=False) for number in range(count)]
    return [
        None if column[0] is None else torch.stack(column) for column in zip(*rows, strict=True)
    ]

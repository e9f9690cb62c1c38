"""Goes on from the output of a layer, without running what comes before it.

While such a pass runs, each module that ran before the layer has a `forward` of its own beside the
one of its class: a hook could change what a module answers, and not keep it from running. What was
there before is put back, whatever happens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from napari_neuroscope.engine.frameworks.torch.tracing.operations import tensors_in
from napari_neuroscope.engine.frameworks.torch.tracing.recorder import LayerCall, PassObserver


class PrefixCache(PassObserver):
    """Remember the results of the modules that have ended before a layer runs.

    Parameters
    ----------
    layer
        The layer.
    overwritten
        Layers whose results are written on afterwards, and so must be copied.
    final_activation
        Before which the scores are.

    Attributes
    ----------
    results
        What they returned, by the name of the call; of a block that ended, nothing inside of it.
    counts
        How often modules and operations were called inside of each.
    value
        The output of the layer.
    scores
        What runs into the final softmax or sigmoid, where there is one.
    """

    def __init__(
        self, layer: str, overwritten: Collection[str], final_activation: str | None
    ) -> None:
        self.layer, self._overwritten = layer, overwritten
        self.final_activation = final_activation
        self.scores: Tensor | None = None
        self.order: list[tuple[str, str]] = []
        self.results: dict[str, Any] = {}
        self.counts: dict[str, Counter[tuple[str, str]]] = {}
        self._before_calls: dict[str, tuple[Counter[tuple[str, str]], int]] = {}
        self._layer_ran = False

    def before_call(self, call: LayerCall) -> None:
        if call.name == self.final_activation and call.inputs:
            self.scores = call.inputs[0].clone()
        if not self._layer_ran and call.module is not None:
            self._before_calls[call.name] = Counter(self.recorder.names.counts), len(self.results)

    def after_call(self, call: LayerCall) -> None:
        if call.output is not None:
            self.order.append((call.name, call.operation))
        if self._layer_ran:
            return
        if call.name == self.layer:
            assert call.output is not None
            self.value, self.result = call.output.clone(), call.result
            self._layer_ran = True
        if call.module is None:
            return
        counts, first = self._before_calls.pop(call.name)
        self.counts[call.name] = self.recorder.names.counts - counts
        if call.name == self.layer:
            return
        tensors = list(tensors_in(call.result))
        # Only what has one image first can be had for several.
        if tensors and all(t.ndim and t.shape[0] == 1 for t in tensors):
            for inner in list(self.results)[first:]:
                del self.results[inner]
            copied = call.name in self._overwritten
            self.results[call.name] = tree_map_only(
                Tensor, torch.clone if copied else lambda t: t, call.result
            )

    def versions(self) -> list[int]:
        """Return how often each tensor that is remembered was written on."""
        return [tensor._version for tensor in tensors_in(self.results)]


class ResumedForward(PassObserver):
    """Answer for a layer with given values, and from a cache for what ran before it.

    Parameters
    ----------
    prefix
        What is remembered of what ran before the layer.
    values
        Outputs of the layer.
    count
        Of how many inputs.
    copying
        Whether what comes after the layer writes on what was before it, so that each input needs
        an answer of its own; else all share it.
    """

    def __init__(self, prefix: PrefixCache, values: Tensor, count: int, *, copying: bool) -> None:
        self._prefix, self._values, self._count = prefix, values, count
        self._copying, self.final_activation = copying, prefix.final_activation
        self.scores: Tensor | None = None
        self._layer_ran = False

    def before_call(self, call: LayerCall) -> None:
        if call.name == self.final_activation and call.inputs:
            self.scores = call.inputs[0].clone()

    def substitute(self, call: LayerCall) -> Tensor | None:
        if call.name != self._prefix.layer:
            return None
        self._layer_ran = True
        return self._values.clone()

    @contextmanager
    def answering(self, model: nn.Module) -> Iterator[None]:
        """Let the modules of a model answer without running, where they ran before the layer."""
        cached = {*self._prefix.results, self._prefix.layer}
        paths = {name.partition(":")[0] for name in cached}
        with ExitStack() as stack:
            for path, module in model.named_modules():
                if path in paths and not isinstance(module, torch.jit.ScriptModule):
                    previous = module.__dict__.get("forward")
                    # Beside the class's own, which it hides until this ends.
                    module.__dict__["forward"] = self._forward_of(module.forward)
                    stack.callback(_put_back, module, previous)
            yield

    def _forward_of(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        def answer(*args: Any, **kwargs: Any) -> Any:
            name, prefix = self.recorder.running, self._prefix
            if (
                not self._layer_ran
                and name in prefix.counts
                and (name in prefix.results or name == prefix.layer)
            ):
                self.recorder.names.counts.update(prefix.counts[name])
                if name == prefix.layer:
                    self._layer_ran = True
                    return self._with_values(prefix.result)
                return tree_map_only(Tensor, self._for_all, prefix.results[name])
            return forward(*args, **kwargs)

        return answer

    def _with_values(self, result: Any) -> Any:
        """Return the values in place of the first tensor of the layer's result."""
        left = [self._values.clone()]
        return tree_map_only(Tensor, lambda t: left.pop() if left else self._for_all(t), result)

    def _for_all(self, tensor: Tensor) -> Tensor:
        if self._copying or tensor.shape[0] != 1:
            return tensor.repeat(self._count, *(1,) * (tensor.ndim - 1))
        return tensor.expand(self._count, *tensor.shape[1:])


def _put_back(module: nn.Module, forward: Any) -> None:
    if forward is None:
        del module.__dict__["forward"]
    else:
        module.__dict__["forward"] = forward

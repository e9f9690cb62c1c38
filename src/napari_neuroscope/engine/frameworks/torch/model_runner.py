"""Runs a PyTorch model forward as it is in evaluation, observed, and leaves it as it was.

No module of a model is replaced. While a pass runs, its modules are in evaluation mode, its
parameters ask for no gradient, and hooks observe its calls. What a pass changes besides (buffers,
attributes, random numbers) is put back, so that each pass of an image answers the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from napari_neuroscope.engine.errors import Progress
from napari_neuroscope.engine.frameworks.base import OtherLayersError
from napari_neuroscope.engine.frameworks.common import to_axes
from napari_neuroscope.engine.frameworks.model_lock import ModelLock
from napari_neuroscope.engine.frameworks.quiet import quiet
from napari_neuroscope.engine.frameworks.torch.compiled import run_eagerly
from napari_neuroscope.engine.frameworks.torch.device import choose_device
from napari_neuroscope.engine.frameworks.torch.errors import translated_errors
from napari_neuroscope.engine.frameworks.torch.guided.plan import Guides
from napari_neuroscope.engine.frameworks.torch.outputs import choose_output, with_batch
from napari_neuroscope.engine.frameworks.torch.precision import full_precision
from napari_neuroscope.engine.frameworks.torch.side_effects import SideEffects, attributes_put_back
from napari_neuroscope.engine.frameworks.torch.tracing.recorder import CallRecorder, PassObserver
from napari_neuroscope.engine.frameworks.torch.weights import shared_parts, weights_of
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.spec.model_spec import ModelSpec

_T = TypeVar("_T")


class ModelRunner:
    """Runs a model forward.

    Parameters
    ----------
    model
        The model, perhaps in a compiled or parallel wrapper.
    device
        Where it shall run, in words.

    Attributes
    ----------
    model
        The module whose layers are explained, inside of its wrappers.
    lock
        Held by one thread at a time, of all that have a part of the model.
    guides
        How its passes are guided, as far as that is known.
    """

    def __init__(self, model: nn.Module, device: str) -> None:
        # It keeps the hooks of a wrapper alive, and what is written on it.
        self._wrapper = model
        # Compiled and parallel wrappers hide the module whose layers are explained.
        while (inner := _inner_model(model)) is not None:
            model = inner
        self.model = model
        self.lock: AbstractContextManager[None] = ModelLock(lambda: shared_parts(model))
        self.device = choose_device(device, model)
        with self.lock:
            if any(weight.device != self.device for weight in weights_of(model)):
                model.to(self.device)
        self.dtype = next(
            (p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32
        )
        self.offers_several = False
        self.guides = Guides()
        self._is_frozen = False
        self._chose_another_way = False
        self._side_effects = SideEffects(model)
        self._is_lazy = any(map(is_lazy, (*model.parameters(), *model.buffers())))

    @property
    def draws(self) -> bool:
        """Whether passes were seen to draw random numbers: each then draws the same."""
        return self._side_effects.draws

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Hold the model as passes need it, and put it back as it was; may be nested."""
        # Recompute behind a checkpoint and batch norms ask for it in backward passes too.
        with self.lock:
            if self._is_frozen:
                yield
                return
            self._is_frozen = True
            try:
                with (
                    _in_evaluation(self.model),
                    self._side_effects.undone(),
                    full_precision(),
                    run_eagerly(),
                ):
                    yield
            finally:
                self._is_frozen = False

    def on_cpu(self) -> AbstractContextManager[None] | None:
        """Return what holds the model on the CPU meanwhile; None where it is there already."""
        return None if self.device.type == "cpu" else self._moved_to_cpu()

    @contextmanager
    def _moved_to_cpu(self) -> Iterator[None]:
        with self.lock:
            device = self.device
            self.model.to("cpu")
            self.device = torch.device("cpu")
            try:
                yield
            finally:
                self.device = device
                self.model.to(device)

    def copied(self, x: Tensor, *, gradients: bool = False) -> Tensor:
        """Return a copy of an input where the model is; with `gradients`, these reach it."""
        return x.detach().to(self.device, self.dtype).clone().requires_grad_(gradients)

    def forward(
        self,
        x: Tensor,
        spec: ModelSpec,
        observer: PassObserver,
        progress: Progress | None = None,
        total: int = 0,
        only: Collection[str] | None = None,
        *,
        copying: bool = True,
    ) -> Tensor:
        """Pass inputs (input, channel, *space) forward and return the output that is explained.

        Parameters
        ----------
        observer
            What is told of each call.
        progress, total
            Told of each layer, of how many.
        only
            The paths of the modules whose outputs are observed; None where all calls are.
        copying
            Whether the network is given a copy, since it may write on its input.
        """

        def choose(answer: Any, network_input: Tensor) -> Tensor:
            output = choose_output(answer, spec.output.index)
            batched = with_batch(output, network_input, spec)
            if batched is not output:
                observer.between_layers("reshape", [output], [batched])
            return batched

        return self.forward_and(choose, x, spec, observer, progress, total, only, copying=copying)

    def forward_and(
        self,
        choose: Callable[[Any, Tensor], _T],
        x: Tensor,
        spec: ModelSpec,
        observer: PassObserver,
        progress: Progress | None = None,
        total: int = 0,
        only: Collection[str] | None = None,
        *,
        copying: bool = True,
    ) -> _T:
        """Pass inputs forward as `forward`; return what `choose` makes of the whole answer.

        It is also given the input, with the axes in the network's order.
        """
        recorder = observer.recorder = CallRecorder(self.model, observer, progress, total)
        with (
            self.frozen(),
            torch.inference_mode(False),
            quiet(),
            torch.autocast(self.device.type, enabled=False),
            translated_errors("forward pass", x),
        ):
            network_input = x.to(self.device, self.dtype)
            if copying:
                network_input = network_input.clone()
            network_input = to_axes(network_input, spec.input.axes)
            self._make_lazy_weights(network_input)
            observer.begin(network_input)
            scores_at = observer.final_activation
            try:
                with (
                    recorder.recording(only, scores_at.partition(":")[0] if scores_at else None),
                    attributes_put_back(self.model, numbers=self._chose_another_way),
                    self._side_effects.same_draws(),
                ):
                    answer = self.model(network_input)
            finally:
                # They hold each other, and with them what was kept of the pass.
                del observer.recorder
            self.offers_several = not isinstance(answer, Tensor)
            return choose(answer, network_input)

    def _make_lazy_weights(self, network_input: Tensor) -> None:
        # They take their shapes, and their values by chance, from a first pass.
        if self._is_lazy:
            with torch.no_grad():
                self.model(network_input.clone())
            self._is_lazy = False

    def first_pass_ended(self) -> None:
        """Say that a pass ended of which all was kept, so that what it changed is known."""
        self._side_effects.first_pass_ended()

    def check_order(self, order: list[tuple[str, str]], layers: LayerGraph) -> None:
        """Refuse calls that are not the layers that were found, where all that ran was observed."""
        if order == [(name, layer.operation) for name, layer in layers.items()]:
            return
        # It may hang on a count of calls.
        self._chose_another_way = True
        raise OtherLayersError(
            "The network ran other layers for this image than for the one that its layers were "
            "found with: it chooses its way by its input."
        )

    def module_paths(
        self, layers: Collection[str], final_activation: str | None
    ) -> set[str] | None:
        """Return the modules whose calls are all that is needed; None where there is more."""
        needed = [*layers, *([final_activation] if final_activation else [])]
        paths = {name.partition(":")[0] for name in needed}
        return paths if paths <= dict(self.model.named_modules()).keys() else None


def final_activation_of(layers: LayerGraph) -> str | None:
    """Return the final softmax or sigmoid, before which the scores are."""
    return layers.final_activation[0] if layers.final_activation else None


def _inner_model(model: nn.Module) -> nn.Module | None:
    """Return the module inside of a compiled or parallel one; None where there is none."""
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner: Any = model.module
    else:
        inner = getattr(model, "_orig_mod", None)
    return inner if isinstance(inner, nn.Module) else None


@contextmanager
def _in_evaluation(model: nn.Module) -> Iterator[None]:
    """Run in evaluation mode with frozen parameters, then put both back."""
    training = [module for module in model.modules() if module.training]
    learning = [
        p for p in model.parameters() if p.requires_grad and not is_lazy(p) and not p.is_inference()
    ]
    # The flag alone is set: a module's own train() may do more than that.
    try:
        for module in training:
            module.training = False
        for parameter in learning:
            parameter.requires_grad_(False)
        yield
    finally:
        for module in training:
            module.training = True
        for parameter in learning:
            parameter.requires_grad_(True)

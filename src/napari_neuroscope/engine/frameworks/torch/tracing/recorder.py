"""Names every call of a forward pass, and tells an observer of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from napari_neuroscope.engine.errors import Progress, no_progress
from napari_neuroscope.engine.frameworks.torch.tracing.call_names import CallNames
from napari_neuroscope.engine.frameworks.torch.tracing.custom_functions import (
    runs_in_custom_function,
)
from napari_neuroscope.engine.frameworks.torch.tracing.operations import (
    FUNCTION_KINDS,
    NEED_TWO_TENSORS,
    module_kind,
    operation_name,
    tensors_in,
)
from napari_neuroscope.engine.graph.layer_graph import Kind
from napari_neuroscope.engine.graph.reach import Reach


@dataclass
class LayerCall:
    """A call of a layer or block that has just run, or is about to.

    Attributes
    ----------
    kind
        ``"block"`` for a module that is made of others.
    output
        The first tensor of what it returned.
    result
        All of what a module returned.
    arguments
        What a functional operation is given.
    reach, takes_input, moved, cut
        As in a `Layer`; an observer finds them out.
    """

    name: str
    kind: Kind
    operation: str
    block: str
    inputs: list[Tensor]
    module: nn.Module | None
    output: Tensor | None = None
    result: Any = None
    arguments: tuple[Any, Any] = ((), {})
    reach: Reach = None
    takes_input: bool = False
    moved: bool = False
    cut: tuple[tuple[float, float, int], ...] | None = None


class PassObserver:
    """What is done as layers run: gather the graph, keep activations, or answer for a layer.

    Attributes
    ----------
    final_activation
        The final softmax or sigmoid, before which the scores are; its inputs are observed too.
    recorder
        What observes for it, while a pass runs.
    """

    final_activation: str | None = None
    recorder: CallRecorder

    def begin(self, network_input: Tensor) -> None:
        """Take what the network is given."""

    def before_call(self, call: LayerCall) -> None:
        """Take a layer that is about to run."""

    def after_call(self, call: LayerCall) -> None:
        """Take a layer that has run."""

    def between_layers(self, operation: str, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        """Take an operation that is no layer, and has run."""

    def function_ran(
        self, function: Any, kind: Kind | None, arguments: tuple[Any, Any], inputs: list[Tensor],
        output: Any,
    ) -> None:  # fmt: skip
        """Take any functional operation that has run, with its arguments."""

    def substitute(self, call: LayerCall) -> Tensor | None:
        """Return the output of a functional operation that shall not run; None where it shall."""
        return None


class CallRecorder(TorchFunctionMode):
    """Name every module call and functional operation of a forward pass, in order.

    Attributes
    ----------
    names
        What names them, and knows how often each was called so far.
    """

    def __init__(
        self, model: nn.Module, observer: PassObserver, progress: Progress | None, total: int
    ) -> None:
        super().__init__()
        self._observer, self._total = observer, total
        self._progress = None if progress is no_progress else progress
        self.names = CallNames(model)
        self._open_calls: list[LayerCall] = []
        self._inside_layer = 0
        self._calls_done = 0
        self._model = model

    @property
    def running(self) -> str:
        """The name of the module call that runs now; "" outside of all."""
        return self._open_calls[-1].name if self._open_calls else ""

    @contextmanager
    def recording(
        self, only: Collection[str] | None = None, with_inputs: str | None = None
    ) -> Iterator[None]:
        """Observe the calls of the model in this thread; nothing stays behind.

        With `only`, paths of modules, their outputs alone are observed, and no functional
        operation; of the module `with_inputs` what it takes is observed too.
        """
        # Nothing to observe is no reason to go through the modules, for each of many passes.
        needed = only is None or only or self._progress is not None
        with ExitStack() as stack:
            for path, module in self._model.named_modules() if needed else ():
                # What runs inside of scripted modules can't be seen from Python.
                if not path or isinstance(
                    module, nn.ModuleList | nn.ModuleDict | torch.jit.ScriptModule
                ):
                    continue
                if only is not None and path in only and path != with_inputs:
                    stack.callback(module.register_forward_hook(self._output_hook(path)).remove)
                elif only is None or path in only:
                    before, after = self._module_hooks(path, module)
                    stack.callback(
                        module.register_forward_pre_hook(before, with_kwargs=True).remove
                    )
                    stack.callback(module.register_forward_hook(after, with_kwargs=True).remove)
                elif self._progress is not None and path.count(".") < 2:
                    # Enough to be followed and stopped by.
                    stack.callback(module.register_forward_hook(self._tick).remove)
            if only is None:
                stack.enter_context(self)
            yield

    def _output_hook(self, path: str) -> Callable[..., None]:
        """Return a hook that does no more than hand over a module's output."""

        def hook(module: nn.Module, args: Any, output: Any) -> None:
            tensor = output if isinstance(output, Tensor) else next(tensors_in(output), None)
            self._finish(LayerCall(self.names.of_module(path), "other", "", "", [], module, tensor))

        return hook

    def _tick(self, *_: Any) -> None:
        if self._progress is not None:
            self._calls_done += 1
            self._progress(min(self._calls_done, self._total), self._total, "forward pass")

    def _module_hooks(
        self, path: str, module: nn.Module
    ) -> tuple[Callable[..., None], Callable[..., None]]:
        kind = module_kind(module)
        operation = type(module).__name__

        def before(_: nn.Module, args: Any, kwargs: Any) -> None:
            if kind is not None:
                self._inside_layer += 1
                if self._inside_layer > 1:
                    return
            elif self._inside_layer:
                return
            call = LayerCall(
                self.names.of_module(path),
                kind or "block",
                operation,
                self.running,
                [*tensors_in(args), *tensors_in(kwargs)],
                module,
            )
            self._open_calls.append(call)
            self._observer.before_call(call)

        def after(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if kind is not None:
                self._inside_layer -= 1
            if self._inside_layer:
                return
            call = self._open_calls.pop()
            call.output, call.result = next(tensors_in(output), None), output
            self._finish(call)

        return before, after

    def _finish(self, call: LayerCall) -> None:
        self._observer.after_call(call)
        self._tick()

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._inside_layer:
            return function(*args, **kwargs)
        operation = operation_name(function)
        kind = FUNCTION_KINDS.get(operation)
        inputs = [*tensors_in(args), *tensors_in(kwargs)]
        if operation in NEED_TWO_TENSORS and len(inputs) < 2:
            kind = None
        # A gradient goes around what runs in a custom Function.
        if kind is None or runs_in_custom_function():
            output = function(*args, **kwargs)
            self._observer.between_layers(operation, inputs, list(tensors_in(output)))
            self._observer.function_ran(function, kind, (args, kwargs), inputs, output)
            return output
        call = LayerCall(
            self.names.of_operation(operation), kind, operation, self.running, inputs, None
        )
        call.arguments = args, kwargs
        self._observer.before_call(call)
        output = self._observer.substitute(call)
        if output is None:
            output = function(*args, **kwargs)
        self._observer.function_ran(function, kind, (args, kwargs), inputs, output)
        call.output = next(tensors_in(output), None)
        self._finish(call)
        return output

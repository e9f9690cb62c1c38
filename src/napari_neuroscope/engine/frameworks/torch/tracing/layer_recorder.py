"""Gathers the layers of a network from one forward pass, and how they are joined."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge
from torch.utils.weak import WeakTensorKeyDictionary

from napari_neuroscope.engine.frameworks.torch.autograd_graph import nodes_behind
from napari_neuroscope.engine.frameworks.torch.tracing.operations import (
    keeps_positions,
    operation_name,
)
from napari_neuroscope.engine.frameworks.torch.tracing.positions import PositionTracker
from napari_neuroscope.engine.frameworks.torch.tracing.reach import (
    reach_of_function,
    reach_of_module,
)
from napari_neuroscope.engine.frameworks.torch.tracing.recorder import LayerCall, PassObserver
from napari_neuroscope.engine.graph.layer_graph import Kind, Layer
from napari_neuroscope.engine.graph.token_layout import TokenLayout


class LayerRecorder(PassObserver):
    """Gather layers with their edges, and what in-place operations overwrite.

    Parameters
    ----------
    axes
        The axes of the network's input, such as "bcyx".
    """

    def __init__(self, axes: str) -> None:
        self.calls: list[LayerCall] = []
        self._inputs: dict[str, tuple[str, ...]] = {}
        # The layers that a tensor comes from, with no other between.
        self._sources: MutableMapping[Tensor, tuple[str, ...]] = WeakTensorKeyDictionary()
        # Each output, and how often it was written on when it was new.
        self._outputs: dict[str, tuple[Tensor, int]] = {}
        self._calls_before: dict[str, int] = {}
        self._altered: set[str] = set()
        self._differentiable: set[str] = set()
        # Tensors that come from the input with no layer between, and those whose positions are
        # others than those of what they come from.
        self._of_input: MutableMapping[Tensor, bool] = WeakTensorKeyDictionary()
        self._moved: MutableMapping[Tensor, bool] = WeakTensorKeyDictionary()
        self._positions = PositionTracker(axes)
        self._layouts: dict[str, TokenLayout | Literal["shape", "unknown"] | None] = {}
        self._token_edges: dict[str, GradientEdge] = {}
        self._nodes: dict[str, Node] = {}

    def begin(self, network_input: Tensor) -> None:
        self._of_input[network_input] = True
        self._positions.begin(network_input)

    def before_call(self, call: LayerCall) -> None:
        call.takes_input = any(tensor in self._of_input for tensor in call.inputs)
        call.moved = any(tensor in self._moved for tensor in call.inputs)
        if call.moved:
            # Weights are among the inputs of functions.
            of_image = [t for t in call.inputs if t in self._of_input or self._from([t])]
            call.cut = self._positions.cut_of(of_image[0]) if len(of_image) == 1 else None
        self._inputs[call.name] = self._from(call.inputs)
        self._calls_before[call.name] = len(self.calls)
        if call.kind != "block":
            args, kwargs = call.arguments
            call.reach = (
                reach_of_function(call.operation, args, kwargs)
                if call.module is None
                else reach_of_module(call.module)
            )
            call.arguments = (), {}

    def after_call(self, call: LayerCall) -> None:
        output = call.output
        if output is None:
            return
        # A block is no node of its own, unless nothing was seen inside of it.
        block = call.kind == "block"
        if block and self._calls_before[call.name] == len(self.calls):
            call.kind = "other"
        if call.kind != "block":
            self._sources[output] = (call.name,)
        self._locate(call, output, block=block)
        call.inputs = []
        self.calls.append(call)
        # Asked now: a reentrant checkpoint gives its last tensor a gradient afterwards.
        if output.requires_grad:
            self._differentiable.add(call.name)
            self._nodes[call.name] = get_gradient_edge(output).node
        plain = output.detach()
        self._outputs[call.name] = (plain, plain._version)

    def between_layers(self, operation: str, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        of_input = any(tensor in self._of_input for tensor in inputs)
        moved = any(tensor in self._moved for tensor in inputs)
        if of_input or moved or self._from(inputs):
            for output in outputs:
                if of_input:
                    self._of_input[output] = True
                if moved or not keeps_positions(operation, inputs, output):
                    self._moved[output] = True
        if outputs and (sources := self._from(inputs)):
            storages = {tensor.data_ptr() for tensor in inputs}
            for output in outputs:
                self._sources[output] = sources
                if output.data_ptr() not in storages:
                    self._altered.update(sources)

    def function_ran(
        self, function: Any, kind: Kind | None, arguments: tuple[Any, Any], inputs: list[Tensor],
        output: Any,
    ) -> None:  # fmt: skip
        with torch.no_grad():
            self._positions.ran_function(
                function, operation_name(function), kind, *arguments, inputs, output
            )

    def _locate(self, call: LayerCall, output: Tensor, *, block: bool) -> None:
        """Find out where the positions of a layer's output are; inside of a block it was seen."""
        # None of this is the model's own.
        with torch._C.DisableTorchFunction(), torch.no_grad():
            if call.module is not None and not block:
                self._positions.ran_module(call.module, call.kind, call.inputs, output)
            layout = self._layouts[call.name] = self._positions.layout(output)
        if isinstance(layout, TokenLayout) and layout.beside and output.requires_grad:
            self._token_edges[call.name] = get_gradient_edge(output)

    def _read_beside(self, output: Tensor, *, batched: bool) -> dict[str, tuple[int, ...]]:
        """Return the layers of whose positions none is read, and the places that are."""
        if not self._token_edges or not output.requires_grad:
            return {}
        # Of an answer's parts at random, so that what is normalised does not cancel out.
        generator = torch.Generator().manual_seed(0)
        seed = torch.randn(output.shape, generator=generator).to(output)
        gradients = torch.autograd.grad(
            output, list(self._token_edges.values()), seed, allow_unused=True
        )
        read: dict[str, tuple[int, ...]] = {}
        any_is_read = False
        for name, gradient in zip(self._token_edges, gradients, strict=True):
            layout = self._layouts[name]
            assert isinstance(layout, TokenLayout)
            if gradient is None:
                read[name] = ()
                continue
            flat = layout.flat(gradient if batched else gradient[None])[0]
            places = flat.any(0).nonzero()[:, 0].tolist()
            any_is_read = any_is_read or bool(places)
            if set(places).isdisjoint(layout.cells.tolist()):
                read[name] = tuple(places)
        # An untrained head may be zero, and says nothing.
        return read if any_is_read else {}

    def _leading(self, output: Tensor) -> set[str]:
        """Return the layers that an answer is computed from, or of which that can't be told."""
        if not output.requires_grad:
            return set(self._outputs)
        met = nodes_behind(get_gradient_edge(output).node)
        return {name for name in self._outputs if self._nodes.get(name, output.grad_fn) in met}

    def _from(self, tensors: list[Tensor]) -> tuple[str, ...]:
        return tuple(
            dict.fromkeys(name for tensor in tensors for name in self._sources.get(tensor, ()))
        )

    def final_layer(self, output: Tensor) -> str | None:
        """Return the layer whose output is the network's output, itself."""
        sources = self._from([output])
        if len(sources) != 1 or self._outputs[sources[0]][0].shape != output.shape:
            return None
        return sources[0] if self._outputs[sources[0]][0].data_ptr() == output.data_ptr() else None

    def layers(self, output: Tensor, *, batched: bool) -> list[Layer]:
        """Return what was seen, as layers, their shapes without the batch.

        The network's output tells which of them it is computed from.
        """
        # Where all is (channel, *space), what was lost sight of will be too.
        tokens = any(isinstance(layout, TokenLayout) for layout in self._layouts.values())
        unseen: Literal["shape", "unknown"] = "unknown" if tokens else "shape"
        read_beside = self._read_beside(output, batched=batched)
        leading, consumers = self._leading(output), self._consumers()
        return [
            Layer(
                call.name,
                call.kind,
                layout.own_shape
                if isinstance(layout := self._layouts[call.name] or unseen, TokenLayout)
                else tuple(self._outputs[call.name][0].shape[batched:]),
                sum(p.numel() for p in call.module.parameters()) if call.module is not None else 0,
                self._inputs[call.name],
                tuple(consumers.get(call.name, ())),
                call.operation,
                call.block,
                overwritten=self._outputs[call.name][0]._version != self._outputs[call.name][1],
                altered=call.name in self._altered,
                differentiable=call.name in self._differentiable,
                description=_describe(call.module),
                reach=call.reach,
                takes_input=call.takes_input,
                moved=call.moved,
                cut=call.cut,
                layout=layout,
                read_beside=read_beside.get(call.name),
                leads=call.name in leading,
            )
            for call in self.calls
        ]

    def _consumers(self) -> dict[str, list[str]]:
        """Return the layers that read each layer; of a block, those that read its last."""
        consumers: dict[str, list[str]] = {}
        for call in self.calls:
            if call.kind != "block":
                for source in self._inputs[call.name]:
                    consumers.setdefault(source, []).append(call.name)
        for call in self.calls:
            if call.kind == "block" and call.output is not None:
                inside = call.name + "."
                consumers[call.name] = [
                    name
                    for source in self._sources.get(call.output, ())
                    for name in consumers.get(source, ())
                    if not name.startswith(inside)
                ]
        return consumers


def _describe(module: nn.Module | None) -> str:
    if module is None or next(module.children(), None) is not None:
        return ""
    return f"{type(module).__name__}({module.extra_repr()})"

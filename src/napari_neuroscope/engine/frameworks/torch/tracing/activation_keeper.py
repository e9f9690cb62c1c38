"""Keeps what layers put out in a forward pass, and where they are in the autograd graph."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from torch import Tensor
from torch.autograd.graph import GradientEdge, Node

from napari_neuroscope.engine.frameworks.torch.autograd_graph import edge_of
from napari_neuroscope.engine.frameworks.torch.tracing.recorder import LayerCall, PassObserver


@dataclass
class KeptActivation:
    """An output as it was kept: its version tells whether it is overwritten later."""

    value: Tensor
    version: int
    edge: GradientEdge | None


class ActivationKeeper(PassObserver):
    """Keep the outputs of some layers, and where they are in the autograd graph.

    Parameters
    ----------
    keep
        The layers.
    copy
        Those of them whose outputs are overwritten later.
    final_activation
        Before which the scores are kept, too.

    Attributes
    ----------
    order
        The calls that ran: their names and operations.
    """

    def __init__(
        self,
        keep: Collection[str] = (),
        copy: Collection[str] = (),
        final_activation: str | None = None,
    ) -> None:
        self.kept: dict[str, KeptActivation] = {}
        self.order: list[tuple[str, str]] = []
        self.scores: KeptActivation | None = None
        self._bytes_of_storages: dict[int, int] = {}
        self._keep, self._copy, self.final_activation = keep, copy, final_activation

    def before_call(self, call: LayerCall) -> None:
        if call.name == self.final_activation and call.inputs:
            # A copy: the sigmoid may work in place.
            self.scores = self._kept(call.inputs[0], copy=True)

    def after_call(self, call: LayerCall) -> None:
        if call.output is None:
            return
        self.order.append((call.name, call.operation))
        if call.kind != "block":
            self._add_memory(call.output)
        if call.name in self._keep:
            self.kept[call.name] = self._kept(call.output, copy=call.name in self._copy)

    def _kept(self, tensor: Tensor, *, copy: bool) -> KeptActivation:
        # The edge is taken now: an in-place operation moves the tensor on in the graph.
        edge = edge_of(tensor)
        value = tensor.detach()
        if copy:
            value = value.clone()
            self._add_memory(value)
        return KeptActivation(value, tensor._version, edge)

    def _add_memory(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        self._bytes_of_storages[storage.data_ptr()] = storage.nbytes()

    @property
    def nbytes(self) -> int:
        """The memory of all outputs seen; what works in place, or is a view, has none of its own.

        What autograd saves for the way back is about these.
        """
        return sum(self._bytes_of_storages.values())

    def overwritten(self) -> set[str]:
        """Return the layers whose kept values were changed after they were kept."""
        return {
            name
            for name, kept in self.kept.items()
            if name not in self._copy and kept.value._version != kept.version
        }


class LayerNodes(ActivationKeeper):
    """Know the layers by their nodes in the autograd graph."""

    def __init__(self, final_activation: str | None) -> None:
        super().__init__(final_activation=final_activation)
        self.names: dict[Node, str] = {}

    def after_call(self, call: LayerCall) -> None:
        super().after_call(call)
        if call.kind != "block" and call.output is not None and call.output.grad_fn is not None:
            self.names[call.output.grad_fn] = call.name

    @property
    def largest(self) -> int:
        """The memory of the largest output."""
        return max(self._bytes_of_storages.values(), default=0)


class NodeNames(ActivationKeeper):
    """Know by what name a person knows the nodes of the autograd graph."""

    def __init__(self, final_activation: str | None) -> None:
        super().__init__(final_activation=final_activation)
        self.names: dict[Node, str] = {}

    def after_call(self, call: LayerCall) -> None:
        super().after_call(call)
        node = None if call.output is None else call.output.grad_fn
        if node is not None and call.kind != "block":
            self.names[node] = call.name
        elif node is not None:
            # Of blocks that end with it, the smallest.
            self.names.setdefault(node, call.name)

    def between_layers(self, operation: str, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        block = self.recorder.running
        for output in outputs:
            if output.grad_fn is not None:
                self.names[output.grad_fn] = f"{operation} in {block}" if block else operation

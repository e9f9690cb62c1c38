"""One forward pass of a Keras model, through which gradients are pulled back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.frameworks.base import Run
from napari_neuroscope.engine.frameworks.guided_notes import unguided_notes
from napari_neuroscope.engine.frameworks.keras.arrays import (
    channels_first,
    moves_channels,
    output_of,
    to_tensorflow,
    to_torch,
)
from napari_neuroscope.engine.frameworks.keras.tracing.gradients import Gradients
from napari_neuroscope.engine.frameworks.keras.tracing.traced_graph import TracedGraph
from napari_neuroscope.engine.graph.layer_graph import WITHOUT_GRADIENT, LayerGraph
from napari_neuroscope.engine.spec.model_spec import ModelSpec

# The input, among the names of layers.
_INPUT = None
_End = str | None


class KerasRun(Run):
    """A forward pass, with what its backward passes need.

    Parameters
    ----------
    traced, spec
        The graph that was run, and what is known of the network.
    values
        The values of its tensors, by name.
    keep
        The layers whose outputs are asked for.
    device
        Where the engine's arrays lie.
    passing
        Holds the model and its device for what is done meanwhile, such as a “backward pass”.
    """

    def __init__(
        self,
        traced: TracedGraph,
        spec: ModelSpec,
        values: dict[str, Any],
        keep: Collection[str],
        *,
        device: torch.device,
        passing: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        self._traced, self._spec, self._values = traced, spec, values
        self._device, self._passing = device, passing
        self._space = len(spec.input.space)
        self.output = self._output(traced.output)
        self.scores = None if traced.cut is None else self._output(traced.cut.scores)
        self.activations = {name: self._of_layer(name, self._layer_output(name)) for name in keep}
        self.nbytes = sum(
            value.shape.num_elements() * value.dtype.size
            for name, value in values.items()
            if name.split(":", maxsplit=1)[0] in traced.graph.from_input
        )

    def _layer_output(self, layer: str) -> Any:
        output = self._traced.calls[layer].output
        if output.name in self._values:
            return self._values[output.name]
        return self._traced.graph.constant(output)

    def _output(self, tensor: Any) -> Tensor:
        return output_of(
            self._values[tensor.name],
            self._spec,
            self._device,
            channels_last=self._traced.channels_last,
        )

    def _of_layer(self, layer: str, value: Any) -> Tensor:
        last = self._traced.calls[layer].channels_last
        return channels_first(to_torch(value, self._device), self._space, channels_last=last)

    def _of_input(self, value: Any) -> Tensor:
        """Bring a gradient of the input to (1, channel, *space)."""
        gradient, axes = to_torch(value, self._device), self._spec.input.axes
        if "c" not in axes:
            gradient, axes = gradient.unsqueeze(1), axes.replace("b", "bc")
        return gradient.permute([axes.index(axis) for axis in "bc" + self._spec.input.space])

    def _seed(self, seed: Tensor) -> Any:
        last = self._traced.channels_last
        moved = moves_channels(self._spec, seed.ndim, channels_last=last)
        return to_tensorflow(seed.movedim(1, -1) if moved else seed)

    def gradients(
        self, seed: Tensor, layers: Sequence[str], *, with_input: bool = False
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        ends: list[_End] = [*layers, *([_INPUT] if with_input else [])]
        arrived = self._pull_back(seed, ends)
        reaches_input = self._traced.gradients[1][_INPUT] is not None
        # Where nothing arrives, the score does not depend on it; but behind a cast that is unknown.
        gradients = {
            name: self._of_layer(name, arrived[name])
            if name in arrived
            else torch.zeros_like(self.activations[name])
            for name in layers
            if name in arrived or reaches_input
        }
        return gradients, self._of_input(arrived[_INPUT]) if _INPUT in arrived else None

    def sweep(
        self, seed: Tensor, layers: Sequence[str], visit: Callable[[str, Tensor], None]
    ) -> None:
        arrived: set[_End] = set()

        def visit_end(end: _End, value: Any) -> None:
            assert end is not None
            arrived.add(end)
            visit(end, self._of_layer(end, value))

        self._pull_back(seed, list(layers), visit_end)
        for name in layers:
            if name not in arrived:
                visit(name, torch.zeros_like(self.activations[name]))

    def _pull_back(
        self,
        seed: Tensor,
        ends: list[_End],
        visit: Callable[[_End, Any], None] | None = None,
    ) -> dict[_End, Any]:
        """Return the gradients of layers and the input; none where each is visited instead."""
        traced = self._traced
        with self._passing("backward pass"):
            gradients, by_end = traced.gradients
        for end in ends:
            if end is not None and not traced.differentiable(end):
                raise NeuroscopeError(f"The layer “{end}” {WITHOUT_GRADIENT}.")
        wanted = {end: by_end[end] for end in ends if by_end[end] is not None}
        if not wanted:
            # Behind a cast there may be gradients that don't reach the input.
            _require_gradient(by_end[_INPUT])
        key = "back", tuple(ends)
        if visit is None:
            values = self._run(gradients, seed, list(wanted.values()), key)
            return {end: values[tensor.name] for end, tensor in wanted.items()}
        ends_of: dict[str, list[_End]] = {}
        for end, tensor in wanted.items():
            ends_of.setdefault(tensor.name, []).append(end)

        def visit_tensor(tensor: str, value: Any) -> None:
            for end in ends_of.get(tensor, ()):
                visit(end, value)

        self._run(gradients, seed, list(wanted.values()), key, visit_tensor)
        return {}

    def _run(
        self,
        gradients: Gradients,
        seed: Tensor,
        wanted: list[Any],
        key: Hashable,
        visit: Callable[[str, Any], None] | None = None,
    ) -> dict[str, Any]:
        """Return the gradients wanted; where they are visited as they come, none is kept."""
        graph = self._traced.graph
        given = {**self._values, gradients.seed.name: self._seed(seed)}
        keeps = visit is None
        plan = graph.plan(wanted, given.keys(), keep=keeps, key=(key, keeps, frozenset(given)))
        with self._passing("backward pass"):
            values = plan.run(given, visit)
        for tensor in {tensor.name: tensor for tensor in wanted}.values():
            # A layer next to the scores has the seed itself for its gradient.
            if tensor.name in given or graph.is_constant(tensor):
                value = given[tensor.name] if tensor.name in given else graph.constant(tensor)
                values[tensor.name] = value
                if visit is not None:
                    visit(tensor.name, value)
        return values

    def guided_gradient(self, seed: Tensor) -> tuple[Tensor, int]:
        with self._passing("backward pass"):
            gradients, count = self._traced.guided
        wanted = _require_gradient(gradients.of[0])
        values = self._run(gradients, seed, [wanted], "guided")
        return self._of_input(values[wanted.name]), count

    def guided_notes(self, layers: LayerGraph) -> list[str]:
        return unguided_notes(self._traced.unguided(), ())


def _require_gradient(gradient: Any) -> Any:
    """Return the gradient of the input, and refuse where there is none."""
    if gradient is None:
        raise NeuroscopeError(
            "The network's answer has no gradient: somewhere it rounds, takes an argmax or stops "
            "the gradient; only scores and activations can be shown of it."
        )
    return gradient

"""One forward pass in PyTorch, kept with its autograd graph so that gradients can be asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node, saved_tensors_hooks

from napari_neuroscope.engine.errors import NeuroscopeError, Progress
from napari_neuroscope.engine.frameworks.base import Run
from napari_neuroscope.engine.frameworks.guided_notes import unguided_notes
from napari_neuroscope.engine.frameworks.torch.autograd_graph import (
    backward_through_checkpoints,
    edge_of,
    goes_through,
    guard_batch_norms,
    in_order,
    nodes_behind,
    stops_and_stations,
)
from napari_neuroscope.engine.frameworks.torch.errors import NO_GRADIENT, translated_errors
from napari_neuroscope.engine.frameworks.torch.guided.elementwise import ElementwiseRecorder
from napari_neuroscope.engine.frameworks.torch.guided.guided_mode import GuidedMode
from napari_neuroscope.engine.frameworks.torch.guided.plan import Guide
from napari_neuroscope.engine.frameworks.torch.model_runner import ModelRunner, final_activation_of
from napari_neuroscope.engine.frameworks.torch.tracing.activation_keeper import (
    ActivationKeeper,
    NodeNames,
)
from napari_neuroscope.engine.frameworks.torch.tracing.operations import CLIPPINGS
from napari_neuroscope.engine.graph.layer_graph import WITHOUT_GRADIENT, LayerGraph
from napari_neuroscope.engine.spec.model_spec import ModelSpec


def run_kept(
    runner: ModelRunner,
    x: Tensor,
    spec: ModelSpec,
    layers: LayerGraph,
    keep: Collection[str],
    progress: Progress | None,
    *,
    gradients: bool,
) -> TorchRun:
    """Pass `x` (1, channel, *space) forward, keeping the outputs of the layers in `keep`.

    Without `gradients` none can be asked for, and it takes less memory.
    """
    copy = {name for name in keep if layers[name].overwritten}
    final_activation = final_activation_of(layers)
    only = runner.module_paths(keep, final_activation)
    shape = tuple(x.shape[2:])
    if gradients and layers and shape not in layers.shapes_run:
        only = None
    while True:
        keeper = ActivationKeeper(keep, copy, final_activation)
        with runner.lock, torch.inference_mode(False), torch.set_grad_enabled(gradients):
            leaf = runner.copied(x, gradients=gradients)
            output = runner.forward(leaf, spec, keeper, progress, len(layers), only)
        if only is None and layers:
            runner.check_order(keeper.order, layers)
            layers.shapes_run.add(shape)
        missing = set(keep) - set(keeper.kept)
        if missing:
            raise NeuroscopeError(
                f"The layer “{min(missing)}” did not run for this image: the network chooses "
                f"its way by its input."
            )
        # A network that chose another way than at first may overwrite other layers.
        overwritten = keeper.overwritten()
        if not overwritten:
            return TorchRun(runner, spec, leaf, output, keeper)
        copy |= overwritten


def run_recorded(
    runner: ModelRunner, x: Tensor, spec: ModelSpec, final_activation: str | None, *, saving: bool
) -> TorchRun:
    """Run a pass whose every operation is looked at, and learn from it what can be guided.

    Without `saving` it can't be gone back, and takes little memory.
    """
    names = NodeNames(final_activation)
    with runner.lock, torch.inference_mode(False), torch.enable_grad(), ExitStack() as stack:
        leaf = x.detach().clone().requires_grad_()
        recorder = ElementwiseRecorder([leaf])
        if not saving:
            stack.enter_context(saved_tensors_hooks(_nothing, _nothing))
        stack.enter_context(recorder)
        output = runner.forward(leaf, spec, names)
        recorder.record_node(output)
    run = TorchRun(runner, spec, leaf, output, names)
    run.learn(recorder, names.names)
    return run


def _nothing(_: Any) -> Any:
    return None


class TorchRun(Run):
    """A forward pass in PyTorch, with its autograd graph.

    The edges of its layers are right whatever an operation in place does to their values
    afterwards.

    Parameters
    ----------
    runner
        What ran it.
    x, output
        What the network was given, and its output, both with their gradients.
    keeper
        What was kept of it.
    """

    def __init__(
        self,
        runner: ModelRunner,
        spec: ModelSpec,
        x: Tensor,
        output: Tensor,
        keeper: ActivationKeeper,
    ) -> None:
        self._runner, self._spec, self._x = runner, spec, x
        self._batched = "b" in spec.input.axes
        self._edges = {n: kept.edge for n, kept in keeper.kept.items() if kept.edge is not None}
        self._sweeps: dict[tuple[str, ...], tuple[list[str], dict[Node, list[str]]]] = {}
        self._final_activation = keeper.final_activation
        self._guide, self._guided = Guide(), GuidedMode()
        self.output = output.detach()
        self.scores = keeper.scores.value if keeper.scores else None
        self.activations = {n: self._with_batch(kept.value) for n, kept in keeper.kept.items()}
        self.nbytes = keeper.nbytes + x.nbytes
        if keeper.scores is not None:
            self._end = keeper.scores.edge
        else:
            self._end = edge_of(output)
        if self._end is not None and x.device.type == "cpu":
            guard_batch_norms(nodes_behind(self._end.node))

    def _with_batch(self, values: Tensor) -> Tensor:
        return values if self._batched else values[None]

    def gradients(
        self, seed: Tensor, layers: Sequence[str], *, with_input: bool = False
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        ends: list[GradientEdge | Tensor] = [self._edge(name) for name in layers]
        if with_input:
            ends.append(self._x)
        pulled = self._pull_back(seed, ends)
        # Where nothing arrives, the score does not depend on it.
        gradients = {
            name: torch.zeros_like(self.activations[name])
            if gradient is None
            else self._with_batch(gradient)
            for name, gradient in zip(layers, pulled, strict=False)
        }
        if not with_input:
            return gradients, None
        return gradients, self._or_zero(pulled[-1])

    def input_gradient(self, seed: Tensor, *, last: bool = False) -> Tensor:
        return self._or_zero(self._pull_back(seed, [self._x], last=last)[0])

    def _or_zero(self, input_gradient: Tensor | None) -> Tensor:
        return torch.zeros_like(self._x) if input_gradient is None else input_gradient

    def gradients_together(self, seeds: Tensor, layers: Sequence[str]) -> dict[str, Tensor] | None:
        ends = [self._edge(name) for name in layers]
        if self._end is None:
            return None
        with self._runner.frozen(), torch.inference_mode(False):
            try:
                pulled = torch.autograd.grad(
                    [self._end], ends, [seeds], retain_graph=True, allow_unused=True,
                    is_grads_batched=True,
                )  # fmt: skip
            except RuntimeError:
                # An operation has no rule for batches; one after another will do, or say why not.
                return None
        return {
            name: seeds.new_zeros(len(seeds), *self.activations[name].shape)
            if gradient is None
            else (gradient if self._batched else gradient[:, None])
            for name, gradient in zip(layers, pulled, strict=True)
        }

    def _edge(self, layer: str) -> GradientEdge:
        if layer not in self._edges:
            raise NeuroscopeError(f"The layer “{layer}” {WITHOUT_GRADIENT}.")
        return self._edges[layer]

    def sweep(
        self, seed: Tensor, layers: Sequence[str], visit: Callable[[str, Tensor], None]
    ) -> None:
        left = set(layers)
        order = tuple(layers)
        if order not in self._sweeps:
            self._sweeps[order] = stops_and_stations({name: self._edge(name) for name in order})
        stops, stations = self._sweeps[order]

        def arrived(names: list[str], numbers: list[int]) -> Callable[..., None]:
            def hook(gradients: tuple[Tensor | None, ...]) -> None:
                for name, number in zip(names, numbers, strict=True):
                    if (gradient := gradients[number]) is not None and name in left:
                        left.discard(name)
                        visit(name, self._with_batch(gradient))

            return hook

        with ExitStack() as stack:
            for node, names in stations.items():
                numbers = [self._edge(name).output_nr for name in names]
                stack.callback(node.register_prehook(arrived(names, numbers)).remove)
            pulled = self._pull_back(seed, [self._edge(name) for name in stops])
        for name, gradient in zip(stops, pulled, strict=True):
            if gradient is not None:
                left.discard(name)
                visit(name, self._with_batch(gradient))
        # What the pass did not meet either has no part in the score, or lies behind an operation
        # that hides it; a pass of its own tells.
        for name, gradient in self.gradients(seed, sorted(left))[0].items() if left else ():
            visit(name, gradient)

    def guided_gradient(self, seed: Tensor) -> tuple[Tensor, int]:
        run, guide, nodes = self, *self._known_guide()
        if guide is None:
            run_recorded(self._runner, self._x, self._spec, self._final_activation, saving=False)
            guide, nodes = self._known_guide()
        if guide is None:
            # It ran otherwise before, as what is scripted does until it is warm.
            run = run_recorded(
                self._runner, self._x, self._spec, self._final_activation, saving=True
            )
            guide, nodes = run._known_guide()
        assert guide is not None
        guided = GuidedMode()
        with guided.following(guide.plan, nodes):
            gradient = run._pull_back(seed, [run._x])[0]
        self._guide, self._guided = guide, guided
        return self._or_zero(gradient), guided.count

    def learn(self, recorder: ElementwiseRecorder, names: Mapping[Node, str]) -> None:
        """Take down for all passes of the network what was recorded of this one."""
        if self._end is not None:
            nodes = in_order([self._end.node])
            self._runner.guides.learn(recorder, nodes, self._x.shape, names)

    def _known_guide(self) -> tuple[Guide | None, list[Node]]:
        if self._end is None:
            return Guide(), []
        nodes = in_order([self._end.node])
        return self._runner.guides.known(nodes, self._x.shape), nodes

    def guided_notes(self, layers: LayerGraph) -> list[str]:
        guide, guided = self._guide, self._guided
        # What runs inside of a reentrant checkpoint has no gradient, and is told of by `guided`.
        clipping = [n for n, i in layers.items() if i.operation in CLIPPINGS and i.differentiable]
        unclear = [name for name in clipping if name not in guide.inside]
        return unguided_notes(
            [*unclear, *guide.unclear, *guided.unclear], [*guide.hiding, *guided.hiding]
        )

    def _pull_back(
        self, seed: Tensor, ends: Sequence[GradientEdge | Tensor], *, last: bool = False
    ) -> list[Tensor | None]:
        """Return the gradients that arrive at some ends; None where nothing does."""
        if not ends:
            return []
        if self._end is None:
            raise NeuroscopeError(NO_GRADIENT)
        # Both kinds may be mixed, which PyTorch's types don't tell.
        typed_ends = cast("Sequence[Tensor]", ends)
        # A way back that finds a reentrant checkpoint is gone again.
        keep = not last or goes_through(self._end, "CheckpointFunctionBackward")
        with (
            self._runner.frozen(),
            torch.inference_mode(False),
            translated_errors("backward pass", self._x),
        ):
            try:
                return list(
                    torch.autograd.grad(
                        [self._end], typed_ends, [seed], retain_graph=keep, allow_unused=True
                    )
                )
            except RuntimeError as error:
                if "use_reentrant" not in str(error):
                    raise
                return backward_through_checkpoints(self._end, seed, ends, self._x)

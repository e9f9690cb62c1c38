"""Lets only positive gradient into the activations that a backward pass meets.

What a reentrant checkpoint runs again is known only when it does, and no hook is there: the
function on its node of the graph is replaced while a guided pass runs, and then put back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.utils._python_dispatch import TorchDispatchMode

from napari_neuroscope.engine.frameworks.torch.autograd_graph import in_order
from napari_neuroscope.engine.frameworks.torch.guided.elementwise import ElementwiseRecorder
from napari_neuroscope.engine.frameworks.torch.guided.plan import GuidePlan, kind_of, planned, title

_aten = torch.ops.aten
_POINTWISE_BACKWARD = {
    getattr(_aten, name)
    for name in (
        "threshold_backward", "hardtanh_backward", "leaky_relu_backward", "elu_backward",
        "gelu_backward", "silu_backward", "mish_backward", "hardswish_backward",
        "hardsigmoid_backward", "softplus_backward", "rrelu_with_noise_backward",
        "_prelu_kernel_backward", "sigmoid_backward", "tanh_backward", "log_sigmoid_backward",
        "softshrink_backward", "hardshrink_backward",
    )
    if hasattr(_aten, name)
}  # fmt: skip


class GuidedMode(TorchDispatchMode):
    """Let only positive gradient into every activation that a backward pass meets.

    Attributes
    ----------
    count
        How many were met.
    unclear, hiding
        What was met inside of reentrant checkpoints and is not guided, as in a `GuidePlan`.
    """

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)
        self.count = 0
        self.unclear: list[str] = []
        self.hiding: list[str] = []
        self._open_parts = 0
        self._hooks = ExitStack()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function.overloadpacket in _POINTWISE_BACKWARD and not self._open_parts:
            self.count += 1
            args = (args[0].clamp(min=0), *args[1:])
        return function(*args, **(kwargs or {}))

    @contextmanager
    def following(self, plan: GuidePlan, nodes: Sequence[Node]) -> Iterator[None]:
        """Guide the nodes of a pass by a plan while it is gone back; nothing stays on them."""
        with self._hooks, self:
            self._hook(plan, nodes)
            yield

    def _hook(self, plan: GuidePlan, nodes: Sequence[Node]) -> None:
        for number in plan.ends:
            self._hooks.callback(nodes[number].register_prehook(self._guide).remove)
        for number in plan.parts:
            self._hooks.callback(nodes[number].register_prehook(self._enter).remove)
            self._hooks.callback(nodes[number].register_hook(self._leave).remove)
        for node in nodes:
            if kind_of(node) == "CheckpointFunctionBackward":
                # Of a node's attributes PyTorch declares none.
                checkpoint: Any = node
                run = checkpoint.run_function
                checkpoint.run_function = self._recorded(run)
                self._hooks.callback(setattr, node, "run_function", run)

    def _guide(self, gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        self.count += 1
        return tuple(None if g is None else g.clamp(min=0) for g in gradients)

    def _enter(self, _: Any) -> None:
        self._open_parts += 1

    def _leave(self, *_: Any) -> None:
        self._open_parts -= 1

    def _recorded(self, run: Callable[..., Any]) -> Callable[..., Any]:
        """Return a checkpointed part that is guided when it is computed again."""

        def run_again(*args: Any) -> Any:
            leaves = [a for a in args if isinstance(a, Tensor) and a.requires_grad]
            with ElementwiseRecorder(leaves) as recorder:
                answer = run(*args)
            answers = answer if isinstance(answer, tuple | list) else (answer,)
            for tensor in answers:
                if isinstance(tensor, Tensor) and tensor.grad_fn is not None:
                    recorder.record_node(tensor)
            ends = [t.grad_fn for t in answers if isinstance(t, Tensor) and t.grad_fn is not None]
            nodes = in_order(ends)
            plan = planned(recorder, nodes)
            unclear = sorted([*plan.unclear, *plan.clippings])
            self.unclear += [title(nodes[number]) for number in unclear]
            self.hiding += [title(nodes[number]) for number in plan.hiding]
            self._hook(plan, nodes)
            return answer

        return run_again

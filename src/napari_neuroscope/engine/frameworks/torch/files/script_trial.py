"""A trial of a TorchScript program, in a process that may be ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from napari_neuroscope.engine.errors import first_line
from napari_neuroscope.engine.frameworks.torch.files.script_loops import (
    MOST_ROUNDS,
    OF_SMALL,
    SMALL,
)
from napari_neuroscope.engine.spec.trial_sizes import trial_sides

# Of a program in one pass; networks are some thousands. Lists and shapes have a handful of items.
_MOST_OPERATIONS, _MOST_ITEMS = 10_000_000, 8


def try_torchscript(job: dict[str, Any]) -> dict[str, str]:
    """Load a program, and ask it as a network is asked when it is opened: about empty images.

    Parameters
    ----------
    job
        The ``path`` of its file, and how many ``seconds`` the trial has.

    Returns
    -------
    dict
        What is wrong with it: why it is ``broken``, or why it is ``greedy``.
    """
    end = time.monotonic() + job["seconds"] / 2
    # Threads that wait for each other cost more than they bring for small inputs.
    torch.set_num_threads(1)
    try:
        scripted = torch.jit.load(job["path"], map_location="cpu").eval()
        if _operations(scripted.inlined_graph) > _MOST_OPERATIONS:
            return {"greedy": "its loops have more rounds than those of a network"}
        for axes in (2, 3):
            for channels in _channels(scripted):
                shapes = [(1, channels, *(side,) * axes) for side in trial_sides(axes)]
                works = next((x for x in shapes if _answers(scripted, x, end)), None)
                if works is not None:
                    _try_more(scripted, works, job["seconds"] / 20)
                    return {}
    except Exception as error:  # noqa: BLE001  of whatever kind PyTorch's are
        if _is_of_memory(error):
            return {"greedy": "it needs more memory than it may take"}
        return {"broken": first_line(error)}
    return {}


def _operations(block: Any) -> int:
    """Return how many operations a block of a graph is at most, counted in each round of a loop."""
    count = 0
    for node in block.nodes():
        inner = sum(map(_operations, node.blocks()))
        rounds = _at_most(next(node.inputs())) if node.kind() == "prim::Loop" else 1
        count += 1 + rounds * inner
    return count


def _at_most(number: Any, depth: int = 0) -> int:
    """Return what a whole number in a graph is at most, as far as that is known."""
    node, constant = number.node(), number.toIValue()
    if isinstance(constant, int):
        return abs(constant)
    operator = node.kind().partition("::")[2]
    if operator in SMALL:
        return _MOST_ITEMS
    if operator in OF_SMALL and depth < 20:
        return sum(_at_most(inner, depth + 1) for inner in node.inputs())
    return MOST_ROUNDS


def _try_more(scripted: torch.jit.ScriptModule, shape: tuple[int, ...], seconds: float) -> None:
    """Ask a program again, and about larger inputs, where it is quick."""
    # Twice, since PyTorch rewrites a program after its first passes.
    for more in (0, 0, 1, shape[-1]):
        begun = time.monotonic()
        larger = (*shape[:2], *(n + more for n in shape[2:]))
        _answers(scripted, larger, begun + seconds, torch.rand)
        if time.monotonic() - begun > seconds:
            break


def _answers(
    scripted: torch.jit.ScriptModule,
    shape: tuple[int, ...],
    end: float,
    image: Callable[..., torch.Tensor] = torch.zeros,
) -> bool:
    """Whether a program takes an input of a shape; no more are asked after the time `end`."""
    # Slow networks are asked less; only what can't end is none.
    if time.monotonic() > end:
        return False
    try:
        with torch.no_grad():
            scripted(image(shape))
    except Exception as error:
        if _is_of_memory(error):
            raise
        return False
    return True


def _is_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text


def _channels(scripted: torch.jit.ScriptModule) -> list[int]:
    """Return the numbers of channels that a program may take, the likely ones first."""
    kernels = [p.shape[1] for p in scripted.parameters() if p.ndim in (4, 5)]
    return list(dict.fromkeys([*kernels[:1], 3, 1]))

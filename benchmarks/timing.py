"""Measure side by side: the sides take turns in one process, so that what slows one slows both."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

THREADS = int(os.environ.get("BENCHMARK_THREADS", "2"))
DEVICE = os.environ.get("BENCHMARK_DEVICE", "cpu")

After = Callable[[int, int, str], None]


@dataclass
class Times:
    """Seconds of each repeat."""

    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def worst(self) -> float:
        return max(self.seconds)

    def spread(self, scale: float = 1.0) -> str:
        low, high = min(self.seconds) * scale, max(self.seconds) * scale
        return f"{low:.3g}–{high:.3g}, n={len(self.seconds)}"


def set_threads() -> None:
    """Give torch the same number of threads and the same precision on all sides."""
    import torch

    torch.set_num_threads(THREADS)
    # Peers compute in full float32 too: TF32, PyTorch's default on GPUs, is another map.
    torch.backends.cudnn.allow_tf32 = False


def finished() -> None:
    """Wait until the device has done what it was asked to."""
    if DEVICE != "cpu":
        import torch

        torch.accelerator.synchronize()


def alternate(
    sides: Mapping[str, Callable[[int], object]],
    rounds: int,
    *,
    warm_up: int = 1,
    each: Mapping[str, int] | None = None,
) -> dict[str, Times]:
    """Time the sides in turn.

    Parameters
    ----------
    sides
        Each takes the number of the repeat, so that it can take an image it has not seen.
    rounds
        How often the turn goes round.
    warm_up
        Rounds that are not counted.
    each
        How often a side runs in its turn, once if not said.
    """
    found = {name: Times() for name in sides}
    number = 0
    for turn in range(-warm_up, rounds):
        # Whose turn is first changes, so that neither always runs in the other's wake.
        order = list(sides) if turn % 2 else list(sides)[::-1]
        for name in order:
            for _ in range((each or {}).get(name, 1) if turn >= 0 else 1):
                seconds = timed(sides[name], number)
                number += 1
                if turn >= 0:
                    found[name].seconds.append(seconds)
    return found


class _InTurn:
    """Bare passes after each batch of another's, of as many inputs."""

    def __init__(self, peer: Callable[[int], object]) -> None:
        self._peer, self._done, self.seconds = peer, 0, 0.0

    def after(self, done: int, total: int, what: str) -> None:
        finished()
        start = time.perf_counter()
        self._peer(done - self._done)
        finished()
        self.seconds += time.perf_counter() - start
        # The next work begins anew.
        self._done = done % total


def timed(function: Callable[[int], object], number: int) -> float:
    """Return the seconds a call takes, with the garbage collector off."""
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        function(number)
        finished()
        return time.perf_counter() - start
    finally:
        gc.enable()


def beside(
    ours: Callable[..., object],
    peer: Callable[[int], object],
    rounds: int,
    *,
    warm_up: int = 1,
) -> tuple[Times, Times]:
    """Time work of many passes beside bare passes, which take turns with its own.

    So what slows the machine for a while slows both, however long the whole takes.

    Parameters
    ----------
    ours
        Takes the number of the repeat, and a function to be called with (done, total, what) after
        each of its batches, `total` inputs in all.
    peer
        Passes so many inputs.
    rounds, warm_up
        How often, and how often before it counts.
    """
    mine, theirs = Times(), Times()
    for turn in range(-warm_up, rounds):
        bare = _InTurn(peer)
        whole = timed(partial(ours, after=bare.after), turn + warm_up)
        if turn >= 0:
            mine.seconds.append(whole - bare.seconds)
            theirs.seconds.append(bare.seconds)
    return mine, theirs


def check_equal(ours: np.ndarray, theirs: np.ndarray, what: str, tolerance: float = 1e-5) -> float:
    """Return the largest difference relative to the largest value; fail where it is too large."""
    if ours.shape != theirs.shape:
        raise AssertionError(f"{what}: shapes {ours.shape} and {theirs.shape}")
    most = float(np.abs(theirs).max())
    difference = float(np.abs(ours - theirs).max()) / (most or 1.0)
    if not difference <= tolerance:
        raise AssertionError(f"{what}: differs by {difference:.2g} of the largest value")
    return difference


class Neighbours:
    """How much of the machine others took meanwhile: a number to trust the others by."""

    def __enter__(self) -> Neighbours:
        self._start = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        wall, busy, own = (b - a for a, b in zip(self._start, self._now(), strict=True))
        self.share = max(0.0, busy - own) / (wall * (os.cpu_count() or 1))

    @staticmethod
    def _now() -> tuple[float, float, float]:
        own = sum(os.times()[:4])
        try:
            with open("/proc/stat", encoding="ascii") as lines:
                ticks = [int(n) for n in lines.readline().split()[1:]]
        except OSError:
            return time.monotonic(), own, own
        # user, nice, system, irq, softirq, steal
        busy = sum(ticks[n] for n in (0, 1, 2, 5, 6, 7)) / os.sysconf("SC_CLK_TCK")
        return time.monotonic(), busy, own

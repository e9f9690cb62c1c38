"""Peak memory of Grad-CAM of all 53 convolutions of ResNet-50, beside one bare pass.

Two ways: what tensors allocate, from the memory events of torch's profiler; and the peak of the
resident memory of a fresh process (Linux).
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

import nets
import timing
from many_layers import WHAT, Sides
from rows import Row, hand_over

MIB = 1 << 20
PEER = "one bare forward and backward pass to the input, parameters frozen"


def peak_of_tensors(function: Callable[[int], object], number: int) -> float:
    """Return the most bytes that tensors held at once in a call, beyond those before it."""
    if timing.DEVICE != "cpu":
        before = torch.accelerator.memory_allocated()
        torch.accelerator.reset_peak_memory_stats()
        function(number)
        return torch.accelerator.max_memory_allocated() - before
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        function(number)
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def resident(side: str) -> tuple[float, float]:
    """Return the resident memory of this process before a call and at its peak."""
    sides = Sides()
    nets.frozen(sides.peer)
    with torch.no_grad():
        sides.peer(sides.x(0))
    if side == "ours":
        # What is done once a network, its digest among it, is done before.
        sides.network.digest()
    before = _status("VmRSS")
    getattr(sides, side)(1)
    return before, _status("VmHWM")


def _status(name: str) -> float:
    text = Path("/proc/self/status").read_text("ascii")
    found = re.search(rf"{name}:\s+(\d+) kB", text)
    assert found
    return int(found[1]) * 1024


def main() -> list[Row]:
    sides = Sides()
    nets.frozen(sides.peer)
    parameters = nets.parameter_bytes(sides.peer)
    sides.one_pass(0)
    theirs = peak_of_tensors(sides.one_pass, 1)
    sides.ours(0)
    sides.network.traces.clear()
    ours = peak_of_tensors(sides.ours, 1)
    rows = [
        Row(
            f"{WHAT}: peak of what tensors hold, the {parameters / MIB:.0f} MiB of parameters "
            f"left out",
            PEER,
            ours / MIB,
            theirs / MIB,
            "MiB",
            "cost",
            1.3,
            "",
            ["memory events of torch.profiler"],
        ),
        Row(
            f"{WHAT}: the same with the parameters",
            PEER,
            (ours + parameters) / MIB,
            (theirs + parameters) / MIB,
            "MiB",
            "cost",
            1.3,
        ),
    ]
    if sys.platform == "linux":
        found = {}
        for side in ("one_pass", "ours"):
            done = subprocess.run(
                [sys.executable, __file__, side], check=True, capture_output=True, text=True
            )
            found[side] = [float(n) / MIB for n in done.stdout.split()[-2:]]
        rows.append(
            Row(
                f"{WHAT}: peak resident memory of a fresh process",
                PEER,
                found["ours"][1],
                found["one_pass"][1],
                "MiB",
                "note",
                notes=[
                    f"before the call ours {found['ours'][0]:.0f} MiB, "
                    f"peer {found['one_pass'][0]:.0f} MiB"
                ],
            )
        )
    return rows


if __name__ == "__main__":
    timing.set_threads()
    if len(sys.argv) > 1:
        print(*resident(sys.argv[1]))
    else:
        hand_over(*main())

"""Runs a batch that is killed at some of its steps, and run again, until it comes to its end.

A process of its own, for it forks: ``python batch_killed.py RECIPE IMAGES OUT SEED``. Prints at which
step each run was killed, and "finished".
"""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import tifffile
import torch

import napari_neuroscope as ns
from napari_neuroscope.engine.batch.folder import Journal, Record


def killed_at(step: int) -> None:
    """Let this process die at one of its steps: in the middle of a write, or about a rename."""
    count = 0

    def passed(what: str) -> None:
        nonlocal count
        count += 1
        if count == step:
            print(what, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    write, replace, add = tifffile.TiffWriter.write, Path.replace, Journal.add

    def write_half(self: tifffile.TiffWriter, *args: Any, **more: Any) -> None:
        write(self, *args, **more)
        passed("in a map")

    def replace_or_not(self: Path, target: Path) -> Path:
        passed(f"before {target.suffix or target.name} is there")
        found = replace(self, target)
        passed(f"after {target.suffix or target.name} is there")
        return found

    def add_half(self: Journal, record: Record) -> None:
        half = record.as_line()[: random.Random(step).randrange(1, 40)]
        size = self._path.stat().st_size
        with self._path.open("ab") as file:
            file.write(half)
        passed("in the journal")
        os.truncate(self._path, size)
        add(self, record)
        passed("after the journal")

    tifffile.TiffWriter.write = write_half  # type: ignore[method-assign]
    Path.replace = replace_or_not  # type: ignore[method-assign,assignment]
    Journal.add = add_half  # type: ignore[method-assign]


def main(recipe: str, images: str, out: str, seed: str) -> None:
    torch.set_num_threads(1)
    # What is imported once is there in each process.
    ns.run_batch(recipe, images, f"{out} before", device="cpu", trust=True)
    draw = random.Random(int(seed))
    while True:
        step = draw.randrange(1, 22)
        child = os.fork()
        if child == 0:
            killed_at(step)
            ns.run_batch(recipe, images, out, device="cpu", trust=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert status == 0
            print("finished", flush=True)
            return


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A batch that is killed again and again, with as many workers: complete, equal, no orphans.

``python benchmarks/batch_kills.py WORKERS [KILLS]`` kills a batch with SIGKILL at random moments, so
many times, and lets the last run come to its end. It says how many images each run had done, whether
what was made in the end equals an uninterrupted batch byte for byte, and whether a process was left.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "fixtures"))

import napari_neuroscope as ns
from batches import images_in, recipe_in, written
from napari_neuroscope.engine.batch.journal import records_in

_EACH = 10  # images a kill, so that the batch outlasts them
_AT_START, _SECONDS = 0.2, 0.05


def command(recipe: Path, images: Path, out: Path, workers: int) -> list[str]:
    """Return what runs the batch in a process of its own."""
    return [sys.executable, __file__, "run", str(recipe), str(images), str(out), str(workers)]


def run(recipe: str, images: str, out: str, workers: str) -> None:
    """Run the batch, and say of each image that it is done."""
    ns.run_batch(
        recipe, images, out, device="cpu", trust=True, threads=1, workers=int(workers),
        progress=lambda event: print(event.kind, flush=True),
    )  # fmt: skip


def killed(given: list[str], draw: random.Random) -> list[psutil.Process]:
    """Run it, kill it at some moment after it has begun, and return its processes that are left."""
    with subprocess.Popen(given, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if draw.random() < _AT_START:
            time.sleep(draw.random() * 4)
        else:
            for _ in range(1 + draw.randrange(2 * _EACH)):
                process.stdout.readline()
            time.sleep(draw.random() * _SECONDS)
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    _, alive = psutil.wait_procs(children, timeout=30)
    return [one for one in alive if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def main(workers: int, kills: int) -> None:
    """Kill, go on, and compare."""
    draw = random.Random(workers)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        recipe, images = recipe_in(root / "recipe"), root / "images"
        images_in(images, _EACH * kills)
        given = command(recipe, images, root / "out", workers)
        left, done = [], []
        for _ in range(kills):
            left += killed(given, draw)
            done.append(len(records_in(root / "out")))
        subprocess.run(given, check=True, capture_output=True)
        ns.run_batch(recipe, images, root / "whole", device="cpu", trust=True, threads=1)
        one, other = written(root / "out"), written(root / "whole")
        unlike = sorted(
            name for name in one.keys() | other.keys() if one.get(name) != other.get(name)
        )
        hidden = {path.name for path in (root / "out").rglob(".*")} == {".batch"}
    print(f"{workers} workers, {kills} kills, images done at each: {done}")
    print(f"unlike: {unlike or 'none'}, nothing unfinished left: {hidden}, processes: {len(left)}")


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(*sys.argv[2:])
    else:
        main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20)

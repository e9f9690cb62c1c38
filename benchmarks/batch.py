"""Batches: what two workers gain, what a batch costs beside a bare loop, and what kills leave.

The images are of the nuclei folder, 200 of its 454; drawn by chance where it is not here. The network
is the demo's, explained by Grad-CAM.
"""

from __future__ import annotations

import csv
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pyarrow import parquet
from skimage.io import imread, imsave

import napari_neuroscope as ns
import timing
from napari_neuroscope.engine.batch.run import BatchEvent, run_batch
from napari_neuroscope.engine.batch.thumbnail import write_thumbnail
from napari_neuroscope.engine.explanation.recipe_document import SUFFIX
from napari_neuroscope.engine.images.source import read_image
from napari_neuroscope.engine.results.save import file_name, save
from rows import Row, hand_over

NUCLEI = Path(__file__).parents[2] / "shared" / "data" / "nuclei"
COUNT = 200
WARM = 20
ROUNDS = 3
KILLS, KILLS_OF_WORKERS = 20, 5

_UUID = re.compile(rb'UUID="urn:uuid:[0-9a-f-]+"')


class Task:
    """Images in a folder, and a recipe for them."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.images = folder, folder / "images"
        self.images.mkdir()
        found = sorted(NUCLEI.glob("*/images/*.png"))[:: 454 // COUNT]
        for number in range(count):
            if found:
                source = found[number % len(found)]
                shutil.copy(source, self.images / f"{number:03}_{source.name}")
            else:
                pixels = np.random.default_rng(number).integers(0, 255, (256, 256, 3), np.uint8)
                imsave(self.images / f"{number:03}.png", pixels, check_contrast=False)
        self.paths = sorted(self.images.iterdir())
        self.network = ns.load("demo:nuclei", device="cpu")
        self.recipe = folder / f"nuclei{SUFFIX}"
        ns.Recipe.of(self.explained(self.paths[0])).save(self.recipe)

    def explained(self, path: Path) -> ns.Explanation:
        # As a batch does: nothing is kept for a question that nobody asks.
        return ns.explain(self.network, read_image(path), "grad_cam", "nucleus", keep="asked")

    def command(self, out: Path, workers: int, *outputs: str) -> list[str]:
        return [
            sys.executable, "-m", "napari_neuroscope.cli", "batch", str(self.recipe),
            str(self.images), "-o", str(out), "--workers", str(workers), "--threads", "1",
            "--device", "cpu", "--progress", "json", "--outputs", *outputs,
        ]  # fmt: skip

    def started(self, out: Path, workers: int, *outputs: str) -> subprocess.Popen[str]:
        """Start the batch, in a group of processes of its own."""
        return subprocess.Popen(
            self.command(out, workers, *outputs),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )


# --- two workers against one ----------------------------------------------------------------------


def ran(task: Task, out: Path, workers: int) -> tuple[list[float], float]:
    """Return when each image was done and when the end was, and what all processes computed.

    All are in seconds, the moments since the batch began.
    """
    before, begun, moments = _of_children(), time.perf_counter(), []
    with task.started(out, workers, ".tif") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["kind"] == "image":
                moments.append(time.perf_counter() - begun)
    assert process.returncode == 0
    assert len(moments) == len(task.paths)
    return [*moments, time.perf_counter() - begun], _of_children() - before


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def workers(folder: Path) -> list[Row]:
    task = Task(folder, COUNT)
    whole = {n: timing.Times() for n in (1, 2)}
    steady = {n: timing.Times() for n in (1, 2)}
    processor = {n: timing.Times() for n in (1, 2)}
    for turn in range(ROUNDS):
        for n in (1, 2) if turn % 2 else (2, 1):
            out = folder / f"out{turn}-{n}"
            (*moments, end), used = ran(task, out, n)
            processor[n].seconds.append(used)
            whole[n].seconds.append(end)
            steady[n].seconds.append((moments[-1] - moments[WARM]) / (COUNT - 1 - WARM))
    check_equal(written(folder / "out0-1"), written(folder / "out0-2"))
    what = f"Batch of {COUNT} images of nuclei, Grad-CAM: 2 workers of one thread"
    peer = "1 worker of one thread, without Dask"
    return [
        Row.of_times(
            f"{what}, time per image once they run",
            peer, steady[2], steady[1], "faster", 1.8,
            f"from image {WARM} to the last",
        ),
        Row.of_times(
            f"{what}, from the command to its end",
            peer, whole[2], whole[1], "note", None,
            "Python's start, the workers' start, loading the network, the summary and the report "
            "are in it",
            f"all processes together compute {processor[2].median:.3g} s, and of one worker "
            f"{processor[1].median:.3g} s",
        ),
    ]  # fmt: skip


# --- a batch against a bare loop ------------------------------------------------------------------


@dataclass
class Beside:
    """Does with each image what the batch did just before, but in a bare loop."""

    task: Task
    out: Path
    ours: float = 0.0
    bare: float = 0.0
    writing: float = 0.0
    meanwhile: float = 0.0
    ratios: list[float] = field(default_factory=list)
    _since: float = 0.0

    def __call__(self, event: BatchEvent) -> None:
        now = time.perf_counter()
        if event.kind == "image":
            assert not event.problem, event.problem
            path = Path(event.image)
            explained = self.task.explained(path)
            between = time.perf_counter()
            image = read_image(path)
            again = time.perf_counter()
            save(explained, image, self.out / file_name(path.stem, ".tif"))
            write_thumbnail(explained, image, self.out / f"{path.stem}.jpg")
            writing = time.perf_counter() - again
            # As a batch does, so that both have the same memory to compute in.
            self.task.network.traces.clear()
            ours, bare = now - self._since - writing, between - now
            self.ours += ours
            self.bare += bare
            self.writing += writing
            self.ratios.append(ours / bare)
        self._since = time.perf_counter()
        self.meanwhile += self._since - now


def overhead(folder: Path) -> list[Row]:
    task = Task(folder, 40)
    ours, bare, writing, around, ratios = timing.Times(), timing.Times(), timing.Times(), [], []
    for turn in range(-1, 5):
        out = folder / f"out{turn}"
        beside = Beside(task, folder / f"bare{turn}")
        beside.out.mkdir()
        begun = time.perf_counter()
        run_batch(task.recipe, task.images, out, outputs=(".tif",), device="cpu", progress=beside)
        took = time.perf_counter() - begun
        if turn < 0:
            continue
        count = len(task.paths)
        for times, seconds in ((ours, beside.ours), (bare, beside.bare), (writing, beside.writing)):
            times.seconds.append(seconds / count)
        around.append(took - beside.meanwhile - beside.ours - beside.writing)
        ratios += beside.ratios
        check_equal(maps(out / "maps"), maps(beside.out))
    ratio = np.median(ratios)
    return [
        Row.of_times(
            "Batch of images of nuclei, Grad-CAM: time per image, without writing its files",
            "read and explain in a loop, nothing else",
            ours, bare, "cost", 1.05,
            f"median of the images' ratios {ratio:.3g}",
            f"writing the same map and thumbnail takes {1e3 * writing.median:.3g} ms beside",
            f"before the first image and after the last {np.median(around):.2g} s a batch",
        )
    ]  # fmt: skip


# --- a batch that is killed -----------------------------------------------------------------------


def killed(folder: Path) -> list[Row]:
    task = Task(folder, 24)
    outputs = (".tif", ".zarr", ".npy")
    begun = time.perf_counter()
    run = Run.of(task, folder / "whole", 1, outputs)
    assert run.finished
    length = {"": run.started - begun, "started": time.perf_counter() - run.started}
    expected = written(folder / "whole")
    rng = random.Random(8)

    def moment(number: int) -> tuple[str, float]:
        """Return since when, and for how long, a batch is left alone: a few die before their work."""
        since = "started" if number % 5 else ""
        return since, rng.uniform(0, length[since])

    return [
        _killed(task, count, n, outputs, expected, moment)
        for count, n in ((KILLS, 1), (KILLS_OF_WORKERS, 2))
    ]


def _killed(
    task: Task,
    count: int,
    workers: int,
    outputs: Sequence[str],
    expected: dict[str, bytes],
    moment: Callable[[int], tuple[str, float]],
) -> Row:
    kills: list[Run] = []
    whole, wrong, unfinished = 0, 0, False
    while len(kills) < count or unfinished:  # what was killed last is gone on with to its end
        out = task.folder / f"of {workers}, {whole}"
        until = moment(len(kills)) if len(kills) < count else None
        run = Run.of(task, out, workers, outputs, until)
        unfinished = not run.finished
        if unfinished:
            kills.append(run)
        else:
            whole += 1
            wrong += len(differing(expected, written(out)))
            shutil.rmtree(out)
    early = sum(run.seen == "none" for run in kills)
    late = sum(run.seen == "all" for run in kills)
    return Row(
        f"Batch of {len(task.paths)} images into {', '.join(outputs)}, {workers} "
        f"worker{'s' * (workers > 1)}, killed {count} times at random moments and resumed: files "
        "that are not there, too many or different",
        "an uninterrupted run, one worker",
        wrong, None, "files", "limit", 0,
        notes=[
            f"batches that came to their end: {whole}, of {len(expected)} files each",
            f"{early} kills before the run's first image, {late} after the last, "
            f"{count - early - late} between",
        ],
    )  # fmt: skip


@dataclass
class Run:
    """A batch that ran to its end, or until it was killed.

    Attributes
    ----------
    started
        When it began its work.
    seen
        What it told of its images: "none", "some", "all".
    """

    started: float = 0.0
    seen: str = "none"
    finished: bool = False

    @classmethod
    def of(
        cls,
        task: Task,
        out: Path,
        workers: int,
        outputs: Sequence[str],
        until: tuple[str, float] | None = None,
    ) -> Run:
        """Run it; `until`: how long since which event it is killed, with all its processes."""
        run, since, after = cls(), *(until or ("never", 0.0))
        with task.started(out, workers, *outputs) as process:
            assert process.stdout is not None
            timer = threading.Timer(after, _kill, (process.pid,))
            if since == "":
                timer.start()
            for line in process.stdout:
                if not line.endswith("\n"):
                    break
                event = json.loads(line)
                if event["kind"] == "started":
                    run.started = time.perf_counter()
                    if since == "started":
                        timer.start()
                elif event["kind"] == "image":
                    run.seen = "all" if event["kept"] + event["done"] == event["total"] else "some"
        timer.cancel()
        assert process.returncode in (0, -signal.SIGKILL)
        run.finished = process.returncode == 0
        return run


def _kill(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def maps(folder: Path) -> dict[str, bytes]:
    """Return the values of OME-TIFF files."""
    return {path.name: imread(path).tobytes() for path in folder.glob("*.tif")}


def written(out: Path) -> dict[str, bytes]:
    """Return what a batch left, but for the times, and what it keeps for itself."""
    files = {
        path.relative_to(out).as_posix(): _UUID.sub(b"", path.read_bytes())
        for path in sorted(out.rglob("*"))
        if path.is_file() and ".batch" not in path.relative_to(out).parts
    }
    with (out / "summary.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    table = parquet.read_table(out / "summary.parquet").drop_columns("seconds")
    for row in rows:
        del row["seconds"]
    files["summary.csv"] = json.dumps(rows).encode()
    files["summary.parquet"] = json.dumps(table.to_pylist()).encode()
    # It says when it was written.
    files["report.html"] = b"there"
    return files


def differing(expected: dict[str, bytes], found: dict[str, bytes]) -> list[str]:
    """Return the files that are not in both, or not the same."""
    return [name for name in expected | found if expected.get(name) != found.get(name)]


def check_equal(ours: dict[str, bytes], theirs: dict[str, bytes]) -> None:
    if names := differing(ours, theirs):
        raise AssertionError(f"{len(names)} files differ, {names[0]} among them")


if __name__ == "__main__":
    timing.set_threads()
    figure = {"workers": workers, "overhead": overhead, "killed": killed}[sys.argv[1]]
    with tempfile.TemporaryDirectory() as place:
        hand_over(*figure(Path(place)))

"""run_batch(): explain many images as a recipe says, and go on where it was left off."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from napari_neuroscope.engine.batch.folder import CSV, RECIPE, REPORT, BatchFolder, remove
from napari_neuroscope.engine.batch.journal import ImageRecord
from napari_neuroscope.engine.batch.naming import common_folder, output_names
from napari_neuroscope.engine.batch.report import write_report
from napari_neuroscope.engine.batch.summary import Summary
from napari_neuroscope.engine.batch.work import Job, Work, stamp_of
from napari_neuroscope.engine.errors import Cancelled, NeuroscopeError, nearest_names
from napari_neuroscope.engine.evaluation.scoring import truth_reader
from napari_neuroscope.engine.explain.recipe import Recipe
from napari_neuroscope.engine.images.pairing.find_pairs import pairs_of
from napari_neuroscope.engine.images.pairing.image_search import Where
from napari_neuroscope.engine.images.pairing.pair import Pairs, SkippedFile
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.results.save import SUFFIXES


@dataclass(frozen=True)
class BatchEvent:
    """What is told of a batch while it runs.

    Attributes
    ----------
    kind
        "started" once it is known what is to be done; "image" after each image; "finished" or
        "stopped" at the end.
    total
        How many images it has.
    kept
        How many of them were done by a run before.
    done, failed
        How many were done by this run, and how many of them have a problem.
    image, problem
        Of "image": its path, and why it could not be done; empty where it was.
    outputs
        Of "image": the files that were written.
    dashboard
        Of "started": the address where the work of several processes is shown.
    """

    kind: Literal["started", "image", "finished", "stopped"]
    total: int
    kept: int
    done: int = 0
    failed: int = 0
    image: str = ""
    problem: str = ""
    outputs: tuple[str, ...] = ()
    dashboard: str = ""


@dataclass(frozen=True)
class BatchResult:
    """What became of a batch.

    Attributes
    ----------
    out
        Its folder.
    total
        How many images it has.
    kept
        How many of them were done by a run before.
    done
        How many were done by this run.
    failed
        Those that could not be, and why.
    skipped
        Files that are no images, and why.
    """

    out: Path
    total: int
    kept: int
    done: int
    failed: tuple[SkippedFile, ...]
    skipped: tuple[SkippedFile, ...]

    @property
    def report(self) -> Path:
        """A page that shows what was made of each image."""
        return self.out / REPORT

    @property
    def summary(self) -> Path:
        """The table of all images; the same is beside it as Parquet."""
        return self.out / CSV

    @property
    def left(self) -> int:
        """How many images were not come to, because the batch was stopped."""
        return self.total - self.kept - self.done - len(self.failed)


def run_batch(
    recipe: Recipe | str | Path,
    images: Where,
    out: str | Path,
    *,
    truths: Where | None = None,
    outputs: Sequence[str] | None = None,
    workers: int = 1,
    threads: int | None = None,
    scheduler: str | None = None,
    device: str = "auto",
    trust: bool = False,
    allow_changed: bool = False,
    force: bool = False,
    progress: Callable[[BatchEvent], None] | None = None,
    cancel: threading.Event | None = None,
) -> BatchResult:
    """Explain many images as a recipe says; run again, what is not done, failed or has changed.

    Parameters
    ----------
    recipe
        The recipe, or its file.
    images, truths
        Files, folders and patterns such as ``"scans/*.tif"``, and their ground truth.
    out
        A folder, of which `docs/batch.md` says what is written into it.
    outputs
        The endings of the files that are written of an image; None: what the recipe says.
    workers
        How many processes work here; 1: this one. A script that asks for more runs it below
        ``if __name__ == "__main__":``.
    threads
        How many a worker computes with; None: the cores are shared. Maps hang on them to a bit.
    scheduler
        The address of a Dask cluster, such as ``"tcp://10.0.0.1:8786"``, that works in their place.
    device, trust, allow_changed
        As `Recipe.run` takes them.
    force
        Begin anew, and write over what is in the folder.
    progress, cancel
        What is told of all that happens, and what stops the batch once it is set.

    Raises
    ------
    NeuroscopeError
        Where it can't begin, or nothing can be written any more: one sentence.
    """
    if not isinstance(recipe, Recipe):
        recipe = Recipe.load(recipe)
    who = _Workers(workers, threads, scheduler, cancel)
    kinds = _kinds(recipe, outputs)
    methods[recipe.method].check_options(recipe.options)
    out = Path(os.path.abspath(out))
    pairs = _without(pairs_of(images, truths), out)
    work = Work(recipe, out, kinds, device=device, trust=trust, allow_changed=allow_changed)
    root = common_folder([_path(pair.image.path) for pair in pairs])
    with BatchFolder(out, recipe_key(recipe), root, force=force) as folder:
        return _work_off(folder, work, pairs, who, progress, with_truth=truths is not None)


@dataclass(frozen=True)
class _Workers:
    """Who does the work, and what stops them, as `run_batch` takes them."""

    count: int
    threads: int | None
    scheduler: str | None
    cancel: threading.Event | None

    def __post_init__(self) -> None:
        if self.count < 1 or (self.threads is not None and self.threads < 1):
            raise NeuroscopeError("A batch needs at least one worker, of one thread.")

    @property
    def alone(self) -> bool:
        """Whether it is this process."""
        return self.count == 1 and self.scheduler is None


def _work_off(
    folder: BatchFolder,
    work: Work,
    pairs: Pairs,
    who: _Workers,
    progress: Callable[[BatchEvent], None] | None,
    *,
    with_truth: bool,
) -> BatchResult:
    """Do what is left to do of a batch whose folder is held."""
    notes: list[str] = []
    if who.alone:
        network, notes = work.fitted()
    else:
        # To see that it can be loaded, and is the recipe's.
        network, work = work.for_others()
    if with_truth:
        network.layers  # noqa: B018  the classes are known with them
        work = replace(work, reader=truth_reader(network, pairs))
    work.recipe.save(folder.path / RECIPE, overwrite=True)
    jobs = _jobs(folder, pairs)
    todo = [job for job in jobs if not _is_complete(folder, job, work.kinds)]
    run = _RunLog(folder, pairs, len(jobs), len(jobs) - len(todo), progress)
    if who.alone or not todo:
        run.tell("started")
        run.follow(_here(work, todo, network, notes, who.threads, who.cancel))
        return run.finished(work.recipe)
    del network
    from napari_neuroscope.engine.batch import cluster
    from napari_neuroscope.engine.batch.local_cluster import threads_each

    with cluster.connected(who.scheduler, who.count, work.device, who.cancel) as client:
        run.tell("started", dashboard=client.dashboard_link or "")
        each = threads_each(who.count) if who.scheduler is None else None
        run.follow(cluster.records(client, work, todo, who.threads or each, who.cancel))
        # Before the workers have ended, which takes a while.
        return run.finished(work.recipe)


def _jobs(folder: BatchFolder, pairs: Pairs) -> list[Job]:
    paths = [_path(pair.image.path) for pair in pairs]
    names = output_names(paths, folder.root, folder.journal.names)
    return [
        Job(pair, str(path), name, stamp_of(pair))
        for pair, path, name in zip(pairs, paths, names, strict=True)
    ]


def recipe_key(recipe: Recipe) -> str:
    """Return what tells recipes from others that make other maps, wherever their files lie."""
    plain = recipe.model_dump(mode="json", by_alias=True, exclude={"outputs", "versions"})
    made = plain["network"]
    same = ("digest",) if made["digest"] else ("source", "sha256", "factory", "arguments")
    plain["network"] = {name: made[name] for name in same}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _kinds(recipe: Recipe, outputs: Sequence[str] | None) -> tuple[str, ...]:
    kinds = recipe.outputs if outputs is None else tuple(outputs)
    if not kinds:
        raise NeuroscopeError(f"A batch writes at least one kind of file: {', '.join(SUFFIXES)}.")
    for kind in kinds:
        if kind not in SUFFIXES:
            raise NeuroscopeError(
                f"“{kind}” is no kind of file that can be written; {nearest_names(kind, SUFFIXES)}"
            )
    return tuple(dict.fromkeys(kinds))


def _path(path: Path | None) -> Path:
    assert path is not None  # pairs are found as files
    return Path(os.path.abspath(path))


def _without(pairs: Pairs, out: Path) -> Pairs:
    """Leave out what a batch wrote into its own folder."""
    others, skipped = [], list(pairs.skipped)
    for pair in pairs:
        if _path(pair.image.path).is_relative_to(out):
            reason = f"“{pair.name}” lies in the batch's own folder."
            skipped.append(SkippedFile(pair.name, reason))
        else:
            others.append(pair)
    if not others:
        raise NeuroscopeError(
            f"All images lie in {out}, which the batch writes into; choose another folder."
        )
    return Pairs(tuple(others), tuple(skipped))


def _is_complete(folder: BatchFolder, job: Job, kinds: tuple[str, ...]) -> bool:
    if job.path not in folder.journal:
        return False
    return folder.is_complete(folder.journal[job.path], job.stamp, kinds)


def _here(
    work: Work,
    jobs: Sequence[Job],
    network: Network,
    notes: list[str],
    threads: int | None,
    cancel: threading.Event | None,
) -> Iterator[ImageRecord]:
    """Do the work in this process."""
    import torch

    def check(done: int, total: int, what: str) -> None:
        if cancel is not None and cancel.is_set():
            raise Cancelled

    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        for job in jobs:
            check(0, 0, "")
            yield work.done(job, network, notes, check)
    except Cancelled:
        return
    finally:
        torch.set_num_threads(before)


class _RunLog:
    """Writes down what comes of the images, and tells of it."""

    def __init__(
        self,
        folder: BatchFolder,
        pairs: Pairs,
        total: int,
        kept: int,
        progress: Callable[[BatchEvent], None] | None,
    ) -> None:
        self._folder, self._skipped = folder, pairs.skipped
        self._total, self._kept = total, kept
        self._progress = progress
        self._done = 0
        self._failed: list[SkippedFile] = []

    def tell(self, kind: Literal["started", "image", "finished", "stopped"], **more: Any) -> None:
        if self._progress is not None:
            self._progress(
                BatchEvent(kind, self._total, self._kept, self._done, len(self._failed), **more)
            )

    def follow(self, records: Iterator[ImageRecord]) -> None:
        """Take each record as it comes."""
        for record in records:
            self._folder.journal.add(self._joined(record))
            if record.problem:
                self._failed.append(SkippedFile(record.path, record.problem))
            else:
                self._done += 1
            written = tuple(str(self._folder.path / place) for place in record.outputs)
            self.tell("image", image=record.path, problem=record.problem, outputs=written)

    def _joined(self, record: ImageRecord) -> ImageRecord:
        """Keep what was written of the very image before, and remove what is of another."""
        if record.path not in self._folder.journal:
            return record
        before = self._folder.journal[record.path]
        if before.stamp == record.stamp:
            return replace(record, outputs={**before.outputs, **record.outputs})
        for place in before.outputs.keys() - record.outputs.keys():
            remove(self._folder.path / place)
        return record

    def finished(self, recipe: Recipe) -> BatchResult:
        """Sum it up, in the folder and for the caller."""
        result = BatchResult(
            self._folder.path,
            self._total,
            self._kept,
            self._done,
            tuple(self._failed),
            self._skipped,
        )
        summary = Summary(self._folder)
        summary.write()
        write_report(self._folder, recipe, summary, self._skipped, result.left)
        self.tell("stopped" if result.left else "finished")
        return result

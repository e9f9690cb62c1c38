"""The work on one image: read, explained, written, and what is to be said of it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_neuroscope.engine.batch.folder import MAPS, THUMBNAILS, size_of
from napari_neuroscope.engine.batch.journal import FOLDER as OWN_FOLDER
from napari_neuroscope.engine.batch.journal import ImageRecord
from napari_neuroscope.engine.batch.output_error import OutputError, stops_the_batch
from napari_neuroscope.engine.batch.planes import opened, planes_of
from napari_neuroscope.engine.batch.summary_row import summary_row
from napari_neuroscope.engine.batch.thumbnail import write_thumbnail
from napari_neuroscope.engine.errors import Cancelled, NeuroscopeError, Progress, no_progress
from napari_neuroscope.engine.evaluation.scoring import read_truth_of
from napari_neuroscope.engine.explain.recipe import Recipe
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.files.code.granted import granting
from napari_neuroscope.engine.files.code.trust import digest_of
from napari_neuroscope.engine.images.ground_truth.reader import TruthReader
from napari_neuroscope.engine.images.pairing.pair import Pair
from napari_neuroscope.engine.images.source import Source
from napari_neuroscope.engine.images.stack import Stack
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.results.save import file_name, save

Plane = tuple[tuple[int, ...], Explanation]
"""The index of a plane of a stack, and what was found of it; () of what is no stack."""


@dataclass(frozen=True, eq=False)
class Job:
    """One image of a batch.

    Attributes
    ----------
    pair
        The image and its ground truth.
    path
        Where it is read from.
    name
        What its outputs are called, without an ending.
    stamp
        What the image and its ground truth are, as `stamp_of` tells it.
    """

    pair: Pair
    path: str
    name: str
    stamp: str


@dataclass(frozen=True, eq=False)
class Work:
    """What is done with each image, wherever it is done.

    Attributes
    ----------
    recipe
        How it is explained.
    out
        The batch's folder.
    kinds
        The endings of the files that are written.
    reader
        What reads the ground truth; None where there is none.
    device, trust, allow_changed
        As `Recipe.run` takes them.
    let_run
        Hashes of content that may run, besides what the trust store knows.
    digest
        Of the network that it shall be, as `Network.digest` tells it; empty where that is open.
    """

    recipe: Recipe
    out: Path
    kinds: tuple[str, ...]
    reader: TruthReader | None = None
    device: str = "auto"
    trust: bool = False
    allow_changed: bool = False
    let_run: frozenset[str] = frozenset()
    digest: str = ""

    def for_others(self) -> tuple[Network, Work]:
        """Load the network here; return it, and the work as other processes shall do it.

        They need no trust for what needed none here, or had it, and have none for anything else: a
        file that is exchanged meanwhile is another one.
        """
        source = self.recipe.network
        trust = self.trust and source.is_elsewhere
        hashes = {digest_of(source.path)} if self.trust and source.path is not None else set()
        with granting(None if self.trust else ()) as let_run:
            network, _ = replace(self, device="cpu", trust=trust).fitted()
        let_run |= hashes
        work = replace(self, trust=trust, let_run=frozenset(let_run), digest=network.digest())
        return network, work

    def fitted(self) -> tuple[Network, list[str]]:
        """Return the network, and what is to be noted of it.

        Raises
        ------
        NeuroscopeError
            Where it can't be loaded, or is not the one that it shall be.
        """
        network, notes = self.recipe.fitted(
            None, device=self.device, trust=self.trust, allow_changed=self.allow_changed
        )
        if self.digest and network.digest() != self.digest:
            raise NeuroscopeError(
                f"The network “{network.name}” was exchanged while the batch ran; run it again with "
                f"the one that is meant."
            )
        return network, notes

    def done(
        self, job: Job, network: Network, notes: list[str], progress: Progress = no_progress
    ) -> ImageRecord:
        """Do the work on one image, and return what became of it.

        Raises
        ------
        OutputError
            Where nothing can be written any more.
        Cancelled
            Where `progress` stops it.
        """
        begun = time.perf_counter()
        try:
            return self._done(job, network, notes, progress, begun)
        except (Cancelled, OutputError):
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, the other images are done
            return failed(job, in_a_sentence(error))
        finally:
            # The next image is another one.
            network.traces.clear()

    def _done(
        self, job: Job, network: Network, notes: list[str], progress: Progress, begun: float
    ) -> ImageRecord:
        with opened(job.pair.image, network) as stack:
            truth, more = self._truth(job, network, stack)
            # Each image is asked once, so that nothing is kept for other questions.
            explanation = self.recipe.explained(
                network, stack.image, notes, ground_truth=truth, keep="asked", progress=progress
            )
            planes = list(planes_of(explanation, stack))
            outputs = self._written(job, explanation, stack, planes)
            rows = [self._row(network, stack, index, plane, truth) for index, plane in planes]
        seconds = round((time.perf_counter() - begun) / len(rows), 4)
        said = "; ".join([*explanation.record.notes, *more])
        rows = [
            {**row, "notes": said, "device": str(network.device), "seconds": seconds}
            for row in rows
        ]
        return ImageRecord(job.path, job.stamp, job.name, outputs, rows)

    def _truth(self, job: Job, network: Network, stack: Stack) -> tuple[Any, list[str]]:
        """Return the true classes of an image, and what is to be noted of them."""
        truth = job.pair.truth
        if truth is None or self.reader is None:
            return None, []
        if network.spec.task == "classification" or isinstance(truth, str | int):
            return truth, []
        try:
            shape = network.prepare(stack.read((0,) * len(stack.axes))).image.shape
            labelled = [
                self.reader.labels(
                    read_truth_of(replace(job.pair, truth=plane), network.class_names), shape
                )
                for plane in _planes_of_truth(truth, stack)
            ]
        except NeuroscopeError as error:
            if self.recipe.needs_ground_truth:
                raise
            # The map can be made without.
            return None, [str(error)]
        labels = np.stack([plane.labels for plane in labelled]).reshape(*stack.shape, *shape)
        return labels, list(dict.fromkeys(note for plane in labelled for note in plane.notes))

    def _written(
        self, job: Job, explanation: Explanation, stack: Stack, planes: list[Plane]
    ) -> dict[str, int]:
        """Write the image's files, and return their sizes by their place."""
        outputs: dict[str, int] = {}
        if not (self.out / OWN_FOLDER).is_dir():
            raise OutputError(
                f"The batch's folder {self.out} is not there any more; put it back, or run the batch "
                f"again to begin anew."
            )
        try:
            for kind in self.kinds:
                place = self.out / MAPS / file_name(job.name, kind)
                place.parent.mkdir(parents=True, exist_ok=True)
                save(explanation, stack.image, place, spacing=stack.image.spacing, overwrite=True)
                for path in _files_of(explanation, place):
                    outputs[path.relative_to(self.out).as_posix()] = size_of(path) or 0
            index, plane = planes[len(planes) // 2]
            place = self.out / THUMBNAILS / f"{job.name}.jpg"
            if write_thumbnail(plane, stack.read(index), place):
                outputs[place.relative_to(self.out).as_posix()] = size_of(place) or 0
        except (NeuroscopeError, OSError) as error:
            if stops_the_batch(error):
                raise OutputError(str(error)) from error
            raise
        return outputs

    def _row(
        self, network: Network, stack: Stack, index: tuple[int, ...], plane: Explanation, truth: Any
    ) -> dict[str, Any]:
        if isinstance(truth, np.ndarray):
            truth = truth[index]
        # The pass of what was explained last is kept: this takes none.
        prediction = network.predict(stack.read(index))
        named = {"plane": stack.named(index)} if index else {}
        shape = " × ".join(map(str, stack.image.shape))
        row = summary_row(self.recipe, network, plane, prediction, truth)
        return {"shape": shape, **named, **row}


def _files_of(explanation: Explanation, path: Path) -> list[Path]:
    """Return what `save` wrote: of a NumPy file, there are files beside it."""
    if path.suffix != ".npy":
        return [path]
    labels = [path.with_name(f"{path.stem}.{name}.npy") for name in explanation.companions]
    return [path, path.with_suffix(".json"), *labels]


def _planes_of_truth(truth: Source | Sequence[Source], stack: Stack) -> Iterator[Any]:
    """Yield the ground truth of each plane of an image; of a stack it is a stack as well."""
    for index in np.ndindex(*stack.shape):
        if isinstance(truth, Source):
            yield replace(truth, plane=(*truth.plane, *index))
        else:
            yield [replace(source, plane=(*source.plane, *index)) for source in truth]


def failed(job: Job, problem: str) -> ImageRecord:
    """Return the record of an image that could not be done."""
    return ImageRecord(job.path, job.stamp, job.name, problem=problem)


def in_a_sentence(error: Exception) -> str:
    """Say for a person what went wrong."""
    if isinstance(error, NeuroscopeError):
        return str(error)
    if isinstance(error, MemoryError):
        return (
            "The image needs more memory than there is; explain it tile by tile, or a smaller one."
        )
    text = (str(error).strip() or "no more is known").splitlines()[0][:300]
    return f"It failed unexpectedly ({type(error).__name__}: {text})."


def stamp_of(pair: Pair) -> str:
    """Return what tells an image and its ground truth from others, or from what they were.

    It is made of their paths, sizes and times of change.
    """
    truth = pair.truth
    parts: list[Any] = [_stamp(pair.image.path)]
    if isinstance(truth, str | int) or truth is None:
        parts.append(truth)
    else:
        sources = [truth] if isinstance(truth, Source) else truth
        parts += [[source.name, _stamp(source.path)] for source in sources]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()


def _stamp(path: Path | None) -> list[Any]:
    if path is None:
        return []
    try:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        return [[str(p), p.stat().st_size, p.stat().st_mtime_ns] for p in files]
    except OSError:
        return [str(path)]  # it is told of when it is read

"""How good a network is on many images, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError, Progress, no_progress, shortened
from napari_neuroscope.engine.evaluation.confusion import Confusion
from napari_neuroscope.engine.evaluation.confusion_metrics import (
    CONFUSION_METRICS,
    ConfusionMetric,
    metrics_for_task,
    top_k,
    true_rank,
)
from napari_neuroscope.engine.files.csv_table import write_csv
from napari_neuroscope.engine.images.ground_truth.kind import TruthKind
from napari_neuroscope.engine.images.ground_truth.reader import TruthReader
from napari_neuroscope.engine.images.pairing.pair import Pair, Pairs, SkippedFile
from napari_neuroscope.engine.images.source import Source
from napari_neuroscope.engine.networks.network import Network


@dataclass(frozen=True, eq=False)
class ImageScore:
    """How good a network is on one image.

    Attributes
    ----------
    name, pair
        The image, and where it and its ground truth are read from.
    confusion
        Of its pixels; of a classification, of the image itself.
    notes
        How its ground truth was read.
    rank
        Of a classification: the place of the true class among the scores, 1 for the highest.
    labels
        Of a segmentation: the predicted class of each pixel, int16 (*space), −1 where not seen;
        None where it was not kept.
    """

    name: str
    pair: Pair
    confusion: Confusion
    notes: tuple[str, ...] = ()
    rank: int | None = None
    labels: np.ndarray | None = None

    @property
    def nbytes(self) -> int:
        """The bytes of its labels."""
        return 0 if self.labels is None else self.labels.nbytes

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """All metrics by name: a number, or an array (class,); NaN where not applicable."""
        return {name: metric(self.confusion) for name, metric in CONFUSION_METRICS.items()}


@dataclass(frozen=True, eq=False)
class Scores:
    """How good a network is on many images.

    Attributes
    ----------
    task
        The network's.
    names
        The names of its classes.
    results
        Each image that was scored, in the order of the images.
    failed
        Each that was not, and why.
    """

    task: str
    names: tuple[str, ...]
    results: list[ImageScore] = field(default_factory=list)
    failed: list[SkippedFile] = field(default_factory=list)

    @property
    def total(self) -> Confusion:
        """The confusion of all images together."""
        return Confusion(self._counts.sum(0), self.names)

    @property
    def metrics(self) -> dict[str, Any]:
        """All metrics of all images together: a number, or an array (class,)."""
        total = self.total
        return {name: metric(total) for name, metric in CONFUSION_METRICS.items()}

    @property
    def _counts(self) -> np.ndarray:
        """The counts of each image (image, class, class)."""
        side = len(self.names)
        counts = [result.confusion.counts for result in self.results]
        return np.stack(counts) if counts else np.zeros((0, side, side), np.int64)

    def each(self, metric: str) -> np.ndarray:
        """Return a metric of each image: (image,), or (image, class)."""
        return np.asarray(_metric(metric)(self._counts))

    def ranked(self, metric: str, which: str | int | None = None) -> list[ImageScore]:
        """Return the images by a metric, the lowest first; those without it come last.

        Parameters
        ----------
        metric
            The name of a metric.
        which
            The class, where each has its own.
        """
        values = self.each(metric)
        if values.ndim == 2:
            if which is None:
                raise NeuroscopeError(f"Each class has its own “{metric}”; say which class.")
            values = values[:, self._index(which)]
        return [self.results[n] for n in np.argsort(values, kind="stable")]

    def images_with(self, true: str | int, predicted: str | int) -> list[ImageScore]:
        """Return the images in which one class was taken for another, those most often first."""
        row, column = self._index(true), self._index(predicted)
        counts = self._counts[:, row, column]
        order = np.argsort(-counts, kind="stable")
        return [self.results[n] for n in order if counts[n]]

    def top_k(self, k: int = 5) -> float:
        """Return the share of images whose true class is among the k highest scores."""
        return top_k([result.rank for result in self.results if result.rank is not None], k)

    def _index(self, which: str | int) -> int:
        if isinstance(which, str) and which in self.names:
            return self.names.index(which)
        if isinstance(which, int | np.integer) and 0 <= which < len(self.names):
            return int(which)
        raise NeuroscopeError(
            f"There is no class “{which!s:.60}”; choose from {', '.join(self.names)}."
        )

    def to_csv(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the metrics of each image and of all together as CSV.

        Parameters
        ----------
        path
            The file.
        overwrite
            Write over a file that is there.
        """
        metrics = metrics_for_task(self.task)
        header = ["image", "images" if self.task == "classification" else "pixels"]
        for metric in metrics.values():
            titles = [f"{metric.title}: {name}" for name in self.names]
            header += titles if metric.per_class else [metric.title]
        counts = self._counts
        # Of all images at once.
        table = np.column_stack([metric(counts) for metric in metrics.values()])
        total = np.hstack([metric(counts.sum(0)) for metric in metrics.values()])
        applicable = ~np.isnan(table)
        mean = np.full(table.shape[1], np.nan)
        np.divide(
            np.where(applicable, table, 0).sum(0),
            applicable.sum(0),
            out=mean,
            where=applicable.any(0),
        )
        rows: list[list[Any]] = [
            [result.name, n, *_cells(row), "; ".join(result.notes)]
            for result, n, row in zip(self.results, counts.sum((1, 2)), table, strict=True)
        ]
        rows += [[file.name, 0, *[""] * table.shape[1], file.reason] for file in self.failed]
        rows += [
            ["all together", int(counts.sum()), *_cells(total), ""],
            ["mean of the images", "", *_cells(mean), ""],
        ]
        write_csv(path, [[*header, "notes"], *rows], overwrite=overwrite)


def _cells(values: np.ndarray) -> list[Any]:
    return ["n/a" if np.isnan(value) else value for value in values.tolist()]


def _metric(name: str) -> ConfusionMetric:
    if name not in CONFUSION_METRICS:
        raise NeuroscopeError(
            f"There is no metric “{name!s:.60}”; choose from {', '.join(CONFUSION_METRICS)}."
        )
    return CONFUSION_METRICS[name]


def score_images(
    network: Network,
    pairs: Pairs | Iterable[Pair],
    *,
    truth_kind: TruthKind = "auto",
    instance_class: str | int | None = None,
    border_class: str | int | None = None,
    void_colours: Sequence[tuple[int, int, int]] = (),
    resize: bool = True,
    reader: TruthReader | None = None,
    progress: Progress = no_progress,
    each: Callable[[ImageScore], object] | None = None,
    keep_bytes: int = 0,
) -> Scores:
    """Compare a network's answers with ground truth; images that can't be are listed with why.

    Parameters
    ----------
    network
        Made by `load` or `wrap`.
    pairs
        Images with their ground truth; `pairs_of` finds them. Stacks are scored plane by plane.
    truth_kind, instance_class, border_class, void_colours, resize
        How ground truth is read; see `class_labels`. All images are read alike.
    reader
        What reads it, in place of these; see `truth_reader`.
    progress, each
        Called before each image, and with the result of each as soon as it is there.
    keep_bytes
        How many bytes of predicted labels may be kept in the results: the first images'.
    """
    all_pairs = list(pairs)

    def shared_reader(plane: Pair) -> TruthReader:
        nonlocal reader
        if reader is None:
            # The classes are known once the network has seen an image.
            network.discover(plane.image.in_memory())
            reader = truth_reader(
                network, all_pairs, truth_kind=truth_kind, instance_class=instance_class,
                border_class=border_class, resize=resize, progress=progress,
                void_colours=tuple(tuple(colour) for colour in void_colours),
            )  # fmt: skip
        return reader

    room, results, failed = keep_bytes, list[ImageScore](), list[SkippedFile]()
    for number, pair in enumerate(all_pairs):
        progress(number, len(all_pairs), shortened(pair.name))
        try:
            for score in _scores_of_planes(network, pair, shared_reader):
                result = score if score.nbytes <= room else replace(score, labels=None)
                room -= result.nbytes
                results.append(result)
                if each is not None:
                    each(result)
        except NeuroscopeError as error:
            failed.append(SkippedFile(pair.name, str(error)))
    progress(len(all_pairs), len(all_pairs), "")
    return Scores(network.spec.task, tuple(network.class_names), results, failed)


def _scores_of_planes(
    network: Network, pair: Pair, shared_reader: Callable[[Pair], TruthReader]
) -> Iterator[ImageScore]:
    for plane in pair.planes(network):
        if plane.truth is None:
            raise NeuroscopeError(f"“{plane.name}” has no ground truth.")
        if network.spec.task == "classification":
            yield _score_of_class(network, plane)
        else:
            yield _score_of_pixels(network, plane, shared_reader(plane))


def truth_reader(
    network: Network,
    pairs: Sequence[Pair],
    *,
    truth_kind: TruthKind = "auto",
    progress: Progress = no_progress,
    **options: Any,
) -> TruthReader:
    """Return a reader that has seen the ground truth of all images, so that all are read alike.

    Parameters
    ----------
    network
        Whose classes they are.
    pairs
        The images.
    truth_kind, **options
        How ground truth is read; see `TruthReader`.
    progress
        Called as the ground truths are looked at, where the kind is to be found out.
    """
    reader = TruthReader.of(network, truth_kind, **options)
    if reader.kind != "auto":
        return reader
    for number, pair in enumerate(pairs):
        if reader.kind_of(()) == "instances":
            break
        if isinstance(pair.truth, Source):
            progress(number, len(pairs), f"Looking at the ground truth of {shortened(pair.name)}")
            try:
                reader = reader.with_numbers_of(pair.truth.read_truth())
            except NeuroscopeError:
                continue  # it is told of when its turn comes
    return reader


def _score_of_pixels(network: Network, pair: Pair, reader: TruthReader) -> ImageScore:
    prediction = network.predict(pair.image.in_memory())
    prediction.outputs.refuse_nan()
    shape = prediction.image.shape
    truth = reader.labels(read_truth_of(pair, network.class_names), shape)
    labels = prediction.labels
    confusion = Confusion.of(truth.labels, labels, network.class_names)
    return ImageScore(pair.name, pair, confusion, truth.notes, labels=labels.astype(np.int16))


def read_truth_of(pair: Pair, classes: Sequence[str]) -> Any:
    """Return what a pair's ground truth holds, as `class_labels` takes it.

    Raises
    ------
    NeuroscopeError
        Where it can't be read, or is one class for the whole image.
    """
    truth = pair.truth
    if isinstance(truth, Source):
        return truth.read_truth()
    if isinstance(truth, str | int) or truth is None:
        raise NeuroscopeError(
            f"The ground truth of “{pair.name}” is the class “{truth}”, but the network says the "
            f"class of each pixel; give an image of classes."
        )
    if all(source.name in classes for source in truth):
        return {source.name: source.read_truth() for source in truth}
    return [source.read_truth() for source in truth]


def _score_of_class(network: Network, pair: Pair) -> ImageScore:
    if not isinstance(pair.truth, str | int | np.integer):
        raise NeuroscopeError(
            f"The ground truth of “{pair.name}” is an image, but the network says one class for "
            f"the whole; give the name of its class."
        )
    prediction = network.predict(pair.image.in_memory())
    prediction.outputs.refuse_nan()
    names = network.class_names
    true = network.spec.class_index(pair.truth, len(names))
    confusion = Confusion.of([true], [int(prediction.labels)], names)
    rank = int(true_rank(prediction.scores, np.asarray(true)))
    return ImageScore(pair.name, pair, confusion, rank=rank)

"""Scoring a network on many images, one job an image, so that other work comes between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_neuroscope.engine.evaluation.scoring import Scores, score_images, truth_reader
from napari_neuroscope.engine.images.pairing.pair import Pair
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs


class ScoringJobs(QObject):
    """Scores images in the compute thread, and tells of each.

    `measured` brings the score of an image, `finished` the `Scores` of all, `failed` what stopped
    it. After a cancel none comes.
    """

    progressed = Signal(int, int, str)
    measured = Signal(object)
    finished = Signal(object)
    failed = Signal(object)
    idle = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._jobs = Jobs()
        self._running = False

    @property
    def busy(self) -> bool:
        """Whether images are left to score."""
        return self._running

    def start(self, network: Network, pairs: Sequence[Pair], reading: dict[str, Any]) -> None:
        """Score these images, in place of those before.

        Parameters
        ----------
        network
            What predicts.
        pairs
            Images with their ground truth.
        reading
            How that is read, as `truth_reader` takes it.
        """
        self._running = True

        def look(progress: Any) -> tuple[Scores, Any]:
            names = tuple(network.class_names)
            segments = network.spec.task == "segmentation"
            reader = (
                truth_reader(network, pairs, progress=progress, **reading) if segments else None
            )
            return Scores(network.spec.task, names), reader

        def looked(start: tuple[Scores, Any]) -> None:
            self._next(network, list(pairs), *start)

        self._jobs.submit("Looking at the ground truth", look, looked, self._stop)

    def cancel(self) -> None:
        """Leave the rest of the images."""
        self._running = False
        self._jobs.cancel()
        self.idle.emit()

    def close(self) -> None:
        """Cancel, and let go of the compute thread."""
        self._running = False
        self._jobs.close()

    def _next(self, network: Network, waiting: list[Pair], scores: Scores, reader: Any) -> None:
        done = len(scores.results) + len(scores.failed)
        if not waiting:
            self._running = False
            self.idle.emit()
            self.finished.emit(scores)
            return
        pair, *rest = waiting
        self.progressed.emit(done, done + len(waiting), pair.name)

        def measured(score: Scores) -> None:
            scores.results.extend(score.results)
            scores.failed.extend(score.failed)
            for result in score.results:
                self.measured.emit(result)
            self._next(network, rest, scores, reader)

        self._jobs.submit(
            pair.name,
            lambda progress: score_images(network, [pair], reader=reader, progress=progress),
            measured,
            self._stop,
        )

    def _stop(self, error: Exception) -> None:
        self._running = False
        self.idle.emit()
        self.failed.emit(error)

"""Judging explanations, one job a measure, so that figures come one by one and stay when stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_neuroscope.engine.errors import NeuroscopeError, Progress
from napari_neuroscope.engine.evaluation.evaluate import Row, measures
from napari_neuroscope.engine.evaluation.judging import (
    Judgement,
    judge,
    passes_of,
    rows_of,
    why_not_comparable,
)
from napari_neuroscope.engine.explanation import Explanation
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.engine.network import Network
from napari_neuroscope.viewer.planes import Shown
from napari_neuroscope.widgets.jobs import Jobs
from napari_neuroscope.widgets.session import Question

TruthOf = Callable[[Explanation], Any]
"""Returns where the classes of an explanation truly are, as `evaluate` takes it."""


@dataclass(frozen=True, eq=False)
class Case:
    """What is to be judged, taken at one moment.

    Attributes
    ----------
    network, shown
        The network, and the image that it looks at.
    source, place
        The image's layer, and where on its other axes maps lie.
    candidates
        Explanations that are there, and questions whose answers are to be judged.
    metrics
        What is measured.
    truth
        Where the classes truly are; None where that is not known.
    options
        More of the parameters of `evaluate`.
    """

    network: Network
    shown: Shown
    source: Any
    place: tuple[int, ...]
    candidates: tuple[Explanation | Question, ...]
    metrics: tuple[str, ...] = ()
    truth: TruthOf | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def image(self) -> Any:
        """Return the plane of the image that is looked at."""
        return self.shown.image(self.network)

    def explanations(self, progress: Progress) -> list[Explanation]:
        """Return all explanations, computing those that are not there yet."""
        return [answered(one, progress) for one in self.candidates]


def answered(candidate: Explanation | Question, progress: Progress) -> Explanation:
    """Return an explanation, computing it where it is a question yet."""
    return candidate if isinstance(candidate, Explanation) else candidate.answer(progress)


def title_of(candidate: Explanation | Question) -> str:
    """Return what people call it."""
    if isinstance(candidate, Explanation):
        return str(candidate.provenance["title"])
    return methods[candidate.method].title


class Judging(QObject):
    """Measures explanations in the compute thread, and tells of each figure.

    `changed` tells that the judgement has more in it, `finished` that it has all, `failed` what
    stopped it. After a cancel none comes.

    Attributes
    ----------
    case
        What is judged, or was last.
    judgement
        What is known of it.
    """

    progressed = Signal(int, int, str)
    changed = Signal()
    finished = Signal()
    failed = Signal(object)
    idle = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._jobs = Jobs()
        self._running = False
        self.case: Case | None = None
        self.judgement = Judgement(())
        self._first: Explanation | None = None
        self._pace = _Pace([])
        self._what = ""
        self._jobs.progressed.connect(self._progress)

    @property
    def busy(self) -> bool:
        """Whether something is left to measure."""
        return self._running

    def passes(self, case: Case) -> int:
        """Return about how many passes through the network a case takes."""
        return sum(_weights(case))

    def seconds_a_pass(self, case: Case) -> float | None:
        """Return how long a pass took the last time; None where that was of something else."""
        last = self.case
        if last is None or last.network is not case.network or last.source is not case.source:
            return None
        return self._pace.seconds()

    def start(self, case: Case) -> None:
        """Judge a case in place of the one before."""
        self.case, self.judgement = case, Judgement(case.metrics)
        self._running, self._first = True, None
        self._pace = _Pace(_weights(case))
        self._image: Any = None
        self._next(list(case.candidates))

    def cancel(self) -> None:
        """Leave the rest; what is measured stays."""
        self._running = False
        self._jobs.cancel()
        self.idle.emit()

    def close(self) -> None:
        """Cancel, and let go of the compute thread."""
        self._running = False
        self._jobs.close()

    def _next(self, waiting: list[Explanation | Question]) -> None:
        case = self.case
        assert case is not None
        if not waiting:
            self._running = False
            self.idle.emit()
            self.finished.emit()
            return
        candidate, *rest = waiting
        title, first = title_of(candidate), self._first

        def look(progress: Progress) -> tuple[Explanation, list[Row]] | str:
            if self._image is None:
                self._image = case.image()
            try:
                explanation = answered(candidate, progress)
                if problem := why_not_comparable([first or explanation, explanation]):
                    return problem
                return explanation, rows_of(case.network, self._image, explanation)
            except NeuroscopeError as error:
                return str(error)

        def looked(found: tuple[Explanation, list[Row]] | str) -> None:
            self._pace.step()
            if isinstance(found, str):
                self.judgement.left_out.append(found)
                self._pace.skip(len(case.metrics))
                self.changed.emit()
                self._next(rest)
                return
            explanation, rows = found
            self._first = self._first or explanation
            numbers = self.judgement.add(rows)
            self.changed.emit()
            self._measure(explanation, numbers, list(case.metrics), rest)

        self._submit(f"explaining by {title}", look, looked)

    def _measure(
        self,
        explanation: Explanation,
        numbers: Sequence[int],
        metrics: list[str],
        waiting: list[Explanation | Question],
    ) -> None:
        case, image = self.case, self._image
        assert case is not None
        if not metrics:
            self._next(waiting)
            return
        metric, *rest = metrics

        def work(progress: Progress) -> list[Row] | str:
            truth = None
            if measures[metric].needs_truth and case.truth is not None:
                try:
                    truth = case.truth(explanation)
                except NeuroscopeError as error:
                    return f"N/a: {error}"
            return judge(
                case.network, image, explanation, metric, ground_truth=truth,
                options=case.options, progress=progress,
            )  # fmt: skip

        def done(found: list[Row] | str) -> None:
            self._pace.step()
            self.judgement.take(numbers, metric, found)
            self.changed.emit()
            self._measure(explanation, numbers, rest, waiting)

        title = explanation.provenance["title"]
        self._submit(f"{measures[metric].title.lower()} of {title}", work, done)

    def _submit(self, what: str, work: Callable[[Progress], Any], done: Any) -> None:
        self._what = what
        self._progress(0, 1, "")
        self._jobs.submit(what, work, done, self._stop)

    def _progress(self, done: int, total: int, _: str) -> None:
        share = self._pace.share(done / total if total else 0.0)
        left = self._pace.left(share)
        words = f"{self._what}{f', {left}' if left else ''}"
        self.progressed.emit(round(1000 * share), 1000, words)

    def _stop(self, error: Exception) -> None:
        self._running = False
        self.idle.emit()
        self.failed.emit(error)


def _weights(case: Case) -> list[int]:
    """Return about how many passes each step takes: an explanation, and each of its measures."""
    each = [passes_of(metric, case.options) for metric in case.metrics]
    return [1, *each] * len(case.candidates)


class _Pace:
    """How far work of several steps is, and how long the rest will take at the pace so far.

    Parameters
    ----------
    weights
        How much work each step is, in any unit.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        self._weights, self._at = list(weights), 0
        self._begun = self._stepped = time.monotonic()

    def step(self) -> None:
        """Go on to the next step."""
        self._at += 1
        self._stepped = time.monotonic()

    def seconds(self) -> float | None:
        """Return how long a unit of the work took so far; None where none is done."""
        done = sum(self._weights[: self._at])
        return (self._stepped - self._begun) / done if done else None

    def skip(self, count: int) -> None:
        """Leave steps that are not done after all."""
        del self._weights[self._at : self._at + count]

    def share(self, within: float) -> float:
        """Return the share of the work that is done, so far within the step."""
        now = self._weights[self._at] * within if self._at < len(self._weights) else 0.0
        return (sum(self._weights[: self._at]) + now) / max(sum(self._weights), 1e-9)

    def left(self, share: float) -> str:
        """Return how long the rest will take, in words; "" where that can't be told yet."""
        spent = time.monotonic() - self._begun
        if spent < 2 or share < 0.02:
            return ""
        return f"about {in_time(spent / share * (1 - share))} left"


def in_time(seconds: float) -> str:
    """Return a time in words."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min"

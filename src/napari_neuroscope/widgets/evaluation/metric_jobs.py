"""Measuring explanations, one job a metric, so that figures come one by one and stay when stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_neuroscope.engine.errors import NeuroscopeError, Progress
from napari_neuroscope.engine.evaluation.comparability import why_not_comparable
from napari_neuroscope.engine.evaluation.evaluation import MapResults
from napari_neuroscope.engine.evaluation.metric_registry import metrics
from napari_neuroscope.engine.evaluation.partial_evaluation import (
    PartialEvaluation,
    results_or_reason,
    unmeasured,
)
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.session.question import Question
from napari_neuroscope.widgets.evaluation.case import Case, answered, title_of, weights_of
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs
from napari_neuroscope.widgets.parts.jobs.long_work import TimeLeft


class MetricJobs(QObject):
    """Measures explanations in the compute thread, and tells of each figure.

    `changed` tells that the evaluation has more in it, `finished` that it has all, `failed` what
    stopped it. After a cancel none comes.

    Attributes
    ----------
    case
        What is measured, or was last.
    evaluation
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
        self.evaluation = PartialEvaluation(())
        self._first: Explanation | None = None
        self._steps, self._left = _Steps([]), TimeLeft()
        self._what = ""
        self._jobs.progressed.connect(self._progress)

    @property
    def busy(self) -> bool:
        """Whether something is left to measure."""
        return self._running

    def start(self, case: Case) -> None:
        """Measure a case in place of the one before."""
        self.case, self.evaluation = case, PartialEvaluation(case.metrics)
        self._running, self._first = True, None
        self._steps, self._left = _Steps(weights_of(case)), TimeLeft()
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

        def look(progress: Progress) -> tuple[Explanation, list[MapResults]] | str:
            if self._image is None:
                self._image = case.image()
            try:
                explanation = answered(candidate, progress)
                if problem := why_not_comparable([first or explanation, explanation]):
                    return problem
                return explanation, unmeasured(case.network, self._image, explanation)
            except NeuroscopeError as error:
                return str(error)

        def looked(outcome: tuple[Explanation, list[MapResults]] | str) -> None:
            self._steps.step()
            if isinstance(outcome, str):
                self.evaluation.left_out.append(outcome)
                self._steps.skip(len(case.metrics))
                self._tell(case, lambda: self._next(rest))
                return
            explanation, rows = outcome
            self._first = self._first or explanation
            numbers = self.evaluation.add(rows)
            measure = list(case.metrics)
            self._tell(case, lambda: self._measure(explanation, numbers, measure, rest))

        self._submit(f"explaining by {title}", look, looked)

    def _measure(
        self,
        explanation: Explanation,
        numbers: Sequence[int],
        names: list[str],
        waiting: list[Explanation | Question],
    ) -> None:
        case, image = self.case, self._image
        assert case is not None
        if not names:
            self._next(waiting)
            return
        metric, *rest = names

        def work(progress: Progress) -> list[MapResults] | str:
            truth = None
            if metrics[metric].needs_truth and case.truth is not None:
                try:
                    truth = case.truth(explanation)
                except NeuroscopeError as error:
                    return f"N/a: {error}"
            return results_or_reason(
                case.network, image, explanation, metric, ground_truth=truth,
                options=case.options, progress=progress,
            )  # fmt: skip

        def done(outcome: list[MapResults] | str) -> None:
            self._steps.step()
            self.evaluation.take(numbers, metric, outcome)
            self._tell(case, lambda: self._measure(explanation, numbers, rest, waiting))

        title = explanation.record.title
        self._submit(f"{metrics[metric].title.lower()} of {title}", work, done)

    def _tell(self, case: Case, go_on: Callable[[], None]) -> None:
        """Tell that there is more, and go on unless who was told has stopped it."""
        self.changed.emit()
        if self._running and self.case is case:
            go_on()

    def _submit(self, what: str, work: Callable[[Progress], Any], done: Any) -> None:
        self._what = what
        self._progress(0, 1, "")
        self._jobs.submit(what, work, done, self._stop)

    def _progress(self, done: int, total: int, _: str) -> None:
        share = round(1000 * self._steps.share(done / total if total else 0.0))
        left = self._left(share, 1000, "")
        words = f"{self._what}, {left} left" if left else self._what
        self.progressed.emit(share, 1000, words)

    def _stop(self, error: Exception) -> None:
        self._running = False
        self.idle.emit()
        self.failed.emit(error)


class _Steps:
    """How far work of several steps is.

    Parameters
    ----------
    weights
        How much work each step is, in any unit.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        self._weights, self._at = list(weights), 0

    def step(self) -> None:
        """Go on to the next step."""
        self._at += 1

    def skip(self, count: int) -> None:
        """Leave steps that are not done after all."""
        del self._weights[self._at : self._at + count]

    def share(self, within: float) -> float:
        """Return the share of the work that is done, so far within the step."""
        now = self._weights[self._at] * within if self._at < len(self._weights) else 0.0
        return (sum(self._weights[: self._at]) + now) / max(sum(self._weights), 1e-9)

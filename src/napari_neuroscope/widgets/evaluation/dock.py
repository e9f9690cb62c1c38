"""Which explanation can be believed: maps measured, compared and joined."""

from __future__ import annotations

import napari
from qtpy.QtWidgets import QTabWidget

from napari_neuroscope.engine.errors import NeuroscopeError, Progress
from napari_neuroscope.engine.evaluation.comparability import why_not_comparable
from napari_neuroscope.engine.evaluation.consensus import Consensus, consensus
from napari_neuroscope.engine.evaluation.partial_evaluation import PartialEvaluation
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.methods.interface import Needs
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.session.question import Question, request_for
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.image.shown_image import ShownImage
from napari_neuroscope.viewer.layers.maps.layer_manager import LayerManager
from napari_neuroscope.viewer.state.layer_origin import explained_by
from napari_neuroscope.viewer.state.randomisation_warnings import FailedChecks
from napari_neuroscope.viewer.state.viewer_state import state_of
from napari_neuroscope.widgets.evaluation.case import Case, weights_of
from napari_neuroscope.widgets.evaluation.choice import EvaluationChoice
from napari_neuroscope.widgets.evaluation.metric_jobs import MetricJobs
from napari_neuroscope.widgets.evaluation.metric_table import titles_of
from napari_neuroscope.widgets.evaluation.results import EvaluationResults
from napari_neuroscope.widgets.parts.dock import Dock
from napari_neuroscope.widgets.parts.form import button, row
from napari_neuroscope.widgets.parts.jobs.long_work import duration
from napari_neuroscope.widgets.parts.labels import note
from napari_neuroscope.widgets.parts.notices import tell_error
from napari_neuroscope.widgets.parts.progress import JobProgress

_DELAY_MS = 100


class EvaluationDock(Dock):
    """Measures explanations of an image, shows what was measured, and joins them.

    Parameters
    ----------
    napari_viewer
        The viewer.
    session
        What is chosen; the viewer's if not given.

    Attributes
    ----------
    metric_jobs
        Measures, one metric after the other.
    choice, results
        What is chosen to be measured, and what was measured.
    estimate
        Says how long it will take, or what is still to be chosen.
    measure_button, join_button
        Begin.
    """

    name = "evaluation"

    def __init__(self, napari_viewer: napari.viewer.Viewer, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        self.metric_jobs = self.owned(MetricJobs())
        self._layer_manager = self.owned(LayerManager(napari_viewer))
        self._doubts = state_of(napari_viewer, FailedChecks)
        self._build()
        self._list_soon = self.debounced(self._list, _DELAY_MS)
        self._connect()
        self._list()
        self.choice.layer_list.choose(self.choice.layer_list.values()[:1])

    def _build(self) -> None:
        self.estimate = note()
        self.choice = EvaluationChoice(self._viewer, self.session)
        self.results = EvaluationResults(
            self._viewer,
            self.metric_jobs,
            self._layer_manager,
            self.jobs,
            self.message.setText,
            self.fail,
        )
        self.measure_button = button(
            "Measure", "Measure what is chosen; figures come as they are found.", self.measure
        )
        self.join_button = button(
            "Consensus",
            "Show the mean of the ranks of what is chosen, and where the maps disagree.",
            self.join,
        )
        cancel = button("Cancel", "Stop; what is measured stays.", self.cancel)
        self.progress = JobProgress(lambda: self.busy, cancel, _progress_words)
        self.tabs = QTabWidget()
        self.tabs.addTab(self.choice, "Choose")
        self.tabs.addTab(self.results, "Results")
        self.lay_out(
            self.tabs,
            self.estimate,
            row(self.measure_button, cancel, self.join_button),
            self.progress,
            self.message,
            stretch=self.tabs,
            width=360,
        )

    def _connect(self) -> None:
        layers, events = self._viewer.layers.events, self.session.events
        self.follow_each(
            (layers.inserted, layers.removed, layers.reordered, events.network,
             events.explanation, events.comparison, events.network_summary),
            self._listed_soon,
        )  # fmt: skip
        self.follow_each(
            (events.method, events.options, events.layers, events.classes, events.region,
             events.labels, events.score, events.image),
            self._take,
        )  # fmt: skip
        self.follow(self._viewer.events.theme, self._draw)
        self.follow(self._viewer.dims.events.current_step, self._mark)
        self.choice.changed.connect(self._take)
        self.metric_jobs.changed.connect(self._show_evaluation)
        self.metric_jobs.finished.connect(self._say_outcome)
        self.metric_jobs.failed.connect(self.fail)
        for jobs in (self.metric_jobs, self.jobs):
            self.progress.follow(jobs)

    # --- what is chosen ---

    @property
    def evaluation(self) -> PartialEvaluation:
        """What is measured so far."""
        return self.metric_jobs.evaluation

    @property
    def busy(self) -> bool:
        """Whether something is computed."""
        return self.jobs.busy or self.metric_jobs.busy

    def _listed_soon(self) -> None:
        self._list_soon()

    def _list(self) -> None:
        self.choice.list_all()
        for layer in self._viewer.layers:
            self.follow(layer.events.name, self._listed_soon)
        self._take()

    def _take(self) -> None:
        """Say what is still to be chosen, or how long it will take."""
        try:
            case = self.case(with_truth=False)
        except NeuroscopeError as error:
            self.estimate.setText(str(error))
            self.measure_button.setEnabled(False)
            self.join_button.setEnabled(False)
            return
        self.estimate.setText(
            self._in_passes(case) if case.metrics else "Choose at least one measure."
        )
        self.measure_button.setEnabled(bool(case.metrics))
        self.join_button.setEnabled(len(case.candidates) > 1 or _has_several(case.candidates[0]))

    def _in_passes(self, case: Case) -> str:
        count, passes = len(case.candidates), sum(weights_of(case))
        words = f"{count} explanation{'s' if count > 1 else ''}: about {passes:,.0f} passes"
        summary = self.session.network_summary
        if summary is None or summary.pace is None or summary.network is not case.network:
            return f"{words}."
        return f"{words}, {duration(summary.pace.seconds * passes)}."

    def case(self, *, with_truth: bool = True) -> Case:
        """Return what would be measured now, perhaps without reading where classes truly are.

        Raises
        ------
        NeuroscopeError
            Where something is still to be chosen, or what is chosen can't be compared.
        """
        origins = [origin for layer in self.choice.layers()
                   if layer in self._viewer.layers and (origin := explained_by(layer))]  # fmt: skip
        questions = self._questions()
        explanations = [origin.explanation for origin in origins]
        if problem := why_not_comparable(explanations):
            raise NeuroscopeError(problem)
        if origins:
            origin = origins[0]
            network, image, source = origin.network, origin.shown, origin.source
            place = origin.place
        elif questions:
            question = questions[0]
            network, image, source = question.network, question.shown, question.source
            place = question.place()
        else:
            raise NeuroscopeError(
                "Choose maps in the viewer, or methods to compare; maps come from the dock "
                "“Neuroscope”."
            )
        if source not in self._viewer.layers:
            raise NeuroscopeError("The image of these maps was removed; explain another.")
        choice, options, summary = self.choice, self.choice.options(), self.session.network_summary
        shape = image.sides(network)
        if summary is not None and summary.pace is not None and summary.network is network:
            options["batch"], shape = summary.pace.batch, summary.pace.shape
        return Case(
            network, image, source, place, (*explanations, *questions), choice.metrics(),
            choice.truth(network, source) if with_truth else None, options, shape,
        )  # fmt: skip

    def _questions(self) -> list[Question]:
        """Return a question for each method that is chosen, with the session's target and layer."""
        names, session = self.choice.methods(), self.session
        if not names:
            return []
        network, image = session.network, session.image
        if network is None or image is None or image not in self._viewer.layers:
            raise NeuroscopeError(
                "Choose a network and an image in the dock “Neuroscope” to compare methods."
            )
        if not session.classes:
            raise NeuroscopeError("Choose at least one class in the dock “Neuroscope”.")
        targets, shown = session.targets(network, self._viewer), ShownImage.of(image, self._viewer)
        questions = []
        for name in names:
            options = dict(session.options) if name == session.method else {}
            needs = methods[name].needs_with(options)
            if Needs.LAYER in needs and not session.layers:
                raise NeuroscopeError("Choose at least one layer in the dock “Neuroscope”.")
            layers = session.layers if Needs.LAYER in needs else ()
            questions.append(
                Question(network, shown, image, request_for(name, options, layers, targets))
            )
        return questions

    # --- what is computed ---

    def measure(self) -> None:
        """Measure what is chosen."""
        try:
            case = self.case()
        except NeuroscopeError as error:
            self.fail(error)
            return
        self.tabs.setCurrentWidget(self.results)
        self.message.clear()
        self.metric_jobs.start(case)
        self._show_evaluation()

    def cancel(self) -> None:
        """Stop what is computed; what is measured stays."""
        if self.busy:
            self.metric_jobs.cancel()
            self.jobs.cancel()
            self.message.setText("Stopped; the figures that were found stay.")

    def join(self) -> None:
        """Show what the chosen explanations agree on, and where they don't."""
        try:
            case = self.case()
        except NeuroscopeError as error:
            self.fail(error)
            return

        def work(progress: Progress) -> Consensus:
            explanations = case.explanations(progress)
            if problem := why_not_comparable(explanations):
                raise NeuroscopeError(problem)
            return consensus(explanations)

        self.jobs.submit(
            "Consensus", work, lambda answer: self._show_consensus(case, answer), self.fail
        )

    # --- what is shown ---

    def _show_consensus(self, case: Case, answer: Consensus) -> None:
        if case.source not in self._viewer.layers:
            self.message.setText("The image was removed while its maps were joined.")
            return
        for part in (answer.disagreement, answer.mean):
            slot = ("consensus", part.method, str(case.source.unique_id))
            new = self._layer_manager.layer((*slot, "0")) is None
            (layer,) = self._layer_manager.show(part.to_layer_data(case.source, case.place), slot)
            if new and part is answer.disagreement:
                # One map at a time is to be seen; this one waits.
                layer.visible = False
        members = answer.mean.record.of or ()
        words = f"Consensus of {', '.join(member.title for member in members)}."
        doubted = [member.title for member in members if self._doubts.about(member)]
        if doubted:
            words += f"\n⚠ Of these failed the randomisation check: {', '.join(doubted)}."
        self.message.setText(words)

    def _show_evaluation(self) -> None:
        """Show the figures that there are."""
        self.results.refresh()
        self._doubts.take(self.evaluation.rows, self._viewer.layers)

    def _say_outcome(self) -> None:
        lines, rows = list(self.evaluation.left_out), self.evaluation.rows
        failed = [title for title, row in zip(titles_of(rows), rows, strict=True)
                  if row.sanity is not None and row.sanity.passed is False]  # fmt: skip
        if failed:
            lines.append(f"⚠ The randomisation check on this image fails for {', '.join(failed)}.")
        lines += [f"Note: {words}." for words in self.evaluation.evaluation().notes]
        self.message.setText("\n".join(lines))
        self._take()

    def _draw(self) -> None:
        self.results.draw()

    def _mark(self) -> None:
        self.results.mark()

    def fail(self, error: Exception) -> None:
        """Say what went wrong, also at the window's edge."""
        super().fail(error)
        tell_error(self.message.text())


def _progress_words(_: int, total: int, what: str) -> str:
    return f"%p% {what}" if total else what


def _has_several(candidate: Explanation | Question) -> bool:
    """Whether there are several maps in it."""
    if isinstance(candidate, Question):
        return len(candidate.targets) > 1 or len(candidate.layers) > 1
    return bool(set(candidate.axes) & {"class", "layer"})

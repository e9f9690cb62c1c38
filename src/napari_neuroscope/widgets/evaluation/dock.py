"""Which explanation can be believed: maps measured, compared and joined."""

from __future__ import annotations

from typing import Any

import napari
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QTabWidget, QVBoxLayout

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.evaluation.comparability import why_not_comparable
from napari_neuroscope.engine.evaluation.consensus import Consensus, consensus
from napari_neuroscope.engine.evaluation.partial_evaluation import PartialEvaluation
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.methods.interface import Needs
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.session.question import Question
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.image.shown_image import ShownImage
from napari_neuroscope.viewer.layers.layer_manager import LayerManager
from napari_neuroscope.viewer.state.layer_origin import explained_by
from napari_neuroscope.viewer.state.randomisation_warnings import FailedChecks
from napari_neuroscope.viewer.state.viewer_state import state_of
from napari_neuroscope.widgets.evaluation.choice import EvaluationChoice
from napari_neuroscope.widgets.evaluation.metric_jobs import Case, MetricJobs, weights_of
from napari_neuroscope.widgets.evaluation.metric_table import titles_of
from napari_neuroscope.widgets.evaluation.results import EvaluationResults
from napari_neuroscope.widgets.parts.dock import Dock
from napari_neuroscope.widgets.parts.jobs.long_work import duration
from napari_neuroscope.widgets.parts.labels import note, on_line
from napari_neuroscope.widgets.parts.notices import tell_error
from napari_neuroscope.widgets.parts.sentences import in_a_sentence

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
    judging
        Measures, one figure after the other.
    choice, results
        What is chosen to be judged, and what was measured.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        self.judging = MetricJobs()
        self._layer_manager = LayerManager(napari_viewer)
        self._doubts = state_of(napari_viewer, FailedChecks)
        self._build()
        self._list_soon = self.debounced(self._list, _DELAY_MS)
        self._follow_all()
        for part in (self._layer_manager, self.judging):
            self.at_end(part.close)
        self._list()
        self.choice.layer_list.choose(self.choice.layer_list.values()[:1])

    def _build(self) -> None:
        self.setObjectName("neuroscope-evaluation")
        self._estimate, self._note = note(), note(selectable=True)
        self.choice = EvaluationChoice(self._viewer, self.session)
        self.results = EvaluationResults(
            self._viewer, self.judging, self._layer_manager, self.jobs, self._note.setText,
            self._show_failure,
        )  # fmt: skip
        self._measure = QPushButton("Measure")
        self._measure.setToolTip("Measure what is chosen; figures come as they are found.")
        self._measure.clicked.connect(self.measure)
        self._cancel = QPushButton("Cancel")
        self._cancel.setToolTip("Stop; what is measured stays.")
        self._cancel.setEnabled(False)
        self._cancel.clicked.connect(self.cancel)
        self._join = QPushButton("Consensus")
        self._join.setToolTip(
            "Show the mean of the ranks of what is chosen, and where the maps disagree."
        )
        self._join.clicked.connect(self.join)
        self._progress = QProgressBar()
        self._progress.setVisible(False)
        self.tabs = QTabWidget()
        self.tabs.addTab(self.choice, "Choose")
        self.tabs.addTab(self.results, "Results")
        buttons = QHBoxLayout()
        for button in (self._measure, self._cancel, self._join):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(self.tabs, 1)
        layout.addWidget(self._estimate)
        layout.addLayout(buttons)
        layout.addWidget(self._progress)
        layout.addWidget(self._note)
        self.setMinimumWidth(360)

    def _follow_all(self) -> None:
        layers, events = self._viewer.layers.events, self.session.events
        for signal in (layers.inserted, layers.removed, layers.reordered, events.network,
                       events.explanation, events.comparison, events.network_summary):  # fmt: skip
            self.follow(signal, self._listed_soon)
        for signal in (events.method, events.options, events.layers, events.classes, events.region,
                       events.labels, events.score, events.image):  # fmt: skip
            self.follow(signal, self._take)
        self.follow(self._viewer.events.theme, self._draw)
        self.follow(self._viewer.dims.events.current_step, self._mark)
        self.choice.changed.connect(self._take)
        self.judging.progressed.connect(self._show_progress)
        self.judging.changed.connect(self._show_judgement)
        self.judging.finished.connect(self._say_outcome)
        self.judging.failed.connect(self._show_failure)
        self.judging.idle.connect(self._show_idle)
        self.jobs.started.connect(lambda what: self._show_progress(0, 0, what))
        self.jobs.progressed.connect(self._show_progress)
        self.jobs.idle.connect(self._show_idle)

    # --- what is chosen ---

    @property
    def judgement(self) -> PartialEvaluation:
        """What is measured so far."""
        return self.judging.judgement

    @property
    def busy(self) -> bool:
        """Whether something is computed."""
        return self.jobs.busy or self.judging.busy

    def _listed_soon(self, *_: Any) -> None:
        if not self.closed:
            self._list_soon()

    def _list(self) -> None:
        if self.closed:
            return
        self.choice.list_all()
        for layer in self._viewer.layers:
            self.follow(layer.events.name, self._listed_soon)
        self._take()

    def _take(self, *_: Any) -> None:
        """Say what is still to be chosen, or how long it will take."""
        if self.closed:
            return
        try:
            case = self.case(with_truth=False)
        except NeuroscopeError as error:
            self._estimate.setText(str(error))
            self._measure.setEnabled(False)
            self._join.setEnabled(False)
            return
        self._estimate.setText(
            self._in_passes(case) if case.metrics else "Choose at least one measure."
        )
        self._measure.setEnabled(bool(case.metrics))
        self._join.setEnabled(len(case.candidates) > 1 or _has_several(case.candidates[0]))

    def _in_passes(self, case: Case) -> str:
        count, passes = len(case.candidates), sum(weights_of(case))
        words = f"{count} explanation{'s' if count > 1 else ''}: about {passes:,.0f} passes"
        findings = self.session.network_summary
        if findings is None or findings.pace is None or findings.network is not case.network:
            return f"{words}."
        return f"{words}, {duration(findings.pace.seconds * passes)}."

    def case(self, *, with_truth: bool = True) -> Case:
        """Return what would be judged now, perhaps without reading where classes truly are.

        Raises
        ------
        NeuroscopeError
            Where something is still to be chosen, or what is chosen can't be compared.
        """
        shown = [found for layer in self.choice.layers()
                 if layer in self._viewer.layers and (found := explained_by(layer))]  # fmt: skip
        questions = self._questions()
        explanations = [one.explanation for one in shown]
        if problem := why_not_comparable(explanations):
            raise NeuroscopeError(problem)
        if shown:
            of = shown[0]
            network, image, source, place = of.network, of.shown, of.source, of.place
        elif questions:
            of_all = questions[0]
            network, image, source = of_all.network, of_all.shown, of_all.source
            place = of_all.place()
        else:
            raise NeuroscopeError(
                "Choose maps in the viewer, or methods to compare; maps come from the dock "
                "“Neuroscope”."
            )
        if source not in self._viewer.layers:
            raise NeuroscopeError("The image of these maps was removed; explain another.")
        choice, options, findings = self.choice, self.choice.options(), self.session.network_summary
        shape = image.sides(network)
        if findings is not None and findings.pace is not None and findings.network is network:
            options["batch"], shape = findings.pace.batch, findings.pace.shape
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
        found = []
        for name in names:
            options = dict(session.options) if name == session.method else {}
            needs = methods[name].needs_with(options)
            if Needs.LAYER in needs and not session.layers:
                raise NeuroscopeError("Choose at least one layer in the dock “Neuroscope”.")
            layers = session.layers if Needs.LAYER in needs else ()
            found.append(Question(network, shown, image, name, options, layers, targets))
        return found

    # --- what is computed ---

    def measure(self) -> None:
        """Measure what is chosen."""
        try:
            case = self.case()
        except NeuroscopeError as error:
            self._show_failure(error)
            return
        self.tabs.setCurrentWidget(self.results)
        self._note.clear()
        self.judging.start(case)
        self._show_judgement()

    def cancel(self) -> None:
        """Stop what is computed; what is measured stays."""
        if self.busy:
            self.judging.cancel()
            self.jobs.cancel()
            self._note.setText("Stopped; the figures that were found stay.")

    def join(self) -> None:
        """Show what the chosen explanations agree on, and where they don't."""
        try:
            case = self.case()
        except NeuroscopeError as error:
            self._show_failure(error)
            return

        def work(progress: Any) -> Consensus:
            explanations = case.explanations(progress)
            if problem := why_not_comparable(explanations):
                raise NeuroscopeError(problem)
            return consensus(explanations)

        self.jobs.submit(
            "Consensus", work, lambda found: self._show_consensus(case, found), self._show_failure
        )

    # --- what is shown ---

    def _show_consensus(self, case: Case, found: Consensus) -> None:
        if self.closed:
            return
        if case.source not in self._viewer.layers:
            self._note.setText("The image was removed while its maps were joined.")
            return
        for part in (found.disagreement, found.mean):
            slot = ("consensus", part.method, str(case.source.unique_id))
            new = self._layer_manager.layer((*slot, "0")) is None
            (layer,) = self._layer_manager.show(part.to_layer_data(case.source, case.place), slot)
            if new and part is found.disagreement:
                # One map at a time is to be seen; this one waits.
                layer.visible = False
        members = found.mean.provenance["of"]
        words = f"Consensus of {', '.join(member['title'] for member in members)}."
        doubted = [member["title"] for member in members if self._doubts.about(member)]
        if doubted:
            words += f"\n⚠ Of these failed the randomisation check: {', '.join(doubted)}."
        self._note.setText(words)

    def _show_judgement(self) -> None:
        """Show the figures that there are."""
        if not self.closed:
            self.results.refresh()
            self._doubts.take(self.judgement.rows, self._viewer.layers)

    def _say_outcome(self) -> None:
        if self.closed:
            return
        lines, rows = list(self.judgement.left_out), self.judgement.rows
        failed = [title for title, row in zip(titles_of(rows), rows, strict=True)
                  if row.sanity is not None and row.sanity.passed is False]  # fmt: skip
        if failed:
            lines.append(f"⚠ The randomisation check on this image fails for {', '.join(failed)}.")
        lines += [f"Note: {words}." for words in self.judgement.evaluation().notes]
        self._note.setText("\n".join(lines))
        self._take()

    def _draw(self, *_: Any) -> None:
        if not self.closed:
            self.results.draw()

    def _mark(self, *_: Any) -> None:
        if not self.closed:
            self.results.mark()

    def _show_progress(self, done: int, total: int, what: str) -> None:
        self._progress.setRange(0, total)
        self._progress.setFormat(on_line(f"%p% {what}" if total else what))
        self._progress.setValue(done)
        self._progress.setVisible(True)
        self._cancel.setEnabled(True)

    def _show_idle(self) -> None:
        if not self.busy:
            self._progress.setVisible(False)
            self._cancel.setEnabled(False)

    def _show_failure(self, error: Exception) -> None:
        if self.closed:
            return
        text = in_a_sentence(error)
        self._note.setText(text)
        tell_error(text)


def _has_several(candidate: Explanation | Question) -> bool:
    """Whether there are several maps in it."""
    if isinstance(candidate, Question):
        return len(candidate.targets) > 1 or len(candidate.layers) > 1
    return bool(set(candidate.axes) & {"class", "layer"})

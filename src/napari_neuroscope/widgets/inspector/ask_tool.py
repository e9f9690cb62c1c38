"""The buttons that ask by a click on the image, and about every instance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.methods.registry import methods
from napari_neuroscope.session.click_question import (
    AllInstances,
    ClickQuestion,
    true_class_of_error,
)
from napari_neuroscope.session.question import Question
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.image.clicks import Clicks
from napari_neuroscope.viewer.image.layer_regions import may_be_instances
from napari_neuroscope.viewer.image.painted_labels import PaintedRegions
from napari_neuroscope.viewer.layers.asked_points import AskedPoints
from napari_neuroscope.viewer.layers.instance_table import add_table
from napari_neuroscope.widgets.inspector.answer_view import AnswerView
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs
from napari_neuroscope.widgets.parts.jobs.progressive_answer import ProgressiveAnswer

_WAITS = "Choose a network and an image first."
_CLASSIFIER = "A classifier answers once for the whole image, wherever it is clicked: use Explain."


class AskTool(QWidget):
    """Asks why the network says what it says where one clicks, and in every instance.

    Parameters
    ----------
    viewer, session, jobs, answers, progressive
        The inspector's.
    question
        Returns what is asked but for the target, or raises with what is missing.
    """

    def __init__(
        self,
        viewer: Any,
        session: Session,
        jobs: Jobs,
        answers: AnswerView,
        progressive: ProgressiveAnswer,
        question: Callable[[], Question],
    ) -> None:
        super().__init__()
        self._viewer, self._session, self._jobs = viewer, session, jobs
        self._answers, self._progressive, self._question = answers, progressive, question
        self._clicks = Clicks(viewer, self.ask_at)
        self._questions = AskedPoints(viewer)
        self.ask = QPushButton("Ask by clicking")
        self.ask.setCheckable(True)
        self.ask.toggled.connect(self._switch)
        self.every = QPushButton("Ask about every instance")
        self.every.clicked.connect(self.ask_about_all)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.ask)
        row.addWidget(self.every)
        self.refresh()

    def refresh(self, *_: Any) -> None:
        """Offer what can be asked of the chosen network, and say why the rest can't."""
        network, labels = self._session.network, self._session.labels
        ready = network is not None and self._session.network_summary is not None
        segments = network is not None and network.spec.task == "segmentation"
        reason = _WAITS if not ready else "" if segments else _CLASSIFIER
        if segments or network is None:
            # A network that is only being looked at leaves the tool as it is.
            self.ask.setEnabled(segments or self.ask.isChecked())
        else:
            self.ask.setChecked(False)
            self.ask.setEnabled(False)
        self.ask.setToolTip(
            reason
            or "While this is on, a click on the image asks why its pixel (or, with Labels chosen "
            "under Target, the instance there) is what it is predicted to be."
        )
        has_instances = labels is not None and may_be_instances(labels)
        self.every.setEnabled(ready and segments and has_instances)
        self.every.setToolTip(
            reason
            or "Adds the answer for each instance to the features of the labels: see Layers > "
            "Visualize > Features table."
            if has_instances
            else reason or "Choose the instances first: Labels, under Target."
        )

    def close_work(self) -> None:
        """Follow clicks no longer."""
        self._clicks.switch(False)

    def _switch(self, on: bool) -> None:
        self._clicks.switch(on)
        if on:
            self._answers.say(
                "Click on the image to ask why it is predicted to be what it is there."
            )

    def ask_at(self, position: tuple[float, ...], flat: bool = True) -> None:
        """Ask about the pixel, or the instance, at a position of the world."""
        try:
            clicked = self._clicked(position, flat)
        except NeuroscopeError as error:
            self._answers.fail(error)
            return
        title = methods[clicked.question.method].title
        self._progressive.submit(
            f"{title} at the click",
            clicked.question,
            clicked.answer,
            _slot(clicked.question),
            lambda answer: self._show(clicked, *answer),
            self._answers.fail,
        )

    def _clicked(self, position: tuple[float, ...], flat: bool) -> ClickQuestion:
        question = self._question()
        if question.network.spec.task != "segmentation":
            raise NeuroscopeError(_CLASSIFIER)
        if not flat:
            raise NeuroscopeError("A click in 3D meets no single pixel; switch to the 2D view.")
        pixels = self._session.pixels(question.network, self._viewer)
        pixel = pixels.at(position)
        if pixel is None:
            raise NeuroscopeError(
                f"The click is outside of the image “{pixels.name}”; click on the image."
            )
        labels = self._session.labels
        true_class = true_class_of_error(self._session, pixels, pixel, self._viewer)
        instances = None
        if true_class is None and labels is not None and may_be_instances(labels):
            instances = PaintedRegions.of(labels, pixels, self._viewer)
        score: Any = self._session.score
        return ClickQuestion(question, pixels, pixel, score, instances, true_class)

    def _show(self, clicked: ClickQuestion, explanation: Explanation, row: dict[str, Any]) -> None:
        question = clicked.question
        if not self._answers.show(question, explanation, _slot(question)):
            return
        axes = tuple(question.network.spec.input.space)
        self._questions.add(question.source, axes, clicked.pixels, clicked.pixel, row)
        self._answers.say_answer(explanation)

    def ask_about_all(self) -> None:
        """Ask about every instance of the chosen labels, for a table in their features."""
        labels = self._session.labels
        try:
            question = self._question()
            if labels is None or not may_be_instances(labels):
                raise NeuroscopeError("Choose the instances first: Labels, under Target.")
            pixels = self._session.pixels(question.network, self._viewer)
            instances = PaintedRegions.of(labels, pixels, self._viewer)
        except NeuroscopeError as error:
            self._answers.fail(error)
            return
        score: Any = self._session.score
        asked = AllInstances(question, instances, score, self._session.margin)

        def done(answers: Any) -> None:
            if labels not in self._viewer.layers:
                self._answers.say("The labels were removed while their instances were asked about.")
                return
            add_table(labels, answers)
            self._answers.say(
                f"{len(answers)} instances were asked about; the answers are in the features of "
                f"“{labels.name}”."
            )

        self._jobs.submit("Every instance", asked.answer, done, self._answers.fail)


def _slot(question: Question) -> tuple[str, ...]:
    """Return where the layer_manager shows the last answer to a click on an image."""
    return ("asked", str(question.source.unique_id))

"""Maps of many passes that refine where they are shown, until they are finished."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.session.question import Offer, Question
from napari_neuroscope.viewer.layers.maps.answer_layers import show_answer
from napari_neuroscope.viewer.layers.maps.layer_manager import LayerManager
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs

Answer = Callable[[Any, Offer], Any]


class ProgressiveAnswer:
    """Has a question answered, and shows what is found so far in the layer of the answer.

    A map that is stopped stays as it is: its name and its record say how far it came. To remove
    it while it refines stops it.

    Parameters
    ----------
    viewer, jobs, layer_manager
        The dock's.
    stop
        Stops what is computed.
    """

    def __init__(
        self, viewer: Any, jobs: Jobs, layer_manager: LayerManager, stop: Callable[[], None]
    ) -> None:
        self._viewer, self._jobs, self._layer_manager, self._stop = (
            viewer,
            jobs,
            layer_manager,
            stop,
        )
        self._layers: list[Any] = []

    def submit(
        self,
        what: str,
        question: Question,
        answer: Answer,
        slot: tuple[str, ...],
        done: Callable[[Any], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Have a question answered.

        Parameters
        ----------
        what
            The work in words.
        question
            What is asked.
        answer
            Called in the compute thread with the progress, and with what takes maps so far.
        slot
            Where the layer_manager shows the answer.
        done, failed
            As `Jobs.submit` takes them.
        """
        self.forget()

        def show(explanation: Explanation) -> None:
            if question.source in self._viewer.layers:
                # What the layer_manager itself removes stops nothing.
                self.forget()
                self._layers = show_answer(
                    self._viewer, self._layer_manager, question.layer_data(explanation), slot,
                    question.origin(explanation), question.choices,
                )  # fmt: skip

        def finish(result: Any) -> None:
            self.forget()
            done(result)

        self._jobs.submit(what, lambda report: answer(report, report.offer), finish, failed, show)

    def forget(self) -> None:
        """Let go of the map that refines: it goes on, whatever becomes of the layers so far."""
        self._layers = []

    def stopped(self) -> str:
        """Let go of the map that was stopped; return what is to be said of it, if there is one."""
        shown, self._layers = self._layers, []
        names = [layer.name for layer in shown if layer in self._viewer.layers]
        if names:
            return f"Stopped. What was found so far stays as “{names[0]}”."
        return "Stopped, since its map was removed." if shown else ""

    def stop_if_removed(self, *_: Any) -> None:
        """Stop where the map that refines was removed."""
        if self._jobs.busy and any(layer not in self._viewer.layers for layer in self._layers):
            self._stop()

"""Why one class was taken for another: the question of a cell of the confusion matrix, asked here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.methods.interface import Needs
from napari_neuroscope.session.cell_question import CellQuestion
from napari_neuroscope.viewer.image.layer_regions import LayerRegion, regions_of
from napari_neuroscope.viewer.layers.error_layers import Comparison, is_of_cell
from napari_neuroscope.widgets.inspector.answer_view import AnswerView
from napari_neuroscope.widgets.inspector.form import InspectorForm
from napari_neuroscope.widgets.parts.dock import Dock

# What asks about a class and a region, where the chosen method does not.
_METHOD = {"segmentation": "hires_cam", "classification": "grad_cam"}


class CellReason:
    """Explains a class over exactly the pixels of a cell, in an image that has some.

    An image that has none of them is changed for the one with most; what is looked at for that takes
    a while, and the question goes on when it is there.

    Parameters
    ----------
    dock, viewer, form, answers
        The inspector, its viewer, its choices, which become the question's, and where words go.
    explain
        Explains what is chosen.
    """

    def __init__(
        self,
        dock: Dock,
        viewer: Any,
        form: InspectorForm,
        answers: AnswerView,
        explain: Callable[[], None],
    ) -> None:
        self._dock, self._viewer, self._form, self._answers = dock, viewer, form, answers
        self._session, self._explain = dock.session, explain
        self._asked: CellQuestion | None = None
        self._wanted = ""
        self._later = dock.debounced(self._go_on, 0)
        events = self._session.events
        dock.follow(events.why, self._ask)
        dock.follow(events.comparison, self._soon)
        dock.follow(events.network_summary, self._soon)

    def _ask(self, question: CellQuestion | None) -> None:
        if question is not None:
            self._asked, self._wanted = question, ""
            self._soon()

    def _soon(self, *_: Any) -> None:
        """Go on once all have heard of what changed."""
        if self._asked is not None:
            self._later()

    def _go_on(self) -> None:
        question = self._asked
        if question is None or self._dock.closed:
            return
        try:
            comparison = self._shown(question)
            if comparison is None or not self._is_looked_at(comparison):
                return
            self._asked = None
            self._choose(question)
        except NeuroscopeError as error:
            self._asked = None
            self._answers.fail(error)
            return
        self._explain()

    def _shown(self, question: CellQuestion) -> Comparison | None:
        """Return the shown image if it is of the cell; else have one shown, and return None."""
        session, comparison = self._session, self._session.comparison
        scores = session.scores
        if scores is None:
            raise NeuroscopeError("Predict all images first, in the dock “Images”.")
        names = [score.name for score in scores.images_with(*question.cell)]
        if not names:
            true, predicted = (scores.names[n] for n in question.cell)
            raise NeuroscopeError(f"In no image is {true} taken for {predicted}.")
        if (
            comparison is not None
            and comparison.name in names
            and comparison.source in self._viewer.layers
            and comparison.network is session.network
        ):
            return comparison
        if not self._wanted:
            if not len(session.events.wanted):
                raise NeuroscopeError(
                    f"“{names[0]}” has most of these pixels; open the dock “Images” to show it."
                )
            self._wanted = names[0]
            session.show_image(names[0])
        return None

    def _is_looked_at(self, comparison: Comparison) -> bool:
        """Whether the network has looked at the shown image; else have it look."""
        layer, chosen = comparison.source, self._form.image.layer()
        if chosen is None or chosen.unique_id != layer.unique_id:
            self._session.show_layer(layer)
            return False
        return self._session.network_summary is not None

    def _choose(self, question: CellQuestion) -> None:
        session, form = self._session, self._form
        network = session.network
        assert network is not None
        if Needs.TARGET not in session.chosen_method().needs_with(session.options):
            form.method.choose(_METHOD[network.spec.task])
        form.classes.choose([question.class_index])
        if network.spec.task == "segmentation":
            region = self._region(question)
            form.target.choose_region(region)
            # Its colour would be seen through the map, and taken for a part of it.
            region.layer.visible = False

    def _region(self, question: CellQuestion) -> LayerRegion:
        shown = (layer for layer in self._viewer.layers if is_of_cell(layer, question.cell))
        regions = [region for layer in shown for region in regions_of(layer)]
        if not regions:
            raise NeuroscopeError("The pixels of the cell are not shown; click on the cell again.")
        return regions[0]

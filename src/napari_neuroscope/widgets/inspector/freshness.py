"""Whether the map that is seen is what is chosen: it is marked where it is not, and the button says so."""

from __future__ import annotations

from typing import Any

from napari_neuroscope.session.choices import Choices
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.layers.maps.shown_maps import ShownMaps
from napari_neuroscope.viewer.state.viewer_state import state_of
from napari_neuroscope.widgets.inspector.answer_view import AnswerView
from napari_neuroscope.widgets.inspector.form import InspectorForm

_EXPLAIN, _ANEW = "Explain", "Explain anew"


class Freshness:
    """Compares what maps were made of with what is chosen now.

    Parameters
    ----------
    viewer, session
        The inspector's.
    form
        Says how much of the image is chosen; its button says whether there is something to renew.
    answers
        What came of the last question.
    """

    def __init__(
        self,
        viewer: Any,
        session: Session,
        form: InspectorForm,
        answers: AnswerView,
    ) -> None:
        self._viewer, self._session, self._answers = viewer, session, answers
        self._extent, self._planes = form.extent, form.planes
        self._button = form.explain_button
        self._maps = state_of(viewer, ShownMaps)
        self._edits = 0

    def count_edit(self) -> None:
        """Take note that the layer that says the region was edited."""
        self._edits += 1

    def choices(self) -> Choices:
        """Return what is chosen now."""
        session = self._session
        return Choices.of(
            session, session.image, self._viewer,
            self._planes.chosen_ranges(), self._extent.chosen(), self._edits,
        )  # fmt: skip

    def refresh(self) -> None:
        """Mark the maps that are out of date, and hide those of an image that is no longer there."""
        now = self.choices()
        self._maps.hide(
            self._viewer,
            lambda made_of: (
                made_of.owner == now.owner
                and made_of.scene.source == now.scene.source
                and not made_of.scene.shows_image_of(now.scene)
            ),
        )
        outdated = self._maps.mark(
            self._viewer,
            lambda made_of: None if made_of.owner != now.owner else not made_of.agrees(now),
        )
        self._button.setText(_ANEW if outdated else _EXPLAIN)
        font = self._button.font()
        if font.bold() != outdated:
            font.setBold(outdated)
            self._button.setFont(font)
        self._answers.set_outdated(outdated)

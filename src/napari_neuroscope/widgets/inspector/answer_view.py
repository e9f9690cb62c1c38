"""What came of a question: layers over the image, and words below the buttons."""

from __future__ import annotations

from typing import Any

from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.session.question import Question
from napari_neuroscope.viewer.layers.maps.answer_layers import show_answer
from napari_neuroscope.viewer.layers.maps.layer_manager import LayerManager
from napari_neuroscope.viewer.state.randomisation_warnings import FailedChecks, with_warning
from napari_neuroscope.viewer.state.viewer_state import state_of
from napari_neuroscope.widgets.parts.labels import PlainLabel, plain_tooltip
from napari_neuroscope.widgets.parts.notices import tell_error
from napari_neuroscope.widgets.parts.sentences import for_the_window, in_a_sentence

_MOST_TARGETS = 4
# Rendering takes one value along each line of sight, and the highest is never below zero.
_SIGNED_IN_3D = (
    "\nIn 3D the highest values are seen: the layer's rendering “minip” shows those that speak "
    "against the class."
)


_OUTDATED = "Out of date, of what was chosen before:\n"


class AnswerView:
    """Shows answers as layers and in words, and says what went wrong.

    Parameters
    ----------
    viewer
        The dock's.
    layer_manager
        Adds the layers.
    message
        Where the words are.
    """

    def __init__(self, viewer: Any, layer_manager: LayerManager, message: PlainLabel) -> None:
        self._viewer, self._layer_manager, self._message = viewer, layer_manager, message
        self._doubts = state_of(viewer, FailedChecks)
        # What was said of the last answer.
        self._answer = ""
        self._closed = False

    def close(self) -> None:
        """Say nothing more: the dock is closed."""
        self._closed = True

    def show(self, question: Question, explanation: Explanation, slot: tuple[str, ...]) -> bool:
        """Show an answer in the layers of a slot; where its image is gone, say so, return False."""
        if question.source not in self._viewer.layers:
            self.say("The image was removed while its explanation was computed.")
            return False
        warning = self._doubts.about(explanation.record)
        layers = with_warning(question.layer_data(explanation), warning)
        show_answer(
            self._viewer, self._layer_manager, layers, slot, question.origin(explanation),
            question.choices,
        )  # fmt: skip
        return True

    def say(self, words: str) -> None:
        """Show words."""
        self._message.setText(words)
        self._message.setToolTip("")

    def say_answer(self, explanation: Explanation, before: str = "") -> None:
        """Show what an answer says besides its picture, after other words."""
        signed_in_3d = explanation.signed and self._viewer.dims.ndisplay == 3
        words = _in_words(explanation) + (_SIGNED_IN_3D if signed_in_3d else "")
        self._answer = "\n".join(filter(None, (before, words)))
        self.say(self._answer)
        sums = [t.sum_in_words() for t in explanation.record.targets[:_MOST_TARGETS] if t.score]
        self._message.setToolTip(plain_tooltip("\n".join(sums)))

    def set_outdated(self, outdated: bool) -> None:
        """Say of the last answer whether it is of what is chosen now, where it is still to be read."""
        if not self._answer:
            return
        old = f"{_OUTDATED}{self._answer}"
        text, before = (old, self._answer) if outdated else (self._answer, old)
        if self._message.text() == before:
            self._message.setText(text)

    def say_kept(self, layers: list[Any]) -> None:
        """Say which maps are kept from now on."""
        names = " and ".join(f"“{layer.name}”" for layer in layers)
        self.say(f"{names}: the next map hides it." if layers else "There is no map to keep yet.")

    def fail(self, error: Exception) -> None:
        """Say what went wrong, also at the window's edge."""
        if not self._closed:
            text = in_a_sentence(error)
            self.say(text)
            tell_error(text)


def _in_words(explanation: Explanation) -> str:
    words = explanation.table_in_words()
    record = explanation.record
    if "probability" not in (record.table or {}):
        words += [target.in_words() for target in record.targets[:_MOST_TARGETS]]
    is_zero = not explanation.is_table and record.tiling is None and explanation.values.size
    is_told = any("zero everywhere" in note for note in record.notes)
    if is_zero and not is_told and not explanation.values.any():
        words.append("The map is zero everywhere: nothing speaks for the class here.")
    words += [for_the_window(f"Note: {note}.") for note in record.notes]
    return "\n".join(words)

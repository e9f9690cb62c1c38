"""Notes of the engine in the words of the window: no name of Python is left."""

from __future__ import annotations

import pytest

from napari_neuroscope.widgets.parts.sentences import for_the_window


@pytest.mark.parametrize(
    ("note", "words"),
    [
        (
            "the map is zero everywhere: nothing in the layer speaks for the class; relu=False shows "
            "what speaks against it",
            "the map is zero everywhere: nothing in the layer speaks for the class; without “Only what "
            "speaks for it” the map shows what speaks against it",
        ),
        ("use integrated_gradients or score_map", "use Integrated gradients or Score map"),
        (
            "padding can't make it smaller; set the spec's input.resize to fit, crop or stretch.",
            "padding can't make it smaller; choose another “Resize” under Options….",
        ),
        ("“my_layer.conv_1” is the score itself", "“my_layer.conv_1” is the score itself"),
    ],
)
def test_what_is_for_python_is_said_as_the_window_has_it(note: str, words: str) -> None:
    assert for_the_window(note) == words

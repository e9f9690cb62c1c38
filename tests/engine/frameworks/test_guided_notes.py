"""What was not guided, in words."""

from __future__ import annotations

from napari_neuroscope.engine.frameworks.guided_notes import unguided_notes


def test_layers_are_named_once_and_three_at_most() -> None:
    assert unguided_notes([], []) == []
    (note,) = unguided_notes(["a", "b", "a", "c", "d"], [])
    assert note.startswith("a, b, c, … can't be told from other arithmetic")
    assert [n.partition(" can't")[0] for n in unguided_notes(["a"], ["b"])] == ["a", "b"]

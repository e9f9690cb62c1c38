"""Words of strangers: nothing in them is invisible, changes direction, or is endless."""

from __future__ import annotations

import pytest

from napari_neuroscope.engine.plain_text import quoted, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nuclei µ 細胞", "nuclei µ 細胞"),
        ("a\x1b[31m", r"a\x1b[31m"),
        ("exe\u202egnp", r"exe\u202egnp"),
        ("a\nb", r"a\nb"),
        ("\ud800", r"\ud800"),
    ],
)
def test_hidden_characters_are_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_long_words_are_cut() -> None:
    assert visible("abcdef", 4) == "abc…"
    assert len(visible("\x1b" * 1000, 100)) == 100


def test_no_word_ends_its_quotes() -> None:
    assert quoted("a” and “b") == '“a" and "b”'

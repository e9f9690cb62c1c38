"""Words of strangers as plain text: nothing in them is invisible, changes direction, or is endless."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

# Controls, formats (direction marks among them), line and paragraph separators, halves of pairs,
# and characters without a meaning of their own.
_HIDDEN = {"Cc", "Cf", "Zl", "Zp", "Cs", "Co"}
# Persian and Indic words, and some emoji, are joined by these.
_JOINERS = "\u200c\u200d"


def visible(text: str, most: int | None = None) -> str:
    r"""Return a text with its hidden characters escaped, such as ``\\x1b`` or ``\\u202e``.

    Parameters
    ----------
    text
        Any text, such as a name that a file gives.
    most
        How many characters are left at most; the end of a longer text is cut off.
    """
    if most is not None and len(text) > most:
        # What is cut off is not looked at: it may be very long.
        text = text[: most - 1] + "…"
    if text.isascii() and text.isprintable():
        return text
    escaped = "".join(map(_escaped, text))
    # What was one character may be ten now.
    return escaped if most is None or len(escaped) <= most else escaped[: most - 1] + "…"


def quoted(text: str, most: int = 80) -> str:
    """Return words of a file in quotes, which none of these words can end.

    Parameters
    ----------
    text
        Any text, such as what a file names.
    most
        How many characters are left at most.
    """
    words = visible(text, most).replace("“", '"').replace("”", '"')
    return f"“{words}”"


def by_sides(sides: Iterable[int]) -> str:
    """Return the sides of an image for a person, such as “64 × 48”."""
    return " × ".join(map(str, sides))


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN or character in _JOINERS:
        return character
    return character.encode("unicode_escape").decode("ascii")

"""What a guided gradient was not guided through, in words."""

from __future__ import annotations

from collections.abc import Sequence


def unguided_notes(unclear: Sequence[str], hiding: Sequence[str]) -> list[str]:
    """Say what is not guided, by the names of the layers."""
    notes = []
    if unclear:
        notes.append(
            f"{_listed(unclear)} can't be told from other arithmetic and passes the plain "
            f"gradient: the map is only guided elsewhere"
        )
    if hiding:
        notes.append(
            f"{_listed(hiding)} can't be looked into and passes its plain gradient: activations "
            f"inside are not guided"
        )
    return notes


def _listed(names: Sequence[str]) -> str:
    each = list(dict.fromkeys(names))
    return f"{', '.join(each[:3])}{', …' if len(each) > 3 else ''}"

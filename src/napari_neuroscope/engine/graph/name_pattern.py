"""Patterns of dotted names, by which layers are chosen."""

from __future__ import annotations

from fnmatch import fnmatchcase


def fits(pattern: str, name: str) -> bool:
    """Whether a dotted name fits a pattern.

    ``*`` stands for anything within a part, ``**`` for any parts, at an end for one at least.
    """
    return _glob(pattern.split("."), name.split("."))


def _glob(pattern: list[str], parts: list[str]) -> bool:
    if pattern[-1] == "**":
        pattern = [*pattern, "*"]
    # Whether what was read of the pattern fits the first n parts, for each n.
    fits = [True] + [False] * len(parts)
    for piece in pattern:
        if piece == "**":
            fits = [any(fits[: n + 1]) for n in range(len(fits))]
        else:
            fits = [False, *(fits[n] and fnmatchcase(part, piece) for n, part in enumerate(parts))]
    return fits[-1]

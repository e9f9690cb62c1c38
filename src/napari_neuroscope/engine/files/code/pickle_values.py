"""What stands for the values of a pickle that is followed, and why one is not."""

from __future__ import annotations

from typing import Any, NamedTuple


class BrokenPickleError(ValueError):
    """Bytes that are no whole pickle."""


class LongPickleError(ValueError):
    """A pickle that is too long, or makes too much work, to be followed to its end."""


class ImportedName(NamedTuple):
    """What a pickle imports, as ``module.name``."""

    name: str


class StoredNumbers(NamedTuple):
    """Numbers that lie beside a pickle: of which kind, where, and how many."""

    kind: str
    key: str | int
    numbers: int


class Call(NamedTuple):
    """A call of something that a pickle imports, with its arguments as far as they are known."""

    name: str
    arguments: tuple[Any, ...]


class EncodedText(NamedTuple):
    """A text as bytes, as protocols before the third write these."""

    text: str


class Unknown(NamedTuple):
    """A value that only running would tell."""

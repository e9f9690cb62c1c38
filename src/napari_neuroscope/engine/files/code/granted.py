"""Trust that holds for one piece of work: what was let run here, other processes may run, no more."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(frozen=True)
class _Grant:
    """The hashes that are let run besides those of the trust store; None: whichever is asked for."""

    hashes: Collection[str] | None
    asked: set[str] = field(default_factory=set)


_grant: ContextVar[_Grant | None] = ContextVar("grant", default=None)


@contextmanager
def granting(hashes: Collection[str] | None) -> Iterator[set[str]]:
    """Let content of some hashes run within the block.

    Parameters
    ----------
    hashes
        The hashes; None: whatever is asked for, as the user has said of all of it.

    Yields
    ------
    set
        The hashes of what was let run in the block, by this or by the trust store.
    """
    grant = _Grant(hashes)
    token = _grant.set(grant)
    try:
        yield grant.asked
    finally:
        _grant.reset(token)


def is_granted(sha256: str, *, stored: bool) -> bool:
    """Return whether content of a hash may run, of which the trust store has said so or not."""
    grant = _grant.get()
    if grant is None:
        return stored
    if stored or grant.hashes is None or sha256 in grant.hashes:
        grant.asked.add(sha256)
        return True
    return False

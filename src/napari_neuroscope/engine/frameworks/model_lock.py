"""A lock that belongs to a model, however often it was wrapped, and to all that it shares."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError

# Whose parts are in use: the thread, and how many of its locks hold the part.
_holders: dict[Hashable, tuple[int, int]] = {}
_released = threading.Condition()
# Threads that nobody waits for any longer, and how long they are given before that is said.
_abandoned: set[int] = set()
_LAST_WAIT_S = 5.0


def parts_in_use() -> frozenset[Hashable]:
    """Return the parts of models that some thread holds just now."""
    with _released:
        return frozenset(_holders)


def abandoned_threads() -> frozenset[int]:
    """Return the threads that were left behind and have not ended yet."""
    with _released:
        return frozenset(_abandoned)


def leave_behind(thread: int) -> None:
    """Have nobody wait for the models that a thread uses, which was stopped and does not come back."""
    with _released:
        _abandoned.add(thread)
        _released.notify_all()


def has_come_back(thread: int) -> None:
    """Say that a thread that was left behind has ended."""
    with _released:
        _abandoned.discard(thread)
        _released.notify_all()


class ModelLock:
    """Held by one thread at a time, while no other thread holds a lock with a part in common.

    A pass sets modes, flags, hooks and sometimes weights of a model and puts them back; where two
    networks are of one model, or share a backbone, only one of them may. The parts are asked for
    each time that the lock is taken, since a model may be given other ones.

    Parameters
    ----------
    parts
        Returns what no other thread may use meanwhile, as keys that are equal for one part.
    """

    def __init__(self, parts: Callable[[], Iterable[Hashable]]) -> None:
        self._parts = parts
        self._owner, self._depth = 0, 0
        self._held: tuple[Hashable, ...] = ()

    def __enter__(self) -> None:
        thread = threading.get_ident()
        # Only the thread itself could have made it its own.
        if self._owner != thread:
            self._take(thread)
        self._depth += 1

    def _take(self, thread: int) -> None:
        keys = tuple(set(self._parts()))
        with _released:
            while others := {_holders.get(key, (thread, 0))[0] for key in keys} - {thread}:
                stuck = bool(others & _abandoned) or thread in _abandoned
                if not _released.wait(_LAST_WAIT_S if stuck else None) and stuck:
                    raise NeuroscopeError(
                        "The network is still at work on what was stopped before, and does not come "
                        "back; open it again from its file, or start napari anew."
                    )
            for key in keys:
                _holders[key] = thread, _holders.get(key, (thread, 0))[1] + 1
            self._held, self._owner = keys, thread

    def __exit__(self, *_: Any) -> None:
        self._depth -= 1
        if self._depth:
            return
        with _released:
            keys, self._held, self._owner = self._held, (), 0
            for key in keys:
                thread, count = _holders[key]
                if count > 1:
                    _holders[key] = thread, count - 1
                else:
                    del _holders[key]
            _released.notify_all()

"""A lock that belongs to a model, however often it was wrapped, and to all that it shares."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable
from typing import Any

# Whose parts are in use: the thread, and how many of its locks hold the part.
_in_use: dict[Hashable, tuple[int, int]] = {}
_given_back = threading.Condition()


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
        with _given_back:
            while any(_in_use.get(key, (thread, 0))[0] != thread for key in keys):
                _given_back.wait()
            for key in keys:
                _in_use[key] = thread, _in_use.get(key, (thread, 0))[1] + 1
            self._held, self._owner = keys, thread

    def __exit__(self, *_: Any) -> None:
        self._depth -= 1
        if self._depth:
            return
        with _given_back:
            keys, self._held, self._owner = self._held, (), 0
            for key in keys:
                thread, count = _in_use[key]
                if count > 1:
                    _in_use[key] = thread, count - 1
                else:
                    del _in_use[key]
            _given_back.notify_all()

"""What is set for the whole process while passes run, and put back after the last of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

State = TypeVar("State")


class ProcessSetting(Generic[State]):
    """Set by the first thread that comes in, and put back by the last that goes out.

    Were each thread to put back what it met, the last would put back what the first had set.

    Parameters
    ----------
    set_it
        Sets it, and returns what was there before.
    put_back
        Takes that, and puts it back.
    """

    def __init__(self, set_it: Callable[[], State], put_back: Callable[[State], object]) -> None:
        self._set, self._put_back = set_it, put_back
        self._lock = threading.Lock()
        self._inside = 0
        self._before: list[State] = []

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold it; several threads may at once."""
        with self._lock:
            if not self._inside:
                self._before = [self._set()]
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._put_back(self._before.pop())

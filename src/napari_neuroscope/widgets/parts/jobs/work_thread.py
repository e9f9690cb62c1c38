"""The thread that computes for the docks; one that does not come back is left behind."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from napari_neuroscope.engine.errors import Cancelled
from napari_neuroscope.engine.frameworks.model_lock import has_come_back, leave_behind
from napari_neuroscope.widgets.parts.jobs.program_end import end_without

PATIENCE_S = 5.0
"""So long a job that was stopped may take to its next step before others no longer wait for it."""


@dataclass(eq=False)
class Line:
    """What the thread knows of a dock; it holds nothing of Qt, which a thread must not let go of.

    Attributes
    ----------
    deliver
        Called in the thread with a job's number, what kind of report it is, and its value.
    owner
        Returns whose jobs they are, on the main thread; None where that is gone.
    current
        The number of the job that is wanted.
    offered
        What the job offers before it is done; only the last.
    """

    deliver: Callable[[Line, int, str, Any], None]
    owner: Callable[[], Any]
    current: int = 0
    offered: deque[Any] = field(default_factory=lambda: deque(maxlen=1))

    def run(self, job: int, work: Callable[[int], Any]) -> None:
        """Do a job; called in the thread."""
        try:
            self.deliver(self, job, "done", work(job))
        except Cancelled:
            pass
        except Exception as error:  # noqa: BLE001  whatever it is, the main thread says it
            self.deliver(self, job, "failed", error)

    def ask_on(self, job: int) -> None:
        """Raise `Cancelled` where a job is no longer wanted."""
        if job != self.current:
            raise Cancelled


Work = Callable[[int], Any]


class WorkThread:
    """A thread that works; it lives while there is a dock that has asked something.

    A plain thread is used: Qt's pool gives threads too little stack for some libraries, and can't
    be left waiting for the next job with its memory warm.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._waiting: OrderedDict[Line, tuple[int, Work]] = OrderedDict()
        self._users: set[Line] = set()
        self._running: Line | None = None
        self._stopped_at: float | None = None
        self._thread: threading.Thread | None = None

    def put(self, line: Line, job: int, work: Work) -> None:
        """Let a job wait for its turn, in place of the same dock's last."""
        with self._changed:
            self._users.add(line)
            self._waiting[line] = (job, work)
            self._begin()

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def drop(self, line: Line) -> None:
        """Forget a job that waits."""
        with self._changed:
            self._waiting.pop(line, None)

    def stop(self, line: Line) -> None:
        """Forget a dock's job; one that runs has so long to come back."""
        with self._changed:
            self._waiting.pop(line, None)
            if self._running is line and self._stopped_at is None:
                self._stopped_at = time.monotonic()

    def is_kept_waiting(self) -> bool:
        """Whether a job runs that was stopped."""
        return self._stopped_at is not None

    def go_on_without_stuck(self) -> None:
        """Leave a job behind that was stopped and has not come back in time, where others wait."""
        with self._changed:
            if self._stopped_at is None or not self._waiting:
                return
            if time.monotonic() - self._stopped_at >= PATIENCE_S:
                self._leave_behind()
                self._begin()

    def _leave_behind(self) -> None:
        """Go on without the thread; it ends after its job, whose result nobody waits for."""
        thread = self._thread
        if thread is not None and thread.ident is not None:
            # Networks that it still works on say so to whom else asks them something.
            leave_behind(thread.ident)
            end_without(thread)
        self._thread = self._running = self._stopped_at = None
        self._changed.notify_all()

    def leave(self, line: Line, wait: float) -> None:
        """Let go of a dock, and end with the last; wait until its job has stopped."""
        with self._changed:
            self._users.discard(line)
            self._waiting.pop(line, None)
            thread = self._thread
            self._changed.notify_all()
            if thread is None or thread is threading.current_thread():
                return
            if not self._changed.wait_for(lambda: self._running is not line, wait):
                self._leave_behind()
                if self._waiting:
                    self._begin()
                return
            last = not self._users
        if last:
            thread.join(wait)

    def _run(self) -> None:
        this_thread = threading.current_thread()
        while True:
            with self._changed:
                if self._thread is not this_thread:
                    # It was left behind, and has come back after all.
                    has_come_back(threading.get_ident())
                    return
                self._running = self._stopped_at = None
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or not self._users)
                if not self._waiting:
                    self._thread = None
                    _give_memory_back()
                    return
                line, (job, work) = self._waiting.popitem(last=False)
                self._running = line
            line.run(job, work)
            # The work may hold a whole network, which must not live until the next job.
            del line, work


def _give_memory_back() -> None:
    """Give the system the memory that is free: the allocator keeps what another thread has used."""
    with contextlib.suppress(OSError, AttributeError):
        # It is the GNU C library's.
        ctypes.CDLL(None).malloc_trim(0)


COMPUTE = WorkThread("neuroscope compute")
"""The thread that all docks share."""

"""Work off the main thread: one compute thread, the latest job wins, progress and cancel."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal

from napari_neuroscope.engine.errors import Cancelled, Progress

_REPORT_EVERY_S = 0.1
Work = Callable[[Progress], Any]


class Jobs(QObject):
    """Runs one job at a time in a thread of its own; a new job cancels the one before.

    All signals arrive on the main thread, and none of a job that was cancelled or replaced but
    `idle`. A plain thread is used: Qt's pool gives threads too little stack for some libraries,
    and can't be left waiting for the next job with its memory warm.
    """

    started = Signal(str)
    progressed = Signal(int, int, str)
    idle = Signal()

    _reported = Signal(int, str, object)

    def __init__(self) -> None:
        super().__init__()
        self._wake = threading.Condition()
        self._next: tuple[int, Work] | None = None
        self._current = 0
        self._busy = False
        self._closing = False
        self._thread: threading.Thread | None = None
        self._reported.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        self._callbacks: dict[int, tuple[Callable[[Any], None], Callable[[Exception], None]]] = {}

    @property
    def busy(self) -> bool:
        """Whether a job runs or waits."""
        return self._busy

    def submit(
        self,
        what: str,
        work: Work,
        done: Callable[[Any], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """Run ``work(progress)`` soon; then `done` with its result, on the main thread.

        Parameters
        ----------
        what
            The work in words.
        work
            Runs in the compute thread. Its progress callback raises `Cancelled` when the work is
            no longer wanted.
        done, failed
            Called on the main thread with the result or the exception, unless cancelled.
        """
        with self._wake:
            self._current += 1
            self._next = (self._current, work)
            self._callbacks = {self._current: (done, failed)}
            self._busy = True
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="neuroscope compute", daemon=True
                )
                self._thread.start()
            self._wake.notify()
        self.started.emit(what)

    def cancel(self) -> None:
        """Stop the job that runs at its next step, and drop one that waits."""
        with self._wake:
            self._current += 1
            self._next = None
            self._callbacks = {}
            self._busy = False
        self.idle.emit()

    def close(self, wait: float = 10.0) -> None:
        """Cancel, and wait at most `wait` seconds for the thread to end."""
        with self._wake:
            self._closing = True
            self._current += 1
            self._next = None
            self._callbacks = {}
            self._busy = False
            self._wake.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(wait)

    def _run(self) -> None:
        while True:
            with self._wake:
                while self._next is None and not self._closing:
                    self._wake.wait()
                if self._closing:
                    return
                assert self._next is not None
                (job, work), self._next = self._next, None

            reported = 0.0

            def progress(done: int, total: int, what: str, job: int = job) -> None:
                nonlocal reported
                if job != self._current:
                    raise Cancelled
                # Each report redraws a bar: some a second are enough to see.
                if (now := time.monotonic()) - reported > _REPORT_EVERY_S:
                    reported = now
                    self._report(job, "progress", (done, total, what))

            try:
                self._report(job, "done", work(progress))
            except Cancelled:
                pass
            except Exception as error:  # noqa: BLE001  whatever it is, the main thread says it
                self._report(job, "failed", error)

    def _report(self, job: int, kind: str, value: Any) -> None:
        try:
            self._reported.emit(job, kind, value)
        except RuntimeError:
            # The window, and this object's Qt half with it, may be gone already.
            self._closing = True

    def _deliver(self, job: int, kind: str, value: Any) -> None:
        if job != self._current:
            return
        if kind == "progress":
            self.progressed.emit(*value)
            return
        done, failed = self._callbacks.pop(job)
        self._busy = False
        self.idle.emit()
        if kind == "done":
            done(value)
        else:
            failed(value)

"""Work off the main thread: one compute thread, the latest job wins, progress and cancel."""

from __future__ import annotations

import contextlib
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QObject, Qt, QTimer, Signal

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.widgets.parts.jobs import work_thread
from napari_neuroscope.widgets.parts.jobs.work_thread import COMPUTE, Line, WorkThread

_REPORT_EVERY_S = 0.1
# A window that is closed waits no longer for what is computed.
_CLOSE_AFTER_S = 2.0


class Report:
    """What a job tells while it runs; made by `Jobs`, for the compute thread.

    It is called as a `Progress`, and raises `Cancelled` when the work is no longer wanted.
    """

    def __init__(self, line: Line, job: int) -> None:
        self._line, self._job = line, job
        self._reported = 0.0

    def __call__(self, done: int, total: int, what: str) -> None:
        """Tell how far the work is."""
        self._line.ask_on(self._job)
        # Each report redraws a bar: some a second are enough to see.
        if (now := time.monotonic()) - self._reported > _REPORT_EVERY_S:
            self._reported = now
            self._line.deliver(self._line, self._job, "progress", (done, total, what))

    def offer(self, value: Any) -> None:
        """Hand out what was found so far; what was offered before and not yet seen is dropped."""
        self._line.ask_on(self._job)
        self._line.offered.append(value)
        self._line.deliver(self._line, self._job, "partly", None)


Work = Callable[[Report], Any]


class Jobs(QObject):
    """Runs a dock's jobs, one at a time; a new job cancels the one before.

    In a thread the job of one waits for that of another; one that was cancelled and does not come
    back is left behind. All signals arrive on the main thread, and none of a job that was cancelled
    or replaced but `idle`.

    Parameters
    ----------
    thread
        Where they run; the compute thread, which all docks share, if not given.
    """

    started = Signal(str)
    progressed = Signal(int, int, str)
    idle = Signal()

    def __init__(self, thread: WorkThread | None = None) -> None:
        super().__init__()
        self._thread = thread or COMPUTE
        # A thread must not be the last to hold an object of Qt, which it would then delete.
        self._line = Line(_mail().send, weakref.ref(self))
        self._busy = False
        self._closed = False
        self._callbacks: dict[int, _Callbacks] = {}
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.timeout.connect(self._thread.go_on_without_stuck)

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
        partly: Callable[[Any], None] = lambda _: None,
    ) -> None:
        """Run ``work(report)`` soon; then `done` with its result, on the main thread.

        Parameters
        ----------
        what
            The work in words.
        work
            Runs in the compute thread, and is given a `Report`.
        done, failed
            Called on the main thread with the result or the exception, unless cancelled; `failed`
            also with what `done` or `partly` can't show, as a `NeuroscopeError`.
        partly
            Called on the main thread with what the work offers before it is done; of several
            offers that wait, with the last.
        """
        if self._closed:
            return
        line = self._line
        line.current += 1
        line.offered.clear()
        self._callbacks = {line.current: _Callbacks(done, failed, partly)}
        self._busy = True
        self._thread.put(line, line.current, lambda job: work(Report(line, job)))
        self._be_patient()
        self.started.emit(what)

    def cancel(self) -> None:
        """Stop the job that runs at its next step, and drop one that waits."""
        self._forget()
        self._thread.stop(self._line)
        self._be_patient()
        self.idle.emit()

    def close(self, wait: float = _CLOSE_AFTER_S) -> None:
        """Cancel, and wait at most `wait` seconds for the thread to let go of this."""
        self._closed = True
        self._forget()
        self._thread.drop(self._line)
        # At the end of the program Qt may be gone already.
        with contextlib.suppress(RuntimeError):
            self._patience.stop()
        self._thread.leave(self._line, wait)

    def _be_patient(self) -> None:
        """Look in a while whether a job that was stopped has come back."""
        if self._thread.is_kept_waiting():
            self._patience.start(round(1000 * work_thread.PATIENCE_S) + 50)

    def _forget(self) -> None:
        self._line.current += 1
        self._line.offered.clear()
        self._callbacks = {}
        self._busy = False

    def _deliver(self, job: int, kind: str, value: Any) -> None:
        if job != self._line.current or job not in self._callbacks:
            return
        if kind == "progress":
            self.progressed.emit(*value)
            return
        if kind == "partly":
            if self._line.offered:
                call = self._callbacks[job]
                try:
                    call.partly(self._line.offered.popleft())
                except NeuroscopeError as error:
                    self.cancel()
                    call.failed(error)
            return
        call = self._callbacks.pop(job)
        self._busy = False
        self.idle.emit()
        if kind == "failed":
            call.failed(value)
            return
        try:
            call.done(value)
        except NeuroscopeError as error:
            call.failed(error)


@dataclass(frozen=True)
class _Callbacks:
    """What is called on the main thread with what becomes of a job."""

    done: Callable[[Any], None]
    failed: Callable[[Exception], None]
    partly: Callable[[Any], None]


class _Mail(QObject):
    """Brings what threads report to the main thread; it lives as long as the program."""

    _sent = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._waiting: deque[tuple[Line, int, str, Any]] = deque()
        self._sent.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    def send(self, line: Line, job: int, kind: str, value: Any) -> None:
        """Report; called in any thread."""
        self._waiting.append((line, job, kind, value))
        # At the end of the program Qt may be gone already.
        with contextlib.suppress(RuntimeError):
            self._sent.emit()

    def _deliver(self) -> None:
        if not self._waiting:
            return
        line, job, kind, value = self._waiting.popleft()
        owner = line.owner()
        if owner is not None:
            owner._deliver(job, kind, value)


_the_mail: _Mail | None = None


def _mail() -> _Mail:
    """Return what brings reports; it is made on the main thread, with the first dock."""
    global _the_mail
    if _the_mail is None:
        _the_mail = _Mail()
    return _the_mail

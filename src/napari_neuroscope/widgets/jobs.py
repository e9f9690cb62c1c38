"""Work off the main thread: one compute thread, the latest job wins, progress and cancel."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QObject, Qt, Signal

from napari_neuroscope.engine.errors import Cancelled

_REPORT_EVERY_S = 0.1


class Report:
    """What a job tells while it runs; made by `Jobs`, for the compute thread.

    It is called as a `Progress`, and raises `Cancelled` when the work is no longer wanted.
    """

    def __init__(self, jobs: Jobs, job: int) -> None:
        self._jobs, self._job = jobs, job
        self._reported = 0.0

    def __call__(self, done: int, total: int, what: str) -> None:
        """Tell how far the work is."""
        self._jobs._ask_on(self._job)
        # Each report redraws a bar: some a second are enough to see.
        if (now := time.monotonic()) - self._reported > _REPORT_EVERY_S:
            self._reported = now
            self._jobs._report(self._job, "progress", (done, total, what))

    def offer(self, value: Any) -> None:
        """Hand out what was found so far; what was offered before and not yet seen is dropped."""
        self._jobs._ask_on(self._job)
        self._jobs._offered.append(value)
        self._jobs._report(self._job, "partly", None)


Work = Callable[[Report], Any]


class Jobs(QObject):
    """Runs a dock's jobs, one at a time; a new job cancels the one before.

    In a thread the job of one waits for that of another. All signals arrive on the main thread,
    and none of a job that was cancelled or replaced but `idle`.

    Parameters
    ----------
    thread
        Where they run; the compute thread, which all docks share, if not given.
    """

    started = Signal(str)
    progressed = Signal(int, int, str)
    idle = Signal()

    _reported = Signal(int, str, object)

    def __init__(self, thread: WorkThread | None = None) -> None:
        super().__init__()
        self._thread = thread or _compute
        self._current = 0
        self._busy = False
        self._closed = False
        self._reported.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        self._callbacks: dict[int, _Callbacks] = {}
        self._offered: deque[Any] = deque(maxlen=1)

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
            Called on the main thread with the result or the exception, unless cancelled.
        partly
            Called on the main thread with what the work offers before it is done; of several
            offers that wait, with the last.
        """
        if self._closed:
            return
        self._current += 1
        self._offered.clear()
        self._callbacks = {self._current: _Callbacks(done, failed, partly)}
        self._busy = True
        self._thread.put(self, self._current, work)
        self.started.emit(what)

    def cancel(self) -> None:
        """Stop the job that runs at its next step, and drop one that waits."""
        self._drop()
        self.idle.emit()

    def close(self, wait: float = 10.0) -> None:
        """Cancel, and wait at most `wait` seconds for the thread to let go of this."""
        self._closed = True
        self._drop()
        self._thread.leave(self, wait)

    def _drop(self) -> None:
        self._current += 1
        self._callbacks = {}
        self._offered.clear()
        self._busy = False
        self._thread.drop(self)

    def _run(self, job: int, work: Work) -> None:
        """Do a job; called in the compute thread."""
        try:
            self._report(job, "done", work(Report(self, job)))
        except Cancelled:
            pass
        except Exception as error:  # noqa: BLE001  whatever it is, the main thread says it
            self._report(job, "failed", error)

    def _ask_on(self, job: int) -> None:
        if job != self._current:
            raise Cancelled

    def _report(self, job: int, kind: str, value: Any) -> None:
        try:
            self._reported.emit(job, kind, value)
        except RuntimeError:
            # The window, and this object's Qt half with it, may be gone already.
            self._closed = True
            self._thread.leave(self, 0)

    def _deliver(self, job: int, kind: str, value: Any) -> None:
        if job != self._current:
            return
        if kind == "progress":
            self.progressed.emit(*value)
            return
        if kind == "partly":
            if self._offered:
                self._callbacks[job].partly(self._offered.popleft())
            return
        call = self._callbacks.pop(job)
        self._busy = False
        self.idle.emit()
        if kind == "done":
            call.done(value)
        else:
            call.failed(value)


@dataclass(frozen=True)
class _Callbacks:
    """What is called on the main thread with what becomes of a job."""

    done: Callable[[Any], None]
    failed: Callable[[Exception], None]
    partly: Callable[[Any], None]


class WorkThread:
    """A thread that works; it lives while there is a dock that has asked something.

    A plain thread is used: Qt's pool gives threads too little stack for some libraries, and can't
    be left waiting for the next job with its memory warm.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._waiting: OrderedDict[Jobs, tuple[int, Work]] = OrderedDict()
        self._users: set[Jobs] = set()
        self._running: Jobs | None = None
        self._thread: threading.Thread | None = None

    def put(self, jobs: Jobs, job: int, work: Work) -> None:
        """Let a job wait for its turn, in place of the same dock's last."""
        with self._changed:
            self._users.add(jobs)
            self._waiting[jobs] = (job, work)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def drop(self, jobs: Jobs) -> None:
        """Forget a job that waits."""
        with self._changed:
            self._waiting.pop(jobs, None)

    def leave(self, jobs: Jobs, wait: float) -> None:
        """Let go of a dock, and end with the last; wait until its job has stopped."""
        with self._changed:
            self._users.discard(jobs)
            thread = self._thread
            self._changed.notify_all()
            if thread is None or thread is threading.current_thread():
                return
            self._changed.wait_for(lambda: self._running is not jobs, wait)
            last = not self._users
        if last:
            thread.join(wait)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._running = None
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or not self._users)
                if not self._waiting:
                    self._thread = None
                    return
                jobs, (job, work) = self._waiting.popitem(last=False)
                self._running = jobs
            jobs._run(job, work)
            # The work may hold a whole network, which must not live until the next job.
            del jobs, work


_compute = WorkThread("neuroscope compute")

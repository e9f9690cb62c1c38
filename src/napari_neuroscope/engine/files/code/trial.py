"""Programs of strangers are tried in a process of their own, which may hang, crash or fill up.

Some files are programs that no reader can look through to the end: how long they run and how much
they allocate shows only when they run. Such a file is opened once in a process that is ended when
it takes too long or too much; only then is it opened here.

``python -m napari_neuroscope.engine.files.code.trial`` reads a line of JSON for each trial and answers a
line. The process is kept for the next trial, so that only the first waits for its imports; on Linux
each trial runs in a fork, so that none finds what another left.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError, Progress, first_line, no_progress
from napari_neuroscope.engine.files import limits

_STARTING_SECONDS = 120.0
_POLL_SECONDS = 0.05


class TrialError(NeuroscopeError):
    """A trial that was ended, or that ended in an error.

    Attributes
    ----------
    reason
        Why, as the end of a sentence: “it ran for more than 10 seconds”.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"The trial failed: {reason}.")
        self.reason = reason


def try_in_process(
    call: str,
    argument: Any,
    *,
    seconds: float | None = None,
    memory: int | None = None,
    imports: Sequence[str] = (),
    progress: Progress = no_progress,
) -> Any:
    """Call a function of this package in a process of its own.

    Parameters
    ----------
    call
        The function, as ``module:function``.
    argument
        Its argument, of plain values.
    seconds, memory
        How long it may run, and how many bytes more than at its start it may take; None: as
        `limits` says.
    imports
        Modules that are imported first, for this trial and the next ones: their time doesn't count.
    progress
        Followed while it runs; may raise `Cancelled`, which ends it.

    Returns
    -------
    What the function returned, of plain values.

    Raises
    ------
    TrialError
        Where it ran too long, took too much, crashed or failed.
    """
    job = {
        "call": call,
        "argument": argument,
        "seconds": limits.TRIAL_SECONDS if seconds is None else seconds,
        "memory": limits.TRIAL_MEMORY if memory is None else memory,
        "imports": list(imports),
    }
    with _lock:
        try:
            answer = _kept_process().answer(job, progress)
        except BaseException:
            _end_process()
            raise
    if "error" in answer:
        raise TrialError(answer["error"])
    return answer["value"]


class _Process:
    """A process for trials, as seen from here."""

    def __init__(self) -> None:
        # -P: the current folder, which may be a stranger's, is no place for modules.
        command = [sys.executable, "-P", "-m", __name__]
        quiet = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._folder = tempfile.TemporaryDirectory(prefix="neuroscope-trial-")
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **quiet},
            cwd=self._folder.name,
        )
        self._lines: list[bytes] = []
        self._arrived = threading.Condition()
        threading.Thread(target=self._read, name="trial", daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._arrived:
                self._lines.append(line)
                self._arrived.notify_all()
        with self._arrived:
            self._lines.append(b"")
            self._arrived.notify_all()

    def answer(self, job: dict[str, Any], progress: Progress) -> dict[str, Any]:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.write(json.dumps(job).encode() + b"\n")
            self.process.stdin.flush()
        # A line says that it has begun, so that imports don't count.
        self._line(_STARTING_SECONDS, None, progress, "it could not be started")
        said = self._line(
            job["seconds"],
            job["memory"],
            progress,
            f"it ran for more than {job['seconds']:g} seconds",
        )
        answer: dict[str, Any] = json.loads(said)
        return answer

    def _line(self, seconds: float, memory: int | None, progress: Progress, late: str) -> bytes:
        end, before = time.monotonic() + seconds, self._resident()
        while True:
            with self._arrived:
                if not self._lines:
                    self._arrived.wait(_POLL_SECONDS)
                if self._lines:
                    line = self._lines.pop(0)
                    if not line:
                        raise TrialError("its process ended")
                    return line
            progress(0, 0, "trying the file")
            if time.monotonic() > end:
                raise TrialError(late)
            if memory is not None and self._resident() - before > memory:
                raise TrialError(f"it took more than {memory >> 20:,} MB of memory")

    def _resident(self) -> int:
        """Return how many bytes of memory the process and its forks hold, each counted whole."""
        import psutil

        total = 0
        with contextlib.suppress(psutil.Error):
            trial = psutil.Process(self.process.pid)
            for process in (trial, *trial.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    total = max(total, process.memory_info().rss)
        return total

    def end(self) -> None:
        """End the process and its forks."""
        import psutil

        with contextlib.suppress(psutil.Error):
            trial = psutil.Process(self.process.pid)
            for process in (*trial.children(recursive=True), trial):
                with contextlib.suppress(psutil.Error):
                    process.kill()
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        with contextlib.suppress(OSError):
            self._folder.cleanup()


_lock = threading.RLock()
_kept: _Process | None = None


def _kept_process() -> _Process:
    global _kept
    if _kept is None or _kept.process.poll() is not None:
        _end_process()
        _kept = _Process()
    return _kept


@atexit.register
def _end_process() -> None:
    global _kept
    if _kept is not None:
        _kept.end()
        _kept = None


# --- within the process ---------------------------------------------------------------------------


def main() -> None:
    """Answer trials until the input ends."""
    # What a trial prints, from C++ as well, is no answer.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    given = os.fdopen(os.dup(0), "rb")
    os.dup2(nothing, 0)
    for line in given:
        job = json.loads(line)
        module, _, name = job["call"].partition(":")
        function = getattr(importlib.import_module(module), name)
        for wanted in job["imports"]:
            # One that fails is told by the function, which imports it as well.
            with contextlib.suppress(Exception):
                importlib.import_module(wanted)
        answers.write(b"begun\n")
        if sys.platform == "linux":
            answers.write(_forked(function, job))
        else:
            answers.write(_called(function, job) + b"\n")


def _forked(function: Any, job: dict[str, Any]) -> bytes:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with contextlib.suppress(BaseException):
            _limit(job)
            os.write(writing, _called(function, job))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if not said:
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        said = json.dumps({"error": f"its process crashed (signal {number})"}).encode()
    return said + b"\n"


def _limit(job: dict[str, Any]) -> None:
    """Let the system end what the watching process would notice too late."""
    import resource

    import psutil

    held = psutil.Process().memory_info()
    most = getattr(held, "data", held.vms) + 2 * job["memory"]
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    # It writes no files.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seconds = int(job["seconds"]) + 5
    cores = os.cpu_count() or 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds * cores, seconds * cores))


def _called(function: Any, job: dict[str, Any]) -> bytes:
    try:
        return json.dumps({"value": function(job["argument"])}).encode()
    except MemoryError:
        return b'{"error": "it needs more memory than it may take"}'
    except Exception as error:  # noqa: BLE001  whatever it is, it is told
        return json.dumps({"error": first_line(error)[:500].rstrip(".")}).encode()


if __name__ == "__main__":
    main()

"""Ctrl-C: a command runs in a thread of its own, so that it can be left in the midst of a pass.

Python tells of ctrl-C between two of its own steps, and a pass of a network is one step that may
take minutes. So the main thread does nothing but wait for it.
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import ctypes
import os
import sys
import threading
from collections.abc import Callable

from napari_neuroscope.engine.errors import Cancelled
from napari_neuroscope.engine.files.atomic_write import remove_unfinished

STOPPED = 130
"""The exit status of a command that was stopped by ctrl-C."""
_ENDING_SECONDS = 1.0
_WAIT_SECONDS = 0.1
# Deeply nested files are read by functions that call themselves; elsewhere threads have less.
_STACK = 16 << 20

stopping = threading.Event()
"""Set once the command is to stop."""


def refuse_when_stopping() -> None:
    """End the work between two of its steps.

    Raises
    ------
    Cancelled
        Where the command is to stop.
    """
    if stopping.is_set():
        raise Cancelled


class Command:
    """A command that runs in a thread of its own.

    Parameters
    ----------
    run
        The command; what it returns is the exit status.
    """

    def __init__(self, run: Callable[[], int | None]) -> None:
        self._run = run
        self._status: int | None = None
        self._error: BaseException | None = None
        self._ended = threading.Event()
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._work,), name="command", daemon=True
        )

    def start(self) -> None:
        """Start the command, which may end, or be stopped, before this returns."""
        before = threading.stack_size(_STACK)
        try:
            self._thread.start()
        finally:
            threading.stack_size(before)

    def _work(self) -> None:
        try:
            self._status = self._run()
        except BaseException as error:  # noqa: BLE001  it is raised where the command is waited for
            self._error = error
        finally:
            self._ended.set()

    def result(self) -> int | None:
        """Wait for the command; return what it returned, or raise what it raised."""
        # Without a time, ctrl-C would not be told of on Windows.
        while not self._ended.wait(_WAIT_SECONDS):
            pass
        if self._error is not None:
            raise self._error
        return self._status

    def stop(self) -> bool:
        """Stop the command; return whether it ended."""
        stopping.set()
        if self._ended.wait(_ENDING_SECONDS):
            return True
        # What follows no progress, such as the loading of a file, is stopped at its next step.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(self._thread.ident or 0), ctypes.py_object(KeyboardInterrupt)
        )
        return self._ended.wait(_ENDING_SECONDS)


def run_to_its_end(run: Callable[[], int | None], stopped: Callable[[], str]) -> int | None:
    """Run a command; at ctrl-C stop it within seconds, whatever it does.

    Parameters
    ----------
    run
        The command; what it returns is the exit status.
    stopped
        Returns what is told where it was stopped.

    Returns
    -------
    int
        What it returned, or `STOPPED`.
    """
    stopping.clear()
    command = Command(run)
    try:
        command.start()
        return command.result()
    except KeyboardInterrupt:
        ended = False
        with contextlib.suppress(KeyboardInterrupt):
            ended = command.stop()
        with contextlib.suppress(OSError, ValueError):
            print(f"napari-neuroscope: {stopped()}", file=sys.stderr, flush=True)
        if not ended:
            _leave()
        return STOPPED


def _leave() -> None:
    """End the process, though its work goes on; files that are half written are removed."""

    def tidy() -> None:
        remove_unfinished()
        # Processes that were started, and temporary folders.
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()

    tidying = threading.Thread(target=tidy, daemon=True)
    tidying.start()
    with contextlib.suppress(KeyboardInterrupt):
        tidying.join(_ENDING_SECONDS)
    os._exit(STOPPED)

"""The program's end, where threads still work that do not come back."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading

_stuck: list[threading.Thread] = []


def end_without(thread: threading.Thread) -> None:
    """Let the program end though a thread still works then; its work is lost."""
    if not _stuck:
        atexit.register(_end)
    _stuck.append(thread)


def _end() -> None:
    """End at once, after all that is to be done at the end.

    A thread in the midst of a library's code would find what it uses torn down, and the program
    would then end by a crash.
    """
    if not any(thread.is_alive() for thread in _stuck):
        return
    atexit.unregister(_end)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(0)

"""A call that is made as soon as it can be of use: at once where nothing is computed."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable

from qtpy.QtCore import QObject, QTimer

from napari_neuroscope.widgets.parts.jobs.jobs import Jobs


class Soon(QObject):
    """Calls a method soon after it was asked for, once for all that is asked meanwhile.

    While no job runs it calls at the next turn of the event loop. While one does, it waits until
    that is done, but no longer than its patience: the call may then put a new job in its place.

    Parameters
    ----------
    slot
        The method, held weakly.
    jobs
        What the method has computed.
    patience
        In milliseconds.
    """

    def __init__(self, slot: Callable[[], None], jobs: Jobs, patience: int) -> None:
        super().__init__()
        self._slot = weakref.WeakMethod(slot)
        self._jobs, self._patience = jobs, patience
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._call)
        jobs.idle.connect(self._hurry)

    def __call__(self) -> None:
        """Ask for the call."""
        if not self._jobs.busy:
            self._timer.start(0)
        elif not self._timer.isActive():
            self._timer.start(self._patience)

    def cancel(self) -> None:
        """Forget what was asked."""
        # At the end of the program Qt may be gone already.
        with contextlib.suppress(RuntimeError):
            self._timer.stop()

    def _hurry(self) -> None:
        if self._timer.isActive():
            self._timer.start(0)

    def _call(self) -> None:
        slot = self._slot()
        if slot is not None:
            slot()

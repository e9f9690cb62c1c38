"""How far a dock's jobs are: a bar that is seen while they run, with the button that stops them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QProgressBar, QPushButton

from napari_neuroscope.widgets.parts.labels import on_line

_REDRAWN_S = 0.5
_TOLD_FROM_S = 2.0


class JobProgress(QProgressBar):
    """A bar that shows itself while jobs run, and enables the button that stops them.

    It stands still while nothing can be told, with words and seconds, and is drawn anew at most
    twice a second: each frame of Qt's busy bar has the window put together with the canvas anew,
    which by software OpenGL costs more than the work.

    Parameters
    ----------
    busy
        Whether any of the jobs runs, or waits.
    stop_button
        Stops them; it can be clicked while they run.
    words
        What is written of (done, total, what); `what` alone if not given.
    """

    def __init__(
        self,
        busy: Callable[[], bool],
        stop_button: QPushButton,
        words: Callable[[int, int, str], str] = lambda done, total, what: what,
    ) -> None:
        super().__init__()
        self._busy, self._words = busy, words
        self.stop_button = stop_button
        self._step, self._begun, self._drawn = (0, 0, ""), 0.0, 0.0
        self._timer = QTimer(self)
        self._timer.setInterval(round(_REDRAWN_S * 1000))
        self._timer.timeout.connect(self._redraw)
        self.rest()

    def follow(self, jobs: Any) -> None:
        """Show how far some jobs are, which tell it as `Jobs` do."""
        if hasattr(jobs, "started"):
            jobs.started.connect(self.begin)
        jobs.progressed.connect(self.advance)
        jobs.idle.connect(self.rest_if_idle)

    def begin(self, what: str) -> None:
        """Show that work has begun of which nothing can be told yet."""
        self.advance(0, 0, what)

    def advance(self, done: int, total: int, what: str) -> None:
        """Show how far work is; a total of 0 is not known."""
        now = time.monotonic()
        is_new = self.isHidden() or (total, what if not total else "") != self._kind()
        if is_new:
            self._begun = now
        self._step = (done, total, what)
        if is_new or now - self._drawn >= _REDRAWN_S:
            self._redraw()
        self.setVisible(True)
        self.stop_button.setEnabled(True)
        if not self._timer.isActive():
            self._timer.start()

    def _kind(self) -> tuple[int, str]:
        """Return what begins anew where it changes: the total, or the words where there is none."""
        _, total, what = self._step
        return total, "" if total else what

    def _redraw(self) -> None:
        done, total, what = self._step
        self._drawn = time.monotonic()
        words = on_line(self._words(done, total, what))
        took = self._drawn - self._begun
        if not total and took >= _TOLD_FROM_S:
            words = f"{words} · {took:.0f} s"
        # A range of 0 to 0 would be animated.
        bound = total or 1
        # A range that is set draws the bar anew, which the same is not worth.
        if (self.maximum(), self.format()) != (bound, words):
            self.setRange(0, bound)
            self.setFormat(words)
        if self.value() != (value := done if total else 0):
            # Qt draws a value at once, and the window with it; like this it waits for its turn.
            self.setUpdatesEnabled(False)
            self.setValue(value)
            self.setUpdatesEnabled(True)

    def rest_if_idle(self) -> None:
        """Hide where none of the jobs runs any more."""
        if not self._busy():
            self.rest()

    def rest(self) -> None:
        """Hide: there is nothing to stop."""
        self._timer.stop()
        self.setVisible(False)
        self.stop_button.setEnabled(False)

"""How far a dock's jobs are: a bar that is seen while they run, with the button that stops them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtWidgets import QProgressBar, QPushButton

from napari_neuroscope.widgets.parts.labels import on_line


class JobProgress(QProgressBar):
    """A bar that shows itself while jobs run, and enables the button that stops them.

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
        words = on_line(self._words(done, total, what))
        # A range that is set draws the bar anew, which the same is not worth.
        if (self.maximum(), self.format()) != (total, words):
            self.setRange(0, total)
            self.setFormat(words)
        self.setValue(done)
        self.setVisible(True)
        self.stop_button.setEnabled(True)

    def rest_if_idle(self) -> None:
        """Hide where none of the jobs runs any more."""
        if not self._busy():
            self.rest()

    def rest(self) -> None:
        """Hide: there is nothing to stop."""
        self.setVisible(False)
        self.stop_button.setEnabled(False)

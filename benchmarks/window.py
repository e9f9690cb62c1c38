"""How soon napari's canvas shows something, and how long its event loop stands still meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

TICK_MS, BEFORE_TICKS = 5, 20


@dataclass(frozen=True)
class Seen:
    """What came of an act, in ms.

    Attributes
    ----------
    shown
        From the act until the first frame with its outcome was drawn.
    stall
        The longest that the event loop stood still until then.
    after
        The longest in the time that it was watched afterwards.
    """

    shown: float
    stall: float
    after: float


class Window:
    """A napari window that is watched.

    A timer ticks each 5 ms: the longest time between two ticks is the stall. A frame counts once
    OpenGL has finished it.
    """

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer
        self.canvas = viewer.window._qt_viewer.canvas._scene_canvas

    def settle(self, seconds: float = 0.4) -> None:
        """Let the event loop run for a while."""
        from qtpy.QtCore import QEventLoop, QTimer

        loop = QEventLoop()
        QTimer.singleShot(round(seconds * 1000), loop.quit)
        loop.exec()

    def watched(
        self,
        act: Callable[[], object],
        there: Callable[[], bool],
        after_s: float = 0.4,
        limit_s: float = 120.0,
        *,
        drawn: bool = True,
    ) -> Seen:
        """Do something in the event loop, and watch until a frame is drawn after `there()`.

        Where nothing is drawn of it, `there()` alone is waited for.
        """
        from qtpy.QtCore import QEventLoop, Qt, QTimer
        from vispy import gloo

        ticks: list[float] = []
        begun: list[float] = []
        shown: list[float] = []
        loop, timer = QEventLoop(), QTimer()
        timer.setTimerType(Qt.TimerType.PreciseTimer)

        def draw(_: Any) -> None:
            if begun and not shown and there():
                gloo.gl.glFinish()
                shown.append(time.perf_counter())

        def tick() -> None:
            now = time.perf_counter()
            ticks.append(now)
            if len(ticks) == BEFORE_TICKS:
                begun.append(now)
                act()
            elif begun and not drawn and not shown and there():
                shown.append(now)
            if (shown and now > shown[0] + after_s) or (begun and now > begun[0] + limit_s):
                loop.quit()

        timer.timeout.connect(tick)
        if drawn:
            self.canvas.events.draw.connect(draw, position="last")
        timer.start(TICK_MS)
        loop.exec()
        timer.stop()
        if drawn:
            self.canvas.events.draw.disconnect(draw)
        if not shown:
            raise RuntimeError(f"nothing was shown within {limit_s} s")
        gaps, ends = np.diff(ticks[BEFORE_TICKS - 1 :]), np.array(ticks[BEFORE_TICKS:])
        # The tick in which the frame was drawn ends after it.
        last = int(np.searchsorted(ends, shown[0])) + 1
        return Seen(
            (shown[0] - begun[0]) * 1000,
            float(gaps[:last].max()) * 1000,
            float(gaps[last:].max(initial=0.0)) * 1000,
        )

"""Long work: what it takes is told before it begins, and while it goes on what is left of it."""

from __future__ import annotations

import time

from napari_neuroscope.session.session import Session
from napari_neuroscope.widgets.parts.labels import PlainLabel

# What takes longer is computed when it is asked for, and not at each choice.
_LONG_S = 10.0
# A map of so many passes takes so long that it is told before.
_MANY_PASSES = 20
# So long the work goes on before it is said when it ends.
_PATIENCE_S = 1.0


def duration(seconds: float) -> str:
    """Return about how long something takes, no more exact than a guess can be."""
    if seconds < 2:
        return "a moment"
    if seconds < 55:
        return f"about {round(seconds) if seconds < 10 else 5 * round(seconds / 5)} s"
    if seconds < 3570:
        return f"about {max(1, round(seconds / 60))} min"
    return f"about {seconds / 3600:.1f} h"


class TimeLeft:
    """Foretells when work ends, from how fast it has gone so far."""

    def __init__(self) -> None:
        self._of: tuple[int, str] = (0, "")
        self._begun = self._first = 0.0

    def __call__(self, done: int, total: int, what: str) -> str:
        """Return how long the work takes still, in words; empty where that can't be told yet."""
        now = time.monotonic()
        if self._of != (total, what) or done < self._first:
            self._of, self._begun, self._first = (total, what), now, done
        took, over = now - self._begun, done - self._first
        if not over or took < _PATIENCE_S:
            return ""
        return duration(took / over * (total - done))


class CostNote(PlainLabel):
    """Says what an explanation of what is chosen takes, where that is much."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setVisible(False)

    def tell(self, session: Session) -> bool:
        """Say it; return whether it is so long that it begins only when it is asked for."""
        cost, seconds = session.cost(), session.seconds()
        long = session.chosen_method().gradual and seconds > _LONG_S
        words = ""
        if cost is not None and (long or cost.passes >= _MANY_PASSES):
            words = f"{cost.passes:,} passes through the network: {duration(seconds)}."
            if long and session.live:
                words += " It begins with Explain, not as you choose."
        self.setText(words)
        self.setVisible(bool(words))
        return long

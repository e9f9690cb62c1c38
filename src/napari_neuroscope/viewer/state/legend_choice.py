"""Whether a legend is on the canvas."""

from __future__ import annotations

from psygnal import Signal


class LegendChoice:
    """Whether the canvas says which class each colour is, and which value."""

    changed = Signal()

    def __init__(self) -> None:
        self._shown = True

    @property
    def shown(self) -> bool:
        """Whether it does."""
        return self._shown

    @shown.setter
    def shown(self, on: bool) -> None:
        if on != self._shown:
            self._shown = on
            self.changed.emit()

"""How the contrast of maps is chosen, for all of a viewer's maps."""

from __future__ import annotations

from psygnal import Signal


class StackContrast:
    """Whether the layers of a stack have one contrast, and whether it ends at the greatest value.

    Otherwise each has its own, so that each can be seen: layers differ by orders of magnitude. And
    it ends at a percentile of the values, so that a few extreme ones don't hide the others.
    """

    changed = Signal()

    def __init__(self) -> None:
        self._common = self._to_maximum = False

    @property
    def common(self) -> bool:
        """Whether there is one contrast for all layers."""
        return self._common

    @common.setter
    def common(self, on: bool) -> None:
        if on != self._common:
            self._common = on
            self.changed.emit()

    @property
    def to_maximum(self) -> bool:
        """Whether contrasts end at the greatest value that is shown."""
        return self._to_maximum

    @to_maximum.setter
    def to_maximum(self, on: bool) -> None:
        if on != self._to_maximum:
            self._to_maximum = on
            self.changed.emit()

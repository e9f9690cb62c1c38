"""How the contrast of stacks is chosen, for all of a viewer's stacks."""

from __future__ import annotations

from psygnal import Signal


class StackContrast:
    """Whether the layers of a stack have one contrast, so that they can be compared.

    Otherwise each has its own, so that each can be seen: layers differ by orders of magnitude.
    """

    changed = Signal(bool)

    def __init__(self) -> None:
        self._common = False

    @property
    def common(self) -> bool:
        """Whether there is one contrast for all layers."""
        return self._common

    @common.setter
    def common(self, on: bool) -> None:
        if on != self._common:
            self._common = on
            self.changed.emit(on)

"""How the contrast of stacks is chosen, for all of a viewer's stacks."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from psygnal import Signal


class Contrast:
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


_contrasts: WeakKeyDictionary[Any, Contrast] = WeakKeyDictionary()


def contrast_of(viewer: Any) -> Contrast:
    """Return the choice of a viewer."""
    # A plugin is given a proxy of the viewer, a new one each time.
    return _contrasts.setdefault(getattr(viewer, "__wrapped__", viewer), Contrast())

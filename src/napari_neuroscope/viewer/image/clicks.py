"""Clicks on the canvas, told from drags."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

_STILL = 4.0
"""A hand moves this many screen pixels without meaning to drag."""


class Clicks:
    """Calls back with the place of each plain click on a viewer's canvas, while it is on.

    Parameters
    ----------
    viewer
        Whose canvas is clicked on.
    clicked
        Called with the position in the world, and whether the canvas shows a plane.
    """

    def __init__(self, viewer: Any, clicked: Callable[[tuple[float, ...], bool], None]) -> None:
        self._viewer = viewer
        self._clicked = clicked

    @property
    def on(self) -> bool:
        """Whether clicks are followed."""
        return self._press in self._viewer.mouse_drag_callbacks

    def switch(self, on: bool) -> None:
        """Follow clicks from now on, or no longer."""
        callbacks = self._viewer.mouse_drag_callbacks
        if on and not self.on:
            callbacks.append(self._press)
        elif not on and self.on:
            callbacks.remove(self._press)

    def _press(self, viewer: Any, event: Any) -> Iterator[None]:
        if event.button not in (1, None) or len(event.modifiers or ()):
            return
        start, position = np.array(event.pos, float), tuple(event.position)
        yield
        dragged = False
        while event.type == "mouse_move":
            dragged |= bool(np.linalg.norm(np.array(event.pos, float) - start) > _STILL)
            yield
        if not dragged:
            self._clicked(position, len(event.dims_displayed) == 2)

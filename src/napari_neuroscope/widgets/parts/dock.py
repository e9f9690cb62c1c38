"""What all docks share: a viewer, a session, work beside the window, and a clean end."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Protocol, TypeVar

import napari
from qtpy.QtCore import QEvent, QSize, QTimer
from qtpy.QtWidgets import QWidget
from superqt.utils import qdebounced

from napari_neuroscope.session.session import Session, session_of
from napari_neuroscope.widgets.parts.form import Part, column, scrolled
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs
from napari_neuroscope.widgets.parts.labels import note
from napari_neuroscope.widgets.parts.sentences import in_a_sentence
from napari_neuroscope.widgets.parts.window.dock_tabs import tab_beside_others
from napari_neuroscope.widgets.parts.window.wheel_guard import guard_from_wheel

MOST_WIDTH = 340
"""The width in pixels that a dock takes of a small screen at most."""


_ROOM_FOR_BARS = 24


class Closable(Protocol):
    """What holds something, such as a thread or layers that it follows, until it is closed."""

    def close(self) -> object:
        """Let go of it."""


ClosablePart = TypeVar("ClosablePart", bound=Closable)


class Dock(QWidget):
    """A widget that follows the viewer and a session until it is closed, or the window is.

    A dock of a kind makes its parts, lays them out by `lay_out`, and calls `follow` for what it is
    to show anew; `jobs` computes, and `fail` says what went wrong. `napari.yaml` names its class.

    Parameters
    ----------
    napari_viewer
        The viewer.
    session
        What is chosen; the viewer's, which its docks share, if not given.

    Attributes
    ----------
    name
        What style sheets and tests call the dock; said by each kind.
    jobs
        Runs the dock's work off the main thread.
    message
        Says what came of what was asked last; it is laid out where each kind wants it.
    """

    name: ClassVar[str] = ""

    def __init__(self, napari_viewer: napari.viewer.Viewer, session: Session | None = None) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self.session = session or session_of(napari_viewer)
        if self.name:
            self.setObjectName(f"neuroscope-{self.name}")
        self.message = note(selectable=True)
        self._has_place = False
        self._wanted_width = 0
        # napari is still placing it where it is shown first.
        self._placing = QTimer(self)
        self._placing.setSingleShot(True)
        self._placing.setInterval(0)
        self._placing.timeout.connect(self._find_place)
        self._ending = ending = _DockCleanup()
        self.jobs = self.owned(Jobs())
        # A closing window deletes its docks without closing them.
        self.destroyed.connect(lambda *_: ending.run())

    @property
    def closed(self) -> bool:
        """Whether the dock's work has ended."""
        return self._ending.done

    def lay_out(self, *parts: Part, stretch: Part | None = None, width: int = 320) -> None:
        """Lay the dock's parts out from the top, to be scrolled where there is little room.

        Parameters
        ----------
        parts
            Widgets, and rows of them.
        stretch
            Which of them takes the room that is left.
        width
            So wide its parts want to be, in pixels; a narrower dock scrolls.
        """
        inside = QWidget()
        column(inside, *parts, stretch=stretch)
        inside.setMinimumWidth(width)
        column(self, scrolled(inside), margin=0)
        self.be_wide(width)

    def be_wide(self, width: int) -> None:
        """Take so many pixels where there is room, and fewer on a small screen."""
        self._wanted_width = width
        self.setMinimumWidth(min(width, MOST_WIDTH))

    def sizeHint(self) -> QSize:
        """Return how large the dock is at first: so wide that nothing in it is cut."""
        return super().sizeHint().expandedTo(QSize(self._wanted_width + _ROOM_FOR_BARS, 0))

    def owned(self, part: ClosablePart) -> ClosablePart:
        """Return a part of the dock that is closed with it."""
        self.at_end(part.close)
        return part

    def fail(self, error: Exception) -> None:
        """Say what went wrong."""
        self.message.setText(in_a_sentence(error))

    def follow_each(self, signals: Iterable[Any], slot: Callable[..., Any]) -> None:
        """Call a method at each of some events and signals, as `follow` does."""
        for signal in signals:
            self.follow(signal, slot)

    def follow(self, signal: Any, slot: Callable[..., Any]) -> None:
        """Call a method at each event of the viewer or signal of the session, until the end.

        To follow the same again changes nothing.

        Parameters
        ----------
        signal
            An event of napari, or a psygnal signal.
        slot
            A method, of this dock or of a part of it.
        """
        self._ending.follow(signal, slot)

    def debounced(self, slot: Callable[[], None], delay: int) -> Any:
        """Return a call that is made `delay` milliseconds after the last time it was asked for."""
        soon = qdebounced(slot, timeout=delay)
        self.at_end(weakref.WeakMethod(soon.cancel))
        return soon

    def at_end(self, step: Callable[[], Any]) -> None:
        """Have something done at the end, the last asked for first; it must not hold the dock.

        A weak reference to a method counts as the method, while that is there.
        """
        self._ending.steps.append(step)

    def showEvent(self, event: Any) -> None:
        """Find a place among the other docks, at first."""
        super().showEvent(event)
        guard_from_wheel(self)
        if not self._has_place:
            self._has_place = True
            self._placing.start()

    def _find_place(self) -> None:
        if not self.closed:
            tab_beside_others(self)

    def close_work(self) -> None:
        """Stop what is computed and follow nothing any more; it may be called twice."""
        self._ending.run()

    def event(self, event: Any) -> bool:
        """End the work where napari takes the widget out of a dock that the user closes."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.close_work()
            # Slots that are functions hold the dock where Python's collector does not look.
            self.deleteLater()
        return super().event(event)

    def closeEvent(self, event: Any) -> None:
        """End the work with the dock."""
        self.close_work()
        super().closeEvent(event)


class _DockCleanup:
    """What is to be undone when a dock goes; it holds the dock weakly, and outlives it."""

    def __init__(self) -> None:
        self.done = False
        self.steps: list[Callable[[], Any]] = []
        self._followed: list[tuple[Callable[[], Any], Callable[[], Any]]] = []

    def follow(self, signal: Any, slot: Callable[..., Any]) -> None:
        """Connect a method, once."""
        # A plugin's viewer is a proxy, which makes a new proxy of an event each time.
        signal = getattr(signal, "__wrapped__", signal)
        self._followed = [pair for pair in self._followed if pair[0]() is not None]
        if any(s() is signal and m() == slot for s, m in self._followed):
            return
        signal.connect(slot)
        self._followed.append((_weakly(signal), weakref.WeakMethod(slot)))

    def run(self) -> None:
        """Disconnect all, then do the steps."""
        if self.done:
            return
        self.done = True
        for signal, slot in ((s(), m()) for s, m in self._followed):
            if signal is not None and slot is not None:
                signal.disconnect(slot)
        for step in reversed(self.steps):
            call = step() if isinstance(step, weakref.WeakMethod) else step
            if call is not None:
                call()
        self._followed.clear()
        self.steps.clear()


def _weakly(signal: Any) -> Callable[[], Any]:
    """Return a reference to an event that lets its layer go; signals of psygnal take none."""
    try:
        return weakref.ref(signal)
    except TypeError:
        return lambda: signal

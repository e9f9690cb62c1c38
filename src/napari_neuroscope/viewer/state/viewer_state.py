"""What the docks of one viewer share, for as long as the viewer lives."""

from __future__ import annotations

from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

T = TypeVar("T")

_states: WeakKeyDictionary[Any, dict[type[Any], Any]] = WeakKeyDictionary()


def state_of(viewer: Any, kind: type[T]) -> T:
    """Return a viewer's only object of a class, which is made where it is first asked for."""
    states = _states.setdefault(without_proxy(viewer), {})
    if kind not in states:
        states[kind] = kind()
    return cast("T", states[kind])


def without_proxy(model: Any) -> Any:
    """Return a viewer or a layer itself: a plugin is given proxies of them, new ones each time."""
    return getattr(model, "__wrapped__", model)

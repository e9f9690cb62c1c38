"""What is installed of a kind, ours and other packages': loaded by entry point, looked up by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, Protocol, TypeVar

from napari_neuroscope.engine.errors import (
    NeuroscopeError,
    NeuroscopeWarning,
    nearest_names,
    shortened,
)


class HasName(Protocol):
    """What is offered by name."""

    @property
    def name(self) -> str:
        """What it is called in code."""


Item = TypeVar("Item", bound=HasName)


class UnknownNameError(NeuroscopeError, KeyError):
    """There is nothing of a name."""

    def __str__(self) -> str:
        # A KeyError shows its words as code does.
        return str(self.args[0])


class PluginCatalogue(Mapping[str, Item]):
    """All of a kind by name, in the order in which they are offered.

    Parameters
    ----------
    noun
        What one of them is called.
    find
        Returns them; called when one is first asked for.
    """

    def __init__(self, noun: str, find: Callable[[], Iterable[Item]] = tuple) -> None:
        self._noun, self._find = noun, find
        self._items: dict[str, Item] | None = None

    def refresh(self) -> None:
        """Look again at what is installed, forgetting what was added."""
        self._items = None

    def _by_name(self) -> dict[str, Item]:
        if self._items is None:
            self._items = {item.name: item for item in self._find()}
        return self._items

    def __getitem__(self, name: str) -> Item:
        try:
            return self._by_name()[name]
        except KeyError:
            raise UnknownNameError(
                f"There is no {self._noun} “{name!s:.60}”; "
                f"{nearest_names(str(name), self._by_name())}"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._by_name()

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name())

    def __len__(self) -> int:
        return len(self._by_name())


def load_entry_points(
    group: str, noun: str, make: Callable[[Any], Any] = lambda loaded: loaded
) -> Iterator[Any]:
    """Yield what packages offer under a group of entry points, in the order of their names.

    What is wrong with another package must not stop the rest: it is left out with a warning. One of
    ours that can't be imported lacks its extra, and is left out as well.

    Parameters
    ----------
    group
        The group.
    noun
        What one of its entries is called.
    make
        Makes of what an entry point names what is yielded.
    """
    for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
        is_ours = entry.module.startswith("napari_neuroscope.")
        try:
            item = make(entry.load())
        except Exception as error:
            if is_ours and isinstance(error, ImportError):
                continue
            if is_ours:
                raise
            reason = shortened((str(error) or type(error).__name__).splitlines()[0], 200)
            warnings.warn(
                f"The {noun} “{entry.name}” ({entry.value}) can't be used: {reason}.",
                NeuroscopeWarning,
                stacklevel=3,
            )
        else:
            yield item

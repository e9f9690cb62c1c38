"""An option of a method: what it takes, its limits and its meaning, read from its type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Choices:
    """What an option is offered as, found out when that is asked: metadata of its type."""

    find: Callable[[], Sequence[str]]


@dataclass(frozen=True)
class ChoiceWords:
    """What people read for the values of an option that are words of code: metadata of its type."""

    words: Mapping[str, str]


@dataclass(frozen=True)
class Option:
    """An option of a method: its name, plain type, type with its limits, and default."""

    name: str
    annotation: Any
    limited: Any
    default: Any

    @property
    def choices(self) -> Sequence[str] | None:
        """What is offered, for an option with `Choices`."""
        choices = next((extra for extra in self._extras if isinstance(extra, Choices)), None)
        return choices.find() if choices is not None else None

    @property
    def limits(self) -> dict[str, float]:
        """The least and the greatest number, as far as there are, as "min" and "max"."""
        constraints = (c for extra in self._extras for c in getattr(extra, "metadata", ()))
        return {
            end: getattr(constraint, name)
            for constraint in constraints
            for name, end in (("ge", "min"), ("le", "max"))
            if hasattr(constraint, name)
        }

    @property
    def meaning(self) -> str:
        """What it does, as its type's ``Field(description=…)`` says."""
        texts = (getattr(extra, "description", None) for extra in self._extras)
        return next((text for text in texts if text), "")

    @property
    def title(self) -> str:
        """What people call it, as its type's ``Field(title=…)`` says, or else its name."""
        titles = (getattr(extra, "title", None) for extra in self._extras)
        return next((title for title in titles if title), self.name.replace("_", " ").capitalize())

    @property
    def words(self) -> Mapping[str, str]:
        """What people read for its values, for an option with `ChoiceWords`."""
        return next((x.words for x in self._extras if isinstance(x, ChoiceWords)), {})

    @property
    def _extras(self) -> tuple[Any, ...]:
        return getattr(self.limited, "__metadata__", ())

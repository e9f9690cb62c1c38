"""What goes wrong, said for a person; and how long work is followed and stopped."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

from napari_neuroscope.engine.plain_text import visible

_LONGEST = 2000


class NeuroscopeError(Exception):
    """A mistake that its reader can mend: one sentence with what was wrong and what to do.

    Words of a file stand in it as plain text: hidden characters are escaped, its length is bounded.
    """

    def __init__(self, sentence: str = "") -> None:
        super().__init__(visible(str(sentence), _LONGEST))


class FactoryNeededError(NeuroscopeError):
    """A file of weights alone, for which it must be said what builds the network."""


class OutOfMemoryError(NeuroscopeError):
    """A pass that does not fit the memory; fewer inputs at once, or a smaller image, may."""


class TimeLimitError(NeuroscopeError):
    """A pass that was ended because nothing says that it would ever end."""


class EmptyRegionError(NeuroscopeError):
    """A target's region that has no position on an image, such as a class that is nowhere seen."""


class NotByTilesError(NeuroscopeError):
    """A network or a method that can't be run tile by tile, or not with tiles of this size."""


class NeuroscopeWarning(UserWarning):
    """A result that stands, but not for what one might take it."""


class Cancelled(Exception):
    """Raised by a `Progress` callback to stop the work between two steps."""


Progress = Callable[[int, int, str], None]
"""Called as ``progress(done, total, what)``; may raise `Cancelled`. A total of 0 is unknown."""


def no_progress(done: int, total: int, what: str) -> None:
    """Follow nothing: the default `Progress`."""


def within(progress: Progress, part: int, parts: int, what: str) -> Progress:
    """Return what follows one of equal parts of the work."""

    def follow(done: int, total: int, _: str) -> None:
        progress(part * max(total, 1) + done, parts * max(total, 1), what)

    return follow


class CallbackError(Cancelled):
    """Carries what a progress callback raised past all that handles other errors."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


def shortened(text: str, most: int = 80) -> str:
    """Return a text, its end cut off where it is long."""
    return text if len(text) <= most else text[: most - 1] + "…"


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or what kind it is where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def in_digits(value: float | None) -> str:
    """Return a score for a person; one that is not finite is kept as None."""
    return "not finite" if value is None else f"{value:.4g}"


def nearest_names(name: str, names: Iterable[str], *, most: int = 3) -> str:
    """Say which of `names` come nearest to `name`, as the end of an error's sentence."""
    names = list(names)
    by_lower = {candidate.lower(): candidate for candidate in names}
    near = difflib.get_close_matches(name.lower(), by_lower, n=most, cutoff=0.5)
    if near:
        return "did you mean " + " or ".join(f"“{by_lower[n]}”" for n in near) + "?"
    shown = ", ".join(f"“{n}”" for n in names[:8])
    return f"choose from {shown}{', …' if len(names) > 8 else ''}."

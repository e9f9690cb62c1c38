"""What is said of a batch while it runs, and when it has ended."""

from __future__ import annotations

from typing import Any


def progress_in_words(event: dict[str, Any], time_left: str) -> str:
    """Return how far a batch is, by what its process told last.

    Parameters
    ----------
    event
        The fields of a `BatchEvent`.
    time_left
        About how long it takes still; empty where that is not known.
    """
    words = f"{images_over(event):,} of {event['total']:,}"
    if event["failed"]:
        words += f" · {event['failed']:,} with a problem"
    return f"{words} · {time_left} left" if time_left else words


def images_over(event: dict[str, Any]) -> int:
    """Return how many images are done, or could not be."""
    return int(event["kept"] + event["done"] + event["failed"])


def result_in_words(event: dict[str, Any]) -> str:
    """Return what a batch has done, by the event that ended it."""
    words = f"{event['kept'] + event['done']:,} of {event['total']:,} images are done"
    if event["kept"]:
        words += f", {event['kept']:,} of them before"
    if failed := event["failed"]:
        have, are = ("has", "is") if failed == 1 else ("have", "are")
        words += f"; {failed:,} {have} a problem, and {are} tried again with Resume"
    if event["left"]:
        words += f". Stopped: Resume does the other {event['left']:,}"
    return f"{words}."

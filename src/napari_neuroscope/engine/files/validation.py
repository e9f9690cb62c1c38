"""What pydantic finds wrong in a file, as words."""

from __future__ import annotations

from pydantic import ValidationError

from napari_neuroscope.engine.errors import shortened

# Which of several types were tried is no place in the file.
_TRIED = ("str", "int", "float", "bool")


def first_mistake(error: ValidationError) -> tuple[str, str]:
    """Return where the first mistake is, and what it is, the end of a sentence; and how many more."""
    first = error.errors(include_url=False, include_input=False)[0]
    parts = [str(part) for part in first["loc"] if part not in _TRIED]
    place = ".".join(part for part in parts if "[" not in part) or "it"
    said = first["msg"].removeprefix("Value error, ")
    more = error.error_count() - 1
    return shortened(place), f"{shortened(said, 300)}{f' (and {more:,} more)' if more else ''}"

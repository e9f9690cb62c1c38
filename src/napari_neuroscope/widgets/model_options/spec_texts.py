"""Parts of a spec as people write them in one line, and back; no Qt inside."""

from __future__ import annotations

import re
from typing import Any

from napari_neuroscope.engine.spec.input_spec import SizeRule

_ANY = ("", "any", "any size")


def size_text(size: tuple[int, ...] | SizeRule | None) -> str:
    """Return a size as it is written: ``any``, ``224 × 224`` or ``32 + n · 16``."""
    if size is None:
        return "any"
    if isinstance(size, tuple):
        return " × ".join(map(str, size))
    several = [len(value) for value in (size.min, size.step) if isinstance(value, tuple)]
    axes = size.each(max(several, default=1))
    return ", ".join(f"{least} + n · {step}" if step else str(least) for least, step in axes)


def size_of(text: str, axes: int) -> Any:
    """Return the size that a text says, for so many spatial axes.

    Raises
    ------
    ValueError
        Where it says none.
    """
    text = text.strip().lower()
    if text in _ANY:
        return None
    if "n" in text or "+" in text:
        pairs = [_rule(part) for part in text.split(",")]
        least, step = (tuple(values) for values in zip(*pairs, strict=True))
        return {
            "min": least[0] if len(pairs) == 1 else least,
            "step": step[0] if len(pairs) == 1 else step,
        }
    numbers = [int(part) for part in re.split(r"[×x*,\s]+", text) if part.isdecimal()]
    if not numbers or not re.fullmatch(r"[\d×x*,\s]+", text):
        raise ValueError("write 224 × 224, or 32 + n · 16, or any")
    return tuple(numbers * axes if len(numbers) == 1 else numbers)


def _rule(text: str) -> tuple[int, int]:
    match = re.fullmatch(
        r"\s*(\d+)\s*(?:\+\s*(?:n\s*[·*×x]?\s*(\d+)|(\d+)\s*[·*×x]?\s*n))?\s*", text
    )
    if not match:
        raise ValueError("write 224 × 224, or 32 + n · 16, or any")
    return int(match[1]), int(match[2] or match[3] or 0)


def numbers_text(numbers: tuple[float, ...] | None) -> str:
    """Return numbers with commas between them."""
    return "" if numbers is None else ", ".join(f"{n:.10g}" for n in numbers)


def numbers_of(text: str) -> tuple[float, ...] | None:
    """Return the numbers that a text says, or None where it is empty.

    Raises
    ------
    ValueError
        Where something else stands there.
    """
    parts = [part for part in re.split(r"[,;\s]+", text.strip()) if part]
    try:
        return tuple(float(part) for part in parts) or None
    except ValueError:
        raise ValueError("write numbers with commas between them") from None


def range_text(value_range: str | tuple[float, float]) -> str:
    """Return a range of values as it is written: ``auto``, ``data`` or ``0, 4095``."""
    return value_range if isinstance(value_range, str) else numbers_text(value_range)


def range_of(text: str) -> Any:
    """Return the range of values that a text says.

    Raises
    ------
    ValueError
        Where it says none.
    """
    text = text.strip().lower()
    if text in ("auto", "data"):
        return text
    numbers = numbers_of(text)
    if numbers is None or len(numbers) != 2:
        raise ValueError("write auto, data, or the two numbers that become 0 and 1")
    return numbers

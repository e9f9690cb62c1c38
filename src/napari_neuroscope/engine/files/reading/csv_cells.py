"""Cells of CSV tables: no program that opens a table takes a text of a stranger for a formula."""

from __future__ import annotations

from typing import Any

# What begins a formula in programs for spreadsheets, in the wide forms of Asian scripts too.
_BEGINS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def without_formula(cell: Any) -> Any:
    """Return a cell as it is written: a text that would be a formula gets an apostrophe before it.

    Numbers stay as they are, those that are written as text too.
    """
    return f"'{cell}" if isinstance(cell, str) and _is_formula(cell) else cell


def with_formula(cell: str) -> str:
    """Return a cell that is read, without the apostrophe that `without_formula` put before it."""
    return cell[1:] if cell.startswith("'") and _is_formula(cell[1:]) else cell


def _is_formula(text: str) -> bool:
    # An apostrophe that was there before gets another, so that it comes back.
    text = text.lstrip("'")
    return len(text) > 1 and text.startswith(_BEGINS_FORMULA) and not _is_number(text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text == text.strip()

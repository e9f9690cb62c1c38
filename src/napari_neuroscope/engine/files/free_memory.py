"""How much memory is free."""

from __future__ import annotations


def free_memory() -> int:
    """Return how many bytes of memory can be taken without anything being swapped out."""
    import psutil

    free: int = psutil.virtual_memory().available
    return free

"""Giving memory back to the system between pieces of long work."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim if sys.platform == "linux" else None
    except (OSError, AttributeError):
        # Another C library.
        return None


def give_back() -> None:
    """Give back what is free but held for later by glibc.

    Blocks of many sizes leave gaps between them that no other block fits, so that a process which
    works on piece after piece would take more and more.
    """
    trim = _trim()
    if trim is not None:
        trim(0)

"""With what an explanation is made."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import torch


def versions() -> dict[str, str]:
    """Return with what an explanation is made here."""
    return {
        "napari-neuroscope": _version("napari-neuroscope"),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"

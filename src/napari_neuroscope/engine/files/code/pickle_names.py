"""Names that a pickle imports, those first that can do most harm."""

from __future__ import annotations

import sys
from collections.abc import Iterable

HIDDEN = "code that it hides"
"""Stands for what is imported or called by a name that only running would tell."""

# What loads and runs whatever it is told to, or has a file or the system at hand.
_DANGEROUS = {
    "os", "posix", "nt", "subprocess", "builtins", "__builtin__", "sys", "shutil", "importlib",
    "runpy", "ctypes", "socket", "pty", "code", "codeop", "pickle", "_pickle", "marshal", "types",
    "operator", "_operator", "functools", "webbrowser", "urllib", "multiprocessing", "threading",
    "_thread", "asyncio", "signal", "pathlib", "io", "_io", "tempfile", "timeit", "cProfile", "pdb",
    "bdb", "doctest", "pkgutil", "zipimport", "site", "commands", "platform", "imp",
}  # fmt: skip
_LOADERS = ("torch.storage._load_from_bytes", "torch.load", "torch.hub", "torch.jit", "torch.ops",
            "torch.utils", "torch.package", "torch.serialization", "torch.classes")  # fmt: skip


def most_dangerous_first(names: Iterable[str]) -> list[str]:
    """Return names with those first that can do most harm, so that a long list can't hide them."""

    def rank(name: str) -> int:
        top = name.partition(".")[0]
        if top in _DANGEROUS:
            return 0
        if name == HIDDEN or name.startswith(_LOADERS):
            return 1
        if top in sys.stdlib_module_names:
            return 2
        return 4 if top == "torch" else 3

    return sorted(names, key=rank)

"""Modules of Python that run from bytes that are held, whatever has become of their files."""

from __future__ import annotations

from importlib.machinery import SourceFileLoader
from types import CodeType


class HeldSourceLoader(SourceFileLoader):
    """Runs a module from bytes that were read before, and not from what is cached beside it.

    Parameters
    ----------
    fullname, path
        The module's name, and where its file lay.
    source
        The bytes.
    """

    def __init__(self, fullname: str, path: str, source: bytes) -> None:
        super().__init__(fullname, path)
        self._source = source

    def get_data(self, path: str) -> bytes:
        return self._source if path == self.path else super().get_data(path)

    def get_code(self, fullname: str) -> CodeType:
        # What is cached may have been made of something else.
        return self.source_to_code(self._source, self.path)

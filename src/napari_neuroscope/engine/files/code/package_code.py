"""Python code in no installed package: trusted by the hash of all its files, and run from them.

Who trusts a package trusts what lay in it then. So all of its files are hashed, with their names
and the package's place, and what is imported is compiled from the very bytes that were hashed: not
from a cached .pyc, nor from what has been written there since.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.code.held_source import HeldSourceLoader
from napari_neuroscope.engine.files.code.trust import digest_of
from napari_neuroscope.engine.files.reading.bounded_file import open_regular

_BLOCK = 1 << 20


class PackageCode:
    """All files of a package of Python code, as they were when it was made.

    Parameters
    ----------
    name
        The package.
    portions
        Where it lies: the file of a module, or folders.

    Attributes
    ----------
    sha256
        The hash of its files, their names and its place.

    Raises
    ------
    NeuroscopeError
        Where it can't be read, or has too many files to look through.
    """

    def __init__(self, name: str, portions: Sequence[Path]) -> None:
        self.name, self.portions = name, tuple(portions)
        self._sources: dict[str, bytes] = {}
        self._digests: dict[str, str] = {}
        digest, left = hashlib.sha256(name.encode() + b"\0"), limits.MOST_CODE
        for portion in self.portions:
            # Modules of the same words elsewhere import other neighbours.
            digest.update(os.fsencode(portion.resolve()) + b"\0")
            for path in _files(portion):
                left -= self._take(path, left)
                where = path.relative_to(portion) if path != portion else path.name
                digest.update(os.fsencode(where) + b"\0" + self._digests[str(path)].encode())
        self.sha256 = digest.hexdigest()

    def _take(self, path: Path, most: int) -> int:
        """Hash a file, keep it where it is Python's source, and return its size."""
        keeps, size, digest, kept = path.suffix == ".py", 0, hashlib.sha256(), bytearray()
        with open_regular(path) as file:
            while block := file.read(_BLOCK):
                size += len(block)
                if size > (min(most, limits.MOST_TEXT) if keeps else most):
                    raise NeuroscopeError(
                        f"The package “{self.name}” in {shortened(str(self.portions[0]), 300)} is "
                        f"too large to be looked through; install it into this environment."
                    )
                digest.update(block)
                if keeps:
                    kept += block
        self._digests[str(path)] = digest.hexdigest()
        if keeps:
            self._sources[str(path)] = bytes(kept)
        return size

    def import_from_here(self) -> None:
        """Let imports of the package run the files as they were hashed, and no others."""
        sys.meta_path[:] = [
            finder
            for finder in sys.meta_path
            if not (isinstance(finder, _Finder) and finder.code.name == self.name)
        ]
        sys.meta_path.insert(0, _Finder(self))

    def holds(self, path: str) -> bool:
        """Whether a file lies in the package."""
        return any(Path(path).is_relative_to(portion) for portion in self.portions)

    def source(self, path: str) -> bytes | None:
        """Return Python's source as it was hashed."""
        return self._sources.get(path)

    def is_unchanged(self, path: str) -> bool:
        """Whether a file, such as a compiled module, is still as it was hashed."""
        return digest_of(Path(path)) == self._digests.get(path)


class _Finder(MetaPathFinder):
    """Finds the modules of one package, and has them run from the bytes that were hashed."""

    def __init__(self, code: PackageCode) -> None:
        self.code = code

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != self.code.name:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None or not spec.has_location:
            return spec
        origin = os.path.abspath(spec.origin)
        if not self.code.holds(origin):
            return spec
        source = self.code.source(origin)
        if source is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = HeldSourceLoader(fullname, origin, source)
            spec.cached = None
            return spec
        if not self.code.is_unchanged(origin):
            raise ImportError(f"{origin} has changed since the package was trusted")
        return spec


def _files(portion: Path) -> Iterator[Path]:
    """Yield the files of a package, in order, but for caches that Python makes itself."""
    if portion.is_file():
        yield portion
        return
    count, visited = 0, set()
    for folder, folders, names in os.walk(portion, followlinks=True):
        place = os.path.realpath(folder)
        if place in visited:
            # A link to a folder that it lies in.
            folders.clear()
            continue
        visited.add(place)
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        count += len(names) + len(folders)
        if count > limits.MOST_ENTRIES:
            raise NeuroscopeError(
                f"The folder {shortened(str(portion), 300)} has more than {limits.MOST_ENTRIES:,} "
                f"files, too many to look through; install the package into this environment."
            )
        for name in sorted(names):
            path = Path(folder, name)
            # Pipes and devices are never imported.
            if path.is_file():
                yield path

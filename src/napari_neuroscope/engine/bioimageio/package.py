"""The files of a bioimage.io package, from a folder or a zip, and none from outside of it."""

from __future__ import annotations

import hashlib
import lzma
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

import yaml

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files.file_kind import is_description
from napari_neuroscope.engine.files.trust import digest_of

_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError)
# Weights hardly shrink in a zip: one that grows by far more than this is made to fill the disk.
_MOST_GROWTH, _ALWAYS_FINE, _MOST_BYTES, _MOST_FILES = 200, 1 << 30, 1 << 36, 10_000


class Package:
    """A bioimage.io package, open for as long as a ``with`` statement lasts.

    Parameters
    ----------
    path
        A zip, a folder, or the description (rdf.yaml) in one.

    Attributes
    ----------
    path
        The package: the zip, or the folder.

    Raises
    ------
    NeuroscopeError
        Where it is broken, or a zip that no one should unpack.
    """

    def __init__(self, path: Path) -> None:
        self._zip: zipfile.ZipFile | None = None
        self._temporary: TemporaryDirectory[str] | None = None
        if path.is_dir():
            # “.” has no name to put a spec beside.
            self.path = self._folder = path if path.name else path.absolute()
            found = nearest_description(p.name for p in path.iterdir() if p.is_file())
            self._description = found or "rdf.yaml"
        elif zipfile.is_zipfile(path):
            self.path = path
            self._open_zip(path)
        else:
            self._folder, self._description = path.parent, path.name
            self.path = path.absolute().parent if is_description(path.name) else path

    def _open_zip(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except _BROKEN as error:
            raise NeuroscopeError(
                f"“{path.name}” is a broken zip archive ({error}); download or save it again."
            ) from error
        entries = self._zip.infolist()
        try:
            _refuse_unsafe(entries, path)
        except NeuroscopeError:
            self._zip.close()
            raise
        self._temporary = TemporaryDirectory(prefix="neuroscope-")
        self._folder = Path(self._temporary.name)
        found = nearest_description(entry.filename for entry in entries)
        self._description = found or "rdf.yaml"

    def __enter__(self) -> Package:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._zip is not None:
            self._zip.close()
        if self._temporary is not None:
            # Windows keeps a file that is still mapped into memory.
            shutil.rmtree(self._temporary.name, ignore_errors=True)
            self._temporary.cleanup()

    def description(self) -> Any:
        """Return the plain data of the description.

        Raises
        ------
        NeuroscopeError
            Where it is missing, or no plain YAML.
        """
        where = f"The description {self._description} of “{self.path.name}”"
        try:
            return yaml.safe_load(self._located(self._description).read_text("utf-8"))
        except OSError as error:
            raise NeuroscopeError(f"{where} can't be read: {error.strerror}.") from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            problem = getattr(error, "problem", None) or (str(error) or "?").splitlines()[0]
            raise NeuroscopeError(
                f"{where} is no plain YAML: {shortened(str(problem), 200)}."
            ) from error

    def file(self, source: str, sha256: str | None = None) -> Path:
        """Return where a file of the package lies, by its path from the description.

        Raises
        ------
        NeuroscopeError
            Where it is missing, outside of the package, or has another hash.
        """
        if "://" in source:
            raise NeuroscopeError(
                f"“{self.path.name}” refers to {shortened(source, 200)}, and nothing is downloaded "
                f"here; download the whole package from bioimage.io (its zip)."
            )
        beside = PurePosixPath(self._description).parent
        found = self._located(str(beside / source.replace("\\", "/")))
        if sha256 is not None and digest_of(found) != sha256.lower():
            raise NeuroscopeError(
                f"“{source}” in “{self.path.name}” is not the file that its description means: its "
                f"SHA-256 is another; download the package again."
            )
        return found

    def unpacked(self, path: Path) -> Path:
        """Return a temporary folder with what a zip of the package holds."""
        if self._temporary is None:
            self._temporary = TemporaryDirectory(prefix="neuroscope-")
        folder = Path(self._temporary.name) / f"{path.name}.unpacked"
        try:
            with zipfile.ZipFile(path) as archive:
                _refuse_unsafe(archive.infolist(), path)
                archive.extractall(folder)
        except _BROKEN as error:
            raise NeuroscopeError(
                f"“{path.name}” in “{self.path.name}” can't be unpacked ({error}); download the "
                f"package again."
            ) from error
        return folder

    def digest(self, sources: Iterable[str]) -> str:
        """Return a hash of all that may run: of a zip, or of the description and `sources`."""
        if self._zip is not None:
            return digest_of(self.path)
        digest = hashlib.sha256()
        for source in [self._description, *sorted(sources)]:
            try:
                part = digest_of(self._located(source))
            except NeuroscopeError:
                part = ""
            digest.update(f"{source}\0{part}\0".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def _located(self, name: str) -> Path:
        parts = PurePosixPath(name).parts
        if ".." in parts or _is_absolute(name) or "\0" in name:
            raise NeuroscopeError(
                f"“{self.path.name}” refers to {shortened(name, 200)}, which lies outside of it; "
                f"such a package is not opened."
            )
        path = self._folder.joinpath(*parts)
        if self._zip is not None and not path.exists():
            self._extract("/".join(parts))
        try:
            if not path.resolve().is_relative_to(self._folder.resolve()):
                raise NeuroscopeError(
                    f"{shortened(name, 200)} in “{self.path.name}” is a link out of the package; "
                    f"such a package is not opened."
                )
            if path.is_file():
                return path
        except (OSError, RuntimeError):
            # A name that the system can't have, or a link to itself.
            pass
        raise NeuroscopeError(
            f"“{self.path.name}” lacks the file {shortened(name, 200)}; download the whole package "
            f"again."
        )

    def _extract(self, name: str) -> None:
        assert self._zip is not None
        try:
            self._zip.extract(name, self._folder)
        except KeyError:
            return
        except _BROKEN as error:
            self._folder.joinpath(name).unlink(missing_ok=True)
            reason = shortened(str(error) or type(error).__name__, 160)
            raise NeuroscopeError(
                f"{name} can't be unpacked from “{self.path.name}” ({reason}); download the "
                f"package again."
            ) from error


def nearest_description(names: Iterable[str]) -> str | None:
    """Return which of the names is the package's description: the one least deep in folders."""
    found = [name for name in names if is_description(name.rpartition("/")[2])]
    return min(found, key=lambda name: (name.count("/"), name), default=None)


def _is_absolute(name: str) -> bool:
    return name.startswith(("/", "\\")) or name[1:2] == ":"


def _refuse_unsafe(entries: Sequence[zipfile.ZipInfo], path: Path) -> None:
    for entry in entries:
        parts = entry.filename.replace("\\", "/").split("/")
        linked = stat.S_ISLNK(entry.external_attr >> 16)
        if ".." in parts or _is_absolute(entry.filename) or linked:
            what = "a link" if linked else "a place outside of it"
            raise NeuroscopeError(
                f"The zip “{path.name}” has {what} ({shortened(entry.filename, 100)}); such an "
                f"archive is not unpacked."
            )
    # Python unpacks no more than what an entry says that it holds.
    size = sum(entry.file_size for entry in entries)
    most = min(_MOST_BYTES, max(_ALWAYS_FINE, _MOST_GROWTH * path.stat().st_size))
    if size > most or len(entries) > _MOST_FILES:
        raise NeuroscopeError(
            f"The zip “{path.name}” of {path.stat().st_size:,} bytes would unpack to {size:,} bytes "
            f"in {len(entries):,} files; such an archive is not unpacked."
        )

"""The files of a bioimage.io package, from a folder or a zip, and none from outside of it."""

from __future__ import annotations

import hashlib
import stat
import zipfile
from collections.abc import Collection, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError, first_line, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.code.trust import digest_of, private_copy
from napari_neuroscope.engine.files.file_kind import is_description
from napari_neuroscope.engine.files.reading.bounded_file import cant_be_read, read_bytes
from napari_neuroscope.engine.files.reading.bounded_zip import BROKEN, open_zip, read_entry
from napari_neuroscope.engine.files.reading.plain_data import PlainDataError, parse_yaml


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
        # What is closed and deleted at the end.
        self._open = ExitStack()
        self._zip: zipfile.ZipFile | None = None
        self._text: bytes | None = None
        # Copies that nobody else can change, of what was trusted.
        self._sealed: dict[Path, Path] = {}
        self._sealed_zip: Path | None = None
        if path.is_dir():
            # “.” has no name to put a spec beside.
            self.path = self._folder = path if path.name else path.absolute()
            try:
                names = [inner.name for inner in path.iterdir() if inner.is_file()]
            except OSError as error:
                raise cant_be_read(path, error) from error
            self._description = nearest_description(names) or "rdf.yaml"
        elif zipfile.is_zipfile(path):
            self.path = path
            try:
                self._open_zip(path)
            except BaseException:
                self._open.close()
                raise
        else:
            self._folder, self._description = path.parent, path.name
            self.path = path.absolute().parent if is_description(path.name) else path

    def _open_zip(self, path: Path) -> None:
        self._zip = self._open.enter_context(open_zip(path))
        for entry in self._zip.infolist():
            _refuse_elsewhere(entry, path)
        self._description = nearest_description(self._zip.namelist()) or "rdf.yaml"
        self._folder = self._private_folder()

    def _private_folder(self) -> Path:
        # Windows keeps a file that is still mapped into memory.
        folder = TemporaryDirectory(prefix="neuroscope-", ignore_cleanup_errors=True)
        return Path(self._open.enter_context(folder))

    def __enter__(self) -> Package:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def description(self) -> Any:
        """Return the plain data of the description.

        Raises
        ------
        NeuroscopeError
            Where it is missing, or no plain YAML.
        """
        where = f"The description {shortened(self._description, 100)} of “{self.path.name}”"
        try:
            return parse_yaml(self._text_of_description().decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise NeuroscopeError(f"{where} is no text in UTF-8.") from error
        except PlainDataError as error:
            raise NeuroscopeError(f"{where} can't be read: {error}.") from error

    def _text_of_description(self) -> bytes:
        """Return the bytes of the description, which is read once: what it says is what counts."""
        if self._text is None:
            if self._zip is not None:
                name = self._description
                self._text = read_entry(self._zip, name, limits.MOST_TEXT, self.path.name)
            else:
                self._text = read_bytes(self._located(self._description), limits.MOST_TEXT)
        return self._text

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
        location = self._located(str(beside / source.replace("\\", "/")))
        location = self._sealed.get(location, location)
        if sha256 is not None and digest_of(location) != sha256.lower():
            raise self._is_another(source)
        return location

    def content(self, source: str, sha256: str | None = None) -> bytes:
        """Return what a text of the package holds, by its path from the description.

        Raises
        ------
        NeuroscopeError
            As `file` does, and where it is longer than any text.
        """
        content = read_bytes(self.file(source), limits.MOST_TEXT)
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256.lower():
            raise self._is_another(source)
        return content

    def _is_another(self, source: str) -> NeuroscopeError:
        return NeuroscopeError(
            f"“{shortened(source, 200)}” in “{self.path.name}” is not the file that its description "
            f"means: its SHA-256 is another; download the package again."
        )

    def unpacked(self, path: Path) -> Path:
        """Return a temporary folder with what a zip of the package holds.

        Raises
        ------
        NeuroscopeError
            Where it can't be unpacked, or should not be.
        """
        folder = self._private_folder() / f"{path.name}.unpacked"
        with open_zip(path) as archive:
            for entry in archive.infolist():
                _refuse_elsewhere(entry, path)
            try:
                archive.extractall(folder)
            except BROKEN as error:
                raise NeuroscopeError(
                    f"“{path.name}” in “{self.path.name}” can't be unpacked "
                    f"({shortened(first_line(error), 160)}); download the package again."
                ) from error
        return folder

    # --- trust ------------------------------------------------------------------------------------

    def digest(self, sources: Collection[str]) -> str:
        """Return the hash of all that may run: of a zip, or of the description and `sources`.

        It is what trust in the package is remembered by. What runs is to be sealed first.
        """
        if self._zip is not None:
            return digest_of(self._sealed_zip or self.path)
        digest = hashlib.sha256()
        for source in [self._description, *sorted(sources)]:
            if source == self._description:
                part = hashlib.sha256(self._text_of_description()).hexdigest()
            else:
                part = self._digest_of_source(source)
            digest.update(f"{source}\0{part}\0".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def _digest_of_source(self, source: str) -> str:
        try:
            return digest_of(self.file(source))
        except NeuroscopeError:
            # It isn't opened either.
            return ""

    def seal(self, sources: Collection[str]) -> str:
        """Copy what may run to where nobody else can change it, and return the hash of the copies.

        What is taken from the package afterwards are the copies.

        Raises
        ------
        NeuroscopeError
            Where it has changed since it was opened.
        """
        if self._zip is not None:
            self._seal_zip()
            return self.digest(sources)
        for source in sources:
            with suppress(NeuroscopeError):
                path = self.file(source)
                if path not in self._sealed.values():
                    self._sealed[path] = self._open.enter_context(private_copy(path))
        return self.digest(sources)

    def _seal_zip(self) -> None:
        text = self._text_of_description()
        self._sealed_zip = self._open.enter_context(private_copy(self.path))
        self._open_zip(self._sealed_zip)
        self._text = None
        # What was understood of it so far is then what the copy says.
        if self._text_of_description() != text:
            raise NeuroscopeError(
                f"“{self.path.name}” was changed while it was opened; open it again."
            )

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
        except BROKEN as error:
            with suppress(OSError):
                self._folder.joinpath(name).unlink(missing_ok=True)
            raise NeuroscopeError(
                f"{shortened(name, 200)} can't be unpacked from “{self.path.name}” "
                f"({shortened(first_line(error), 160)}); download the package again."
            ) from error


def nearest_description(names: Iterable[str]) -> str | None:
    """Return which of the names is the package's description: the one least deep in folders."""
    descriptions = [name for name in names if is_description(name.rpartition("/")[2])]
    return min(descriptions, key=lambda name: (name.count("/"), name), default=None)


def _is_absolute(name: str) -> bool:
    return name.startswith(("/", "\\")) or name[1:2] == ":"


def _refuse_elsewhere(entry: zipfile.ZipInfo, path: Path) -> None:
    """Refuse a file of a zip that would be written elsewhere, or lead there."""
    parts = entry.filename.replace("\\", "/").split("/")
    linked = stat.S_ISLNK(entry.external_attr >> 16)
    if ".." in parts or _is_absolute(entry.filename) or linked:
        what = "a link" if linked else "a place outside of it"
        raise NeuroscopeError(
            f"The zip “{path.name}” has {what} ({shortened(entry.filename, 100)}); such an "
            f"archive is not unpacked."
        )

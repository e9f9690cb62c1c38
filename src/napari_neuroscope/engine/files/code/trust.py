"""Trust: nothing in a file runs without the user's word, which is remembered by the file's hash."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.atomic_write import write_whole
from napari_neuroscope.engine.files.code import granted
from napari_neuroscope.engine.files.reading.bounded_file import (
    cant_be_read,
    open_regular,
    read_bytes,
)
from napari_neuroscope.engine.plain_text import visible

_BLOCK = 1 << 20
_LONGEST_WORDS, _LONGEST_NAME = 500, 120


class UntrustedError(NeuroscopeError):
    """A file that would run code of its own, which the user has not allowed.

    Attributes
    ----------
    path
        The file.
    sha256
        The hash of its content, by which trust is remembered.
    would_run
        What it would run, in words: plain text of a bounded length.
    """

    def __init__(self, path: Path, sha256: str, would_run: str) -> None:
        self.path, self.sha256 = path, sha256
        self.would_run = visible(would_run, _LONGEST_WORDS)
        super().__init__(
            f"“{shortened(path.name, _LONGEST_NAME)}” would run code of its own: {self.would_run}. "
            f"If you trust where it comes from, load it with trust=True (its SHA-256 is {sha256})."
        )


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, or of all files of a folder with their names.

    Raises
    ------
    NeuroscopeError
        Where it can't be read, is no file or folder, holds a link that leads out of it, or is
        larger than any network.
    """
    if path.is_dir():
        digest = hashlib.sha256()
        for inner in _files_in(path):
            digest.update(inner.relative_to(path).as_posix().encode("utf-8", "surrogateescape"))
            digest.update(b"\0" + _hash_of_file(inner).digest())
        return digest.hexdigest()
    return _hash_of_file(path).hexdigest()


def _hash_of_file(path: Path) -> hashlib._Hash:
    digest = hashlib.sha256()
    for block in _blocks(path):
        digest.update(block)
    return digest


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, of a bounded number: a file with holes may say any size."""
    left = limits.MOST_FILE
    with open_regular(path) as file:
        try:
            while block := file.read(_BLOCK):
                left -= len(block)
                if left < 0:
                    raise NeuroscopeError(
                        f"“{shortened(path.name, 200)}” has more than {limits.MOST_FILE:,} bytes, "
                        f"more than any network that can be opened here."
                    )
                yield block
        except OSError as error:
            raise cant_be_read(path, error) from error


def _files_in(folder: Path) -> list[Path]:
    """Return the files of a folder, sorted; what lies elsewhere is none of them."""
    files: list[Path] = []
    waiting, count = [folder], 0
    while waiting:
        inside = waiting.pop()
        try:
            for entry in os.scandir(inside):
                path, count = Path(entry.path), count + 1
                if count > limits.MOST_ENTRIES:
                    raise NeuroscopeError(
                        f"“{shortened(folder.name, 200)}” has more than {limits.MOST_ENTRIES:,} "
                        f"files, more than any network's folder."
                    )
                if path.is_symlink() and (
                    path.is_dir() or not path.resolve().is_relative_to(folder.resolve())
                ):
                    raise NeuroscopeError(
                        f"“{shortened(path.name, 100)}” in “{shortened(folder.name, 100)}” is a link "
                        f"to elsewhere; put the file itself there."
                    )
                (waiting if path.is_dir() else files).append(path)
        except (OSError, RuntimeError) as error:
            raise cant_be_read(inside, error) from error
    return sorted(files)


class TrustStore:
    """The files that the user trusts, in the user's configuration folder.

    Parameters
    ----------
    path
        The JSON file that holds them; None: the usual place.
    """

    _writing = threading.Lock()

    def __init__(self, path: Path | None = None) -> None:
        if path is None:
            from platformdirs import user_config_path

            path = user_config_path("napari-neuroscope") / "trusted.json"
        self.path = path

    def _read(self) -> dict[str, str]:
        try:
            trusted = json.loads(read_bytes(self.path, limits.MOST_TEXT))
        except (NeuroscopeError, ValueError, RecursionError):
            return {}
        if not isinstance(trusted, dict):
            return {}
        return {sha256: name for sha256, name in trusted.items() if isinstance(name, str)}

    def __contains__(self, sha256: str) -> bool:
        return granted.is_granted(sha256, stored=sha256 in self._read())

    def add(self, sha256: str, name: str) -> None:
        """Remember that the user trusts a file of this hash.

        Raises
        ------
        NeuroscopeError
            Where it can't be written down.
        """
        with self._writing:
            trusted = {**self._read(), sha256: visible(name, _LONGEST_NAME)}
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise NeuroscopeError(
                    f"{self.path} can't be written, so that trust isn't remembered: "
                    f"{error.strerror or error}."
                ) from error
            text = json.dumps(trusted, indent=2)
            write_whole(self.path, lambda part: part.write_text(text, "utf-8"), private=True)


def require_trust(path: Path, would_run: str, *, trust: bool) -> None:
    """Let code of a file run only where the user has said so, now or before.

    Where the file itself is then loaded, use `trusted_content`: the file may change meanwhile.

    Raises
    ------
    UntrustedError
        Where the user has not.
    """
    if trust:
        return
    sha256 = digest_of(path)
    if sha256 not in TrustStore():
        raise UntrustedError(path, sha256, would_run)


@contextmanager
def trusted_content(path: Path, would_run: str, *, trust: bool) -> Iterator[Path]:
    """Yield where the content of a file or a folder lies that the user lets run.

    Who trusts a file trusts its content, and the file may be changed between the look at its hash
    and its loading. So the content is copied to a private place, which nobody else can change, and
    the copy's hash counts. Load from the path that is yielded, within the block: the copy is
    deleted at its end. It has the file's name. With `trust`, it is the path itself.

    ::

        with trusted_content(path, "the operations of a program", trust=trust) as content:
            model = keras.saving.load_model(content)

    Parameters
    ----------
    path
        The file or folder.
    would_run
        What it would run, as the end of a sentence; words of the file stand in quotes.
    trust
        Whether the user has said so now; else what was said before counts.

    Raises
    ------
    UntrustedError
        Where the user has not let it run.
    NeuroscopeError
        Where it can't be read or copied.
    """
    if trust:
        yield path
        return
    # Most are not trusted, and need no copy to be told so.
    require_trust(path, would_run, trust=False)
    with private_copy(path) as copy:
        sha256 = digest_of(copy)
        if sha256 not in TrustStore():
            raise UntrustedError(path, sha256, would_run)
        yield copy


@contextmanager
def private_copy(path: Path) -> Iterator[Path]:
    """Yield a copy of a file or a folder, of the same name, that nobody else can change.

    Raises
    ------
    NeuroscopeError
        Where it can't be read or copied.
    """
    with TemporaryDirectory(prefix="neuroscope-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / path.name
        try:
            _copy(path, copy)
        except OSError as error:
            raise NeuroscopeError(
                f"“{shortened(path.name, 200)}” can't be copied to {folder}: "
                f"{error.strerror or error}."
            ) from error
        yield copy


def _copy(path: Path, copy: Path) -> None:
    if path.is_dir():
        copy.mkdir()
        for inner in _files_in(path):
            target = copy / inner.relative_to(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy_file(inner, target)
    else:
        _copy_file(path, copy)


def _copy_file(path: Path, copy: Path) -> None:
    with copy.open("xb") as file:
        for block in _blocks(path):
            file.write(block)

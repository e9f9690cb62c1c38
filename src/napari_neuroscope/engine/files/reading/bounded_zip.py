"""Zip archives of strangers: what they say they hold is looked at before anything is unpacked."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from napari_neuroscope.engine.errors import NeuroscopeError, first_line, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.reading.bounded_file import open_regular

BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError,
          NotImplementedError, ValueError)  # fmt: skip
"""What reading a broken archive raises."""


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive, unless it is one that no one should unpack.

    Raises
    ------
    NeuroscopeError
        Where it is broken, has two files of one name, files that share their bytes, or would
        unpack to more than the limits.
    """
    with open_regular(path) as file, open_zip_in(file, path.name) as archive:
        yield archive


@contextmanager
def open_zip_in(file: IO[bytes], name: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive as `open_zip` does, from an open file; `name` is what people call it."""
    try:
        archive = zipfile.ZipFile(file)
    except BROKEN as error:
        raise _broken(name, error) from error
    with archive:
        _refuse_unsafe(archive, name, file.seek(0, 2))
        yield archive


def read_entry(archive: zipfile.ZipFile, entry: str, most: int, name: str) -> bytes:
    """Return a file of an archive.

    Raises
    ------
    NeuroscopeError
        Where it is not there, is broken, or has more than `most` bytes.
    """
    try:
        if archive.getinfo(entry).file_size > most:
            raise NeuroscopeError(
                f"“{shortened(entry, 100)}” in “{name}” would unpack to "
                f"{archive.getinfo(entry).file_size:,} bytes, more than such a file needs; it is "
                f"not read."
            )
        # Python unpacks no more than what an entry says that it holds.
        return archive.read(entry)
    except KeyError:
        raise NeuroscopeError(
            f"“{name}” lacks the file “{shortened(entry, 100)}”; download or save it again."
        ) from None
    except BROKEN as error:
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> NeuroscopeError:
    return NeuroscopeError(
        f"“{name}” is a broken zip archive ({shortened(first_line(error), 160)}); download or save "
        f"it again."
    )


def _refuse_unsafe(archive: zipfile.ZipFile, name: str, packed: int) -> None:
    entries = archive.infolist()
    (often, times), *_ = Counter(e.filename for e in entries).most_common(1) or [("", 0)]
    if times > 1:
        raise NeuroscopeError(
            f"The zip “{name}” has two files named “{shortened(often, 100)}”, of which each program "
            f"reads another; such an archive is not read."
        )
    if len({entry.header_offset for entry in entries}) < len(entries):
        raise NeuroscopeError(
            f"The zip “{name}” has files that share their bytes; such an archive is not read."
        )
    size = sum(entry.file_size for entry in entries)
    most = min(limits.MOST_UNPACKED, max(limits.ALWAYS_UNPACKED, limits.MOST_GROWTH * packed))
    if size > most or len(entries) > limits.MOST_ENTRIES:
        raise NeuroscopeError(
            f"The zip “{name}” of {packed:,} bytes would unpack to {size:,} bytes in "
            f"{len(entries):,} files; such an archive is not read."
        )

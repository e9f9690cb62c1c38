"""Files that are read whole: regular ones, and no more of them than is sensible."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from napari_neuroscope.engine.errors import NeuroscopeError, shortened

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a folder"),
)


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; pipes, devices and folders, which may never end, are refused.

    Raises
    ------
    NeuroscopeError
        Where it is missing, no regular file, or can't be opened.
    """
    try:
        # A pipe that nobody writes to would wait for ever without this.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        handle = os.open(path, flags | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError) as error:
        raise cant_be_read(path, error) from error
    try:
        refuse_mode(os.fstat(handle).st_mode, path)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def refuse_irregular(path: Path) -> None:
    """Refuse a path that is neither a regular file nor a folder.

    Raises
    ------
    NeuroscopeError
        Where it is a pipe, a device or a socket, or can't be looked at.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise cant_be_read(path, error) from error
    if not stat.S_ISDIR(mode):
        refuse_mode(mode, path)


def refuse_mode(mode: int, path: Path) -> None:
    """Refuse what is no regular file, by its mode."""
    if stat.S_ISREG(mode):
        return
    kind = next((words for test, words in _KINDS if test(mode)), "no regular file")
    raise NeuroscopeError(
        f"“{shortened(path.name or str(path), 200)}” is {kind}, and a file is needed; choose a file."
    )


def cant_be_read(path: Path, error: Exception) -> NeuroscopeError:
    """Say that a file can't be read, and why."""
    if isinstance(error, FileNotFoundError):
        return NeuroscopeError(f"There is no file {shortened(str(path), 300)}.")
    reason = getattr(error, "strerror", None) or str(error)
    return NeuroscopeError(f"“{shortened(str(path), 300)}” can't be read: {reason}.")


def read_bytes(path: Path, most: int) -> bytes:
    """Return all of a file.

    Raises
    ------
    NeuroscopeError
        Where it can't be read, is no regular file, or has more than `most` bytes.
    """
    with open_regular(path) as file:
        try:
            content = file.read(most + 1)
        except OSError as error:
            raise cant_be_read(path, error) from error
    if len(content) > most:
        raise NeuroscopeError(
            f"“{shortened(path.name, 200)}” has more than {most:,} bytes, which no such file needs; "
            f"choose another."
        )
    return content


def read_text(path: Path, most: int) -> str:
    """Return all of a text file in UTF-8, without the mark that some programs begin it with.

    Raises
    ------
    NeuroscopeError
        Where it can't be read, has more than `most` bytes, or is no text.
    """
    content = read_bytes(path, most)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise NeuroscopeError(
            f"“{shortened(path.name, 200)}” is {guess(content[:4096])}, no text in UTF-8."
        ) from None


def guess(head: bytes) -> str:
    """Return what a file seems to be, by its first bytes, with its article."""
    if head.startswith(b"\x89PNG"):
        return "a PNG image"
    if head.startswith((b"II*\0", b"MM\0*")):
        return "a TIFF image"
    if head.startswith(b"\xff\xd8"):
        return "a JPEG image"
    if head.lstrip().startswith((b"<!DOCTYPE", b"<html", b"<!doctype")):
        return "a web page (perhaps an error page saved in place of the file)"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file itself (run “git lfs pull”)"
    try:
        # A letter may be cut where the head ends.
        text = head.decode("utf-8", "strict" if len(head) < 4096 else "ignore")
    except UnicodeDecodeError:
        return "a binary file"
    return "a text file" if all(c.isprintable() or c.isspace() for c in text) else "a binary file"

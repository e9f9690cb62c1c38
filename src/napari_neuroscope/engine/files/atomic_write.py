"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError

_unfinished: set[Path] = set()
"""What is being written beside its place, by any thread."""


def remove_unfinished() -> None:
    """Remove what is half written, where the process is left in the midst of it."""
    for part in tuple(_unfinished):
        shutil.rmtree(part, ignore_errors=True)
        with suppress(OSError):
            part.unlink(missing_ok=True)


def not_written(path: Path, error: OSError) -> str:
    """Say that something can't be written, and why."""
    return f"{path} can't be written: {error.strerror or error}; choose another folder."


def write_whole(path: Path, write: Callable[[Path], Any], *, private: bool = False) -> None:
    """Write beside, then rename: an interruption leaves no half file.

    Parameters
    ----------
    path
        The file; one that is there is replaced.
    write
        Writes to the path that it is given, of the same ending.
    private
        Whether nobody but the user may read it.

    Raises
    ------
    NeuroscopeError
        Where it can't be written.
    """
    part = None
    try:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix
        )
        os.close(handle)
        part = Path(name)
        _unfinished.add(part)
        write(part)
        part.chmod(0o600 if private else 0o666 & ~_umask())
        part.replace(path)
    except OSError as error:
        raise NeuroscopeError(not_written(path, error)) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
            _unfinished.discard(part)


def write_whole_folder(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a folder beside, then rename: an interruption leaves no half folder.

    Parameters
    ----------
    path
        The folder; one that is there is replaced, when the new one is whole.
    write
        Fills the empty folder that it is given, of the same ending.

    Raises
    ------
    NeuroscopeError
        Where it can't be written.
    """
    part = old = None
    try:
        part, old = (
            Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix))
            for _ in range(2)
        )
        _unfinished.add(part)
        write(part)
        part.chmod(0o777 & ~_umask())
        # From here on it is the only whole one.
        _unfinished.discard(part)
        if path.exists():
            path.rename(old / path.name)
        try:
            part.rename(path)
        except OSError:
            if (old / path.name).exists():
                (old / path.name).rename(path)
            raise
    except OSError as error:
        raise NeuroscopeError(not_written(path, error)) from error
    finally:
        for folder in (part, old):
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
                _unfinished.discard(folder)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

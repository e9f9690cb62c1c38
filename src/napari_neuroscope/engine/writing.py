"""Files that are written whole or not at all."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError


def write_csv(path: str | Path, rows: Iterable[Sequence[Any]], *, overwrite: bool = False) -> None:
    """Write a table as CSV in UTF-8, whole or not at all.

    Parameters
    ----------
    path
        The file.
    rows
        Its rows, the header first.
    overwrite
        Write over a file that is there.

    Raises
    ------
    NeuroscopeError
        Where the file is there and isn't to be overwritten, or can't be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise NeuroscopeError(f"{path} is there already; choose another name, or overwrite it.")
    try:
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".csv")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows(rows)
            Path(part).chmod(0o666 & ~_umask())
            Path(part).replace(path)
        finally:
            Path(part).unlink(missing_ok=True)
    except OSError as error:
        raise NeuroscopeError(
            f"{path} can't be written: {error.strerror or error}; choose another folder."
        ) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

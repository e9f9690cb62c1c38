"""Tables as CSV: written whole, or row by row as they come."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files.atomic_write import not_written, write_whole
from napari_neuroscope.engine.files.reading.csv_cells import without_formula


def write_csv(path: str | Path, rows: Iterable[Sequence[Any]], *, overwrite: bool = False) -> None:
    """Write a table as CSV in UTF-8, whole or not at all.

    A text that a program for spreadsheets would run as a formula gets an apostrophe before it
    (`without_formula`); what is no text in UTF-8, such as some names of files, is escaped.

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

    def write(part: Path) -> None:
        with part.open("w", encoding="utf-8", newline="", errors="backslashreplace") as file:
            csv.writer(file).writerows([without_formula(cell) for cell in row] for row in rows)

    write_whole(path, write)


class CsvFile:
    """A table in UTF-8, of which each row that was added stays, whatever becomes of the process.

    Parameters
    ----------
    path
        The file; one that is there is replaced.

    Raises
    ------
    NeuroscopeError
        Where it can't be written; `add` as well.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("w", encoding="utf-8", newline="", errors="backslashreplace")
        except OSError as error:
            raise NeuroscopeError(not_written(path, error)) from error
        self._writer = csv.writer(self._file)

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Write rows; a text that would be a formula gets an apostrophe before it."""
        try:
            self._writer.writerows([without_formula(cell) for cell in row] for row in rows)
            self._file.flush()
        except OSError as error:
            raise NeuroscopeError(not_written(self._path, error)) from error

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def refuse_unwritable(path: Path) -> None:
    """Refuse a file that can't be written, before there is anything to write.

    Raises
    ------
    NeuroscopeError
        Where it can't.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise NeuroscopeError(f"The folder {folder} does not exist; make it first.")
    place = path if path.exists() else folder
    if not os.access(place, os.W_OK):
        raise NeuroscopeError(f"{path} can't be written: {place} is read-only; choose another.")

"""The table of a batch: a row for each image, as CSV and as Parquet."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.batch.folder import CSV, PARQUET, BatchFolder
from napari_neuroscope.engine.batch.journal import ImageRecord
from napari_neuroscope.engine.files.atomic_write import write_whole
from napari_neuroscope.engine.files.csv_table import write_csv
from napari_neuroscope.engine.images.pairing.image_search import natural_key

_FIRST = ("image", "shape")
_LAST = ("notes", "problem", "device", "seconds", "file")
_TEXTS = ("image", "shape", "notes", "problem", "device", "file")
_ROWS_AT_ONCE = 10_000


class Summary:
    """The rows of a batch, in natural order, read from its journal as they are asked for.

    Parameters
    ----------
    folder
        The batch.

    Attributes
    ----------
    columns
        The names of the columns, and the type of each: `str`, `int` or `float`.
    """

    def __init__(self, folder: BatchFolder) -> None:
        self._folder = folder
        self._paths = sorted(folder.journal, key=natural_key)
        kinds_of: dict[str, set[type]] = defaultdict(set)
        for _, row in self.rows():
            for name, value in row.items():
                kinds_of[name] |= set() if value is None else {type(value)}
        middle = (name for name in kinds_of if name not in _FIRST + _LAST)
        self.columns = {
            name: str if name in _TEXTS else _common(kinds_of[name])
            for name in (*_FIRST, *middle, *_LAST)
        }

    def rows(self) -> Iterator[tuple[ImageRecord, dict[str, Any]]]:
        """Yield each row, values by column, and the record that it is of."""
        # By text: there may be a million, and this goes through them several times.
        root = os.path.join(self._folder.root, "")
        for path in self._paths:
            record = self._folder.journal[path]
            inside = path.startswith(root)
            name = path[len(root) :].replace(os.sep, "/") if inside else path
            for row in record.rows or [{}]:
                yield record, {"image": name, **row, "problem": record.problem, "file": path}

    def write(self) -> None:
        """Write both files.

        Raises
        ------
        NeuroscopeError
            Where they can't be written.
        """
        path = self._folder.path
        write_csv(path / CSV, self._cells(), overwrite=True)
        write_whole(path / PARQUET, self._write_parquet)

    def _cells(self) -> Iterator[list[Any]]:
        yield list(self.columns)
        for _, row in self.rows():
            yield [_cell(row.get(name)) for name in self.columns]

    def _blocks(self) -> Iterator[list[dict[str, Any]]]:
        rows = (row for _, row in self.rows())
        while block := list(islice(rows, _ROWS_AT_ONCE)):
            yield block

    def _write_parquet(self, path: Path) -> None:
        import pyarrow
        from pyarrow import parquet

        types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
        schema = pyarrow.schema([(name, types[kind]) for name, kind in self.columns.items()])
        with parquet.ParquetWriter(path, schema) as writer:
            for block in self._blocks():
                typed = [
                    {name: _typed(row.get(name), kind) for name, kind in self.columns.items()}
                    for row in block
                ]
                writer.write_table(pyarrow.Table.from_pylist(typed, schema))


def _common(types: set[type]) -> type:
    """Return the type that holds values of all; a column of which nothing is known is of numbers."""
    if not types <= {int, float}:
        return str
    return int if types == {int} else float


def _typed(value: Any, kind: type) -> Any:
    if value is None or kind is not str:
        return None if value is None else kind(value)
    # What is no text in UTF-8, such as some names of files, is escaped as in the CSV.
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def _cell(value: Any) -> Any:
    return "" if value is None else value

"""What became of each image of a batch, in a file that only grows.

Lines of JSON and no database: a line that an interruption cut off is told by its missing end, and the folder
may lie on a file system of a network, where locks of files can't be relied on.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from napari_neuroscope.engine.batch.output_error import OutputError

FOLDER, JOURNAL = ".batch", "journal.jsonl"
"""Where it lies in the folder of a batch."""


@dataclass
class ImageRecord:
    """What became of one image.

    Attributes
    ----------
    path
        The image's.
    stamp
        What it was made of, as `stamp_of` tells it; another one is out of date.
    name
        What its outputs are called.
    outputs
        The sizes in bytes of the files that were written, by their place in the folder.
    rows
        Its rows of the summary, values by column; one for each plane of a stack.
    problem
        Why it could not be done; empty where it was.
    """

    path: str
    stamp: str
    name: str
    outputs: dict[str, int] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    problem: str = ""

    def as_line(self) -> bytes:
        """Return it as a line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=True, allow_nan=False).encode() + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> Self:
        """Return what `as_line` wrote."""
        return cls(**json.loads(line))


class Journal:
    """What became of the images, a line each, in a file that only grows.

    The newest line of an image counts. A line that was cut off by an interruption is none.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, int] = {}
        self._names: dict[str, str] = {}
        end = 0
        with path.open("a+b") as file:
            file.seek(0)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                with suppress(ValueError, TypeError):
                    self._note(ImageRecord.of_line(line), end)
                end += len(line)
            file.truncate(end)
        # Both stay open: a batch may have a million images.
        self._reading = path.open("rb")
        self._writing = path.open("ab", buffering=0)

    def _note(self, record: ImageRecord, place: int) -> None:
        self._places[record.path] = place
        self._names[record.path] = record.name

    @property
    def names(self) -> Mapping[str, str]:
        """What the outputs of each image are called, by its path."""
        return self._names

    def __getitem__(self, path: str) -> ImageRecord:
        self._reading.seek(self._places[path])
        return ImageRecord.of_line(self._reading.readline())

    def __contains__(self, path: str) -> bool:
        return path in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def add(self, record: ImageRecord) -> None:
        """Write down what became of an image.

        Raises
        ------
        OutputError
            Where it can't be written.
        """
        line = record.as_line()
        try:
            # Where the folder has vanished, the open file would take it all the same.
            place = self._path.stat().st_size
        except OSError as error:
            raise self._not_written(error) from error
        try:
            written = self._writing.write(line)
            if written != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            with suppress(OSError):
                self._writing.truncate(place)
            raise self._not_written(error) from error
        self._note(record, place)

    def _not_written(self, error: OSError) -> OutputError:
        return OutputError(f"{self._path} can't be written: {error.strerror}.")

    def close(self) -> None:
        """Close the file."""
        self._reading.close()
        self._writing.close()


def records_in(out: Path) -> list[ImageRecord]:
    """Return what has become of a batch's images so far; its folder is only read.

    There are none where the folder holds no batch.
    """
    records: dict[str, ImageRecord] = {}
    try:
        lines = (out / FOLDER / JOURNAL).read_bytes().splitlines()
    except OSError:
        return []
    for line in lines:
        # One may be cut off, or just being written.
        with suppress(ValueError, TypeError):
            record = ImageRecord.of_line(line)
            records[record.path] = record
    return list(records.values())

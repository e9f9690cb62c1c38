"""The folder of a batch: what lies where in it, whose it is, and what of it is done."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files.atomic_write import not_written, write_whole
from napari_neuroscope.engine.results.save import file_name

MAPS, THUMBNAILS, OWN = "maps", "thumbnails", ".batch"
RECIPE = "recipe.neuroscope-recipe.yaml"
CSV, PARQUET, REPORT = "summary.csv", "summary.parquet", "report.html"
_FORMAT = 1
# What `write_whole` calls our own files while it writes them.
_UNFINISHED = re.compile(
    rf"\.({'|'.join(re.escape(Path(name).stem) for name in (CSV, REPORT, RECIPE, 'batch.json'))})"
    r"-\w{8}\.(csv|parquet|html|yaml|json)"
)
# What is wrong with one name or one file alone; all else is wrong with the place.
_OF_ONE_FILE = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENOMEM, errno.EFBIG)


class OutputError(NeuroscopeError):
    """Nothing can be written any more, so that the whole batch stops."""


def stops_the_batch(error: BaseException) -> bool:
    """Whether an error of writing is the place's, such as a full disk, and not of one file."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return cause.errno not in _OF_ONE_FILE
        cause = cause.__cause__ or cause.__context__
    return False


@dataclass
class Record:
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
        Its rows of the summary, figures by name; one for each plane of a stack.
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
                    self._note(Record.of_line(line), end)
                end += len(line)
            file.truncate(end)
        # Both stay open: a batch may have a million images.
        self._reading = path.open("rb")
        self._writing = path.open("ab", buffering=0)

    def _note(self, record: Record, place: int) -> None:
        self._places[record.path] = place
        self._names[record.path] = record.name

    @property
    def names(self) -> Mapping[str, str]:
        """What the outputs of each image are called, by its path."""
        return self._names

    def __getitem__(self, path: str) -> Record:
        self._reading.seek(self._places[path])
        return Record.of_line(self._reading.readline())

    def __contains__(self, path: str) -> bool:
        return path in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def add(self, record: Record) -> None:
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


def records_in(out: Path) -> list[Record]:
    """Return what has become of a batch's images so far; its folder is only read.

    There are none where the folder holds no batch.
    """
    records: dict[str, Record] = {}
    try:
        lines = (out / OWN / "journal.jsonl").read_bytes().splitlines()
    except OSError:
        return []
    for line in lines:
        # One may be cut off, or just being written.
        with suppress(ValueError, TypeError):
            record = Record.of_line(line)
            records[record.path] = record
    return list(records.values())


class BatchFolder:
    """The folder that a batch writes into, held against other batches while it is open.

    Parameters
    ----------
    path
        The folder; it is made where there is none.
    recipe
        The recipe's key, as `recipe_key` tells it.
    root
        The images' common folder.
    force
        Write over what is there, and begin anew.

    Attributes
    ----------
    journal
        What became of the images.
    root
        The folder that the outputs' names begin at: the one that it began with.

    Raises
    ------
    NeuroscopeError
        Where it holds something else, another batch runs in it, or it can't be written.
    """

    def __init__(self, path: Path, recipe: str, root: Path, *, force: bool = False) -> None:
        from filelock import FileLock, Timeout

        self.path, self._journal = path, path / OWN / "journal.jsonl"
        # It is there while a batch runs, and after one that could not come to its end.
        self._running = path / OWN / "running"
        state = path / OWN / "batch.json"
        if not force and not state.exists():
            self._refuse_others()
        try:
            (path / OWN).mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path / OWN / "lock", timeout=0)
            self._lock.acquire()
        except Timeout as error:
            raise NeuroscopeError(
                f"Another batch is writing into {path}; wait for its end, or choose another folder."
            ) from error
        except OSError as error:
            raise _unwritable(path, error) from error
        try:
            self.root = self._begun(state, recipe, root, force=force)
            self._tidy()
            self.journal = Journal(self._journal)
        except OSError as error:
            self._lock.release()
            raise _unwritable(path, error) from error
        except BaseException:
            self._lock.release()
            raise

    def _refuse_others(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise NeuroscopeError(f"{self.path} is a file; choose a folder for the batch.")
        for name in (MAPS, THUMBNAILS, RECIPE, CSV, PARQUET, REPORT):
            if (self.path / name).exists():
                raise NeuroscopeError(
                    f"{self.path / name} is there already, and no batch's; choose another folder, or write "
                    f"over it by force."
                )

    def _begun(self, state: Path, recipe: str, root: Path, *, force: bool) -> Path:
        """Return the root that the batch began with, or begin it."""
        begun_before = self._state(state)
        if begun_before is not None and not force:
            if begun_before["format"] > _FORMAT:
                raise NeuroscopeError(
                    f"{self.path} holds a batch of a newer napari-neuroscope; update this one, or "
                    f"choose another folder."
                )
            if begun_before["recipe"] != recipe and size_of(self._journal):
                raise NeuroscopeError(
                    f"{self.path} holds the batch of another recipe; choose another folder, or "
                    f"begin anew by force."
                )
            if begun_before["recipe"] == recipe:
                return Path(begun_before["root"])
        elif begun_before is not None:
            self._forget()
        begun = json.dumps({"format": _FORMAT, "recipe": recipe, "root": str(root)})
        write_whole(state, lambda part: part.write_text(begun, "utf-8"))
        return root

    def _state(self, state: Path) -> dict[str, Any] | None:
        try:
            stored = json.loads(state.read_text("utf-8"))
            return {
                "format": int(stored["format"]),
                "recipe": stored["recipe"],
                "root": stored["root"],
            }
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NeuroscopeError(
                f"{state} is damaged, so what {self.path} holds can't be told; choose another folder."
            ) from error

    def _forget(self) -> None:
        """Remove what the batch before this wrote, and no more."""
        journal = Journal(self._journal)
        for path in journal:
            for output, size in journal[path].outputs.items():
                if size_of(self.path / output) == size:
                    remove(self.path / output)
        journal.close()
        self._journal.unlink()

    def _tidy(self) -> None:
        """Remove what an interrupted run was writing, under names that say so."""
        if self._running.exists():
            for part in (MAPS, THUMBNAILS):
                _remove_hidden(self.path / part)
            for place in (self.path, self.path / OWN):
                for path in list(place.iterdir()):
                    if _UNFINISHED.fullmatch(path.name):
                        remove(path)
        self._running.touch()

    def is_complete(self, record: Record, stamp: str, kinds: tuple[str, ...]) -> bool:
        """Whether all that is asked for of an image is there, of this very image."""
        wanted = {f"{MAPS}/{file_name(record.name, kind)}" for kind in kinds}
        return (
            not record.problem
            and record.stamp == stamp
            and wanted <= set(record.outputs)
            and all(size_of(self.path / name) == size for name, size in record.outputs.items())
        )

    def close(self) -> None:
        """Let other batches write here."""
        self.journal.close()
        with suppress(OSError):
            self._running.unlink(missing_ok=True)
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _unwritable(path: Path, error: OSError) -> OutputError:
    return OutputError(not_written(path, error))


def _remove_hidden(folder: Path) -> None:
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if name.startswith("."):
                remove(Path(place, name))
        # What is in a Zarr is its own business.
        folders[:] = [name for name in folders if not name.startswith(".") and name[-5:] != ".zarr"]


def size_of(path: Path) -> int | None:
    """Return the bytes of a file, or of all files in a folder; None where there is none."""
    try:
        if path.is_dir():
            return sum(inner.stat().st_size for inner in path.rglob("*") if inner.is_file())
        return path.stat().st_size
    except OSError:
        return None


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it."""
    import shutil

    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

"""The folder of a batch: what lies where in it, whose it is, and what of it is done."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from napari_neuroscope.engine.batch.journal import FOLDER as OWN_FOLDER
from napari_neuroscope.engine.batch.journal import JOURNAL, ImageRecord, Journal
from napari_neuroscope.engine.batch.output_error import OutputError
from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files.atomic_write import not_written, write_whole
from napari_neuroscope.engine.results.save import file_name

MAPS, THUMBNAILS = "maps", "thumbnails"
RECIPE = "recipe.neuroscope-recipe.yaml"
CSV, PARQUET, REPORT = "summary.csv", "summary.parquet", "report.html"
_FORMAT = 1
# What `write_whole` calls our own files while it writes them.
_UNFINISHED = re.compile(
    rf"\.({'|'.join(re.escape(Path(name).stem) for name in (CSV, REPORT, RECIPE, 'batch.json'))})"
    r"-\w{8}\.(csv|parquet|html|yaml|json)"
)


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

        self.path, self._journal = path, path / OWN_FOLDER / JOURNAL
        # It is there while a batch runs, and after one that could not come to its end.
        self._running = path / OWN_FOLDER / "running"
        state = path / OWN_FOLDER / "batch.json"
        if not force and not state.exists():
            self._refuse_others()
        try:
            (path / OWN_FOLDER).mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path / OWN_FOLDER / "lock", timeout=0)
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
            for place in (self.path, self.path / OWN_FOLDER):
                for path in list(place.iterdir()):
                    if _UNFINISHED.fullmatch(path.name):
                        remove(path)
        self._running.touch()

    def is_complete(self, record: ImageRecord, stamp: str, kinds: tuple[str, ...]) -> bool:
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

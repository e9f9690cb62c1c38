"""How much a file may decode to: as much as its bytes are worth, and as the memory holds."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.free_memory import free_memory

# Less is not worth asking the system how much is free.
_ALWAYS_FREE = 64 * limits.MB


def size_on_disk(path: Path) -> int:
    """Return how many bytes a file, or all of a folder, takes; holes of files count nothing."""
    if path.is_dir():
        return sum(taken_on_disk(entry.stat(follow_symlinks=False)) for entry in _files_below(path))
    return taken_on_disk(path.stat())


def _files_below(folder: Path) -> Iterable[os.DirEntry[str]]:
    waiting = [str(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    yield entry


def taken_on_disk(state: os.stat_result) -> int:
    """Return how many bytes a file takes; its holes count nothing."""
    blocks = getattr(state, "st_blocks", None)
    return state.st_size if blocks is None else min(state.st_size, blocks * 512)


_BY_PARTS = "read a part of it with ns.open_image"


def refuse_large_image(
    nbytes: int, path: Path, *, files: Iterable[Path] = (), instead: str = _BY_PARTS
) -> None:
    """Refuse to decode an image whole that is too large for its file, or for the memory.

    Parameters
    ----------
    nbytes
        What it would decode to.
    path
        Its file or folder.
    files
        Further files that it is read from.
    instead
        What a person may do, as the end of a sentence.

    Raises
    ------
    NeuroscopeError
        Where it is.
    """
    if nbytes > limits.ALWAYS_IMAGE:
        packed = size_on_disk(path) + sum(map(size_on_disk, files))
        # What lies in the file as in memory is no more than it takes there.
        if nbytes > max(packed, min(limits.MOST_IMAGE, limits.MOST_IMAGE_GROWTH * packed)):
            raise NeuroscopeError(
                f"“{shortened(path.name, 200)}” of {packed:,} bytes would decode to {nbytes:,} "
                f"bytes, so it is not read whole; {instead}."
            )
    refuse_without_memory(nbytes, path.name, instead)


def refuse_without_memory(nbytes: int, name: str, instead: str = _BY_PARTS) -> None:
    """Refuse to read more than the memory holds that is free.

    Raises
    ------
    NeuroscopeError
        Where it is more.
    """
    if nbytes <= _ALWAYS_FREE:
        return
    if nbytes > (free := free_memory()):
        raise NeuroscopeError(
            f"“{shortened(name, 200)}” would take {nbytes:,} bytes of memory, of which {free:,} "
            f"are free; {instead}."
        )


def most_of_chunk(packed: int) -> int:
    """Return how many bytes a chunk or tile of so many may decode to."""
    return min(limits.MOST_IMAGE, max(limits.ALWAYS_CHUNK, limits.MOST_CHUNK_GROWTH * packed))


def refuse_large_chunk(nbytes: int, packed: int, name: str) -> None:
    """Refuse to decode a chunk or tile that is too large for its bytes.

    Raises
    ------
    NeuroscopeError
        Where it is.
    """
    if nbytes > most_of_chunk(packed):
        raise NeuroscopeError(
            f"“{shortened(name, 200)}” holds a chunk of {packed:,} bytes that would decode to "
            f"{nbytes:,}, so it is not read; store it anew in smaller chunks or tiles."
        )

"""Image files of folders and patterns, in natural order, and what people call them."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.images.formats.zarr_image import container_of, images_of, is_zarr
from napari_neuroscope.engine.images.pairing.pair import SkippedFile
from napari_neuroscope.engine.images.source import SUFFIXES, name_of

Where = str | Path | Sequence[str | Path]
"""Files, folders and patterns."""


def listed(where: Where) -> list[Path]:
    """Return the files, folders and patterns one by one."""
    return [Path(where)] if isinstance(where, str | Path) else [Path(path) for path in where]


def find_images(
    where: Where, skipped: list[SkippedFile], *, within: Sequence[str] | None, what: str = "image"
) -> list[Path]:
    """Return the image files of files, folders and patterns, in natural order.

    Parameters
    ----------
    where
        Where to look.
    skipped
        Takes what is no image, and why.
    within
        Of a folder, those of its folders that are looked into, by name; None: all.
    what
        What is looked for, for an error's sentence.

    Raises
    ------
    NeuroscopeError
        Where a file or folder does not exist.
    """
    files: dict[Path, None] = {}
    for place in listed(where):
        # Hidden files are the system's own.
        files.update(
            (path, None)
            for path in _files_at(place, within, what)
            if not path.name.startswith(".") and (path.is_file() or is_zarr(path))
        )
    kept = []
    for path in sorted(files, key=natural_key):
        if path.is_dir():
            try:
                kept += images_of(path)
            except NeuroscopeError as error:
                skipped.append(SkippedFile(path.name, str(error)))
        elif path.suffix.lower() not in SUFFIXES:
            skipped.append(SkippedFile(path.name, f"“{path.name}” is no image that can be read."))
        elif path.stat().st_size == 0:
            skipped.append(SkippedFile(path.name, f"“{path.name}” is empty."))
        else:
            kept.append(path)
    return kept


def _files_at(place: Path, within: Sequence[str] | None, what: str) -> Iterator[Path]:
    if place.is_dir() and not is_zarr(place):
        yield from place.iterdir()
        for folder in place.iterdir():
            is_looked_into = within is None or folder.name in within
            if is_looked_into and folder.is_dir() and not folder.name.startswith("."):
                yield from () if is_zarr(folder) else folder.iterdir()
    elif place.exists():
        yield place
    elif glob.has_magic(str(place)):
        yield from (Path(name) for name in glob.glob(str(place), recursive=True))
    else:
        raise NeuroscopeError(f"There is no {what} {place}.")


def natural_key(path: Path | str) -> list[tuple[int, int, str]]:
    """Return a key to sort by: numbers in names by their value, and cell2 before cell10."""
    parts = re.split(r"(\d+)", str(path).casefold())
    return [(1, int(p), p) if p.isdecimal() and p.isascii() else (0, 0, p) for p in parts]


def names_of_files(paths: Sequence[Path]) -> list[str]:
    """Return file names, with as much of their folders as tells them apart."""
    depth, names = 1, [path.name if _is_file(path) else name_of(path) for path in paths]
    # Those of a Zarr folder have the folders in it anyway.
    inside = [name.count("/") for name in names]
    while len(set(names)) < len(names) and depth < max(len(path.parts) for path in paths):
        depth += 1
        count = Counter(names)
        names = [
            "/".join(path.parts[-depth - below :]) if count[name] > 1 else name
            for path, name, below in zip(paths, names, inside, strict=True)
        ]
    return names


def _is_file(path: Path) -> bool:
    # By its name alone, for there may be a million.
    suffix = path.suffix.lower()
    return suffix in SUFFIXES and suffix != ".zarr"


def container(path: Path) -> Path:
    """Return the file of an image, or the Zarr folder that holds it."""
    return path if _is_file(path) else container_of(path)


def stem_of(path: Path) -> str:
    """Return what the names of an image and its ground truth share: no ending of a file."""
    outer = container(path)
    inside = path.relative_to(outer).as_posix()
    stem = outer.stem.removesuffix(".ome")
    return stem if inside == "." else f"{inside}/{stem}"

"""What the outputs of images are called: as their images, in folders that mirror theirs."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

# What some file system or other does not take.
_FORBIDDEN = re.compile(r'[<>:"\\|?*\x00-\x1f]')
_RESERVED = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)),
}
# File names have 255 bytes at most; endings and the names of unfinished files are added.
_MOST_BYTES = 180


def common_folder(paths: Sequence[Path]) -> Path:
    """Return the deepest folder that holds all of some absolute paths."""
    try:
        return Path(os.path.commonpath({path.parent for path in paths}))
    except ValueError:  # they lie on several drives
        return Path(paths[0].anchor)


def output_names(
    paths: Sequence[Path], root: Path, names_before: Mapping[str, str] | None = None
) -> list[str]:
    """Return the name of each image's outputs, without an ending, relative and with “/”.

    No two are equal, even where upper and lower case are; the same images get the same names.

    Parameters
    ----------
    paths
        The images, as absolute paths.
    root
        The folder that the names begin at; images elsewhere are named by their whole path.
    names_before
        Names that images have already, by the image's path.
    """
    names_before = names_before or {}
    kept = [names_before.get(str(path)) for path in paths]
    taken = {name.casefold() for name in names_before.values()}
    plain = [_relative(path, root) for path in paths]
    count = Counter(name.casefold() for name in plain)
    names = []
    for path, name_before, name in zip(paths, kept, plain, strict=True):
        if name_before is not None:
            names.append(name_before)
            continue
        if count[name.casefold()] > 1:
            # The name of a file is its image's stem, unless images differ in their endings alone.
            name = f"{name}_{_safe(path.suffix[1:])}"  # noqa: PLW2901
        free, number = name, 2
        while free.casefold() in taken:
            free, number = f"{name}-{number}", number + 1
        taken.add(free.casefold())
        names.append(free)
    return names


def _relative(path: Path, root: Path) -> str:
    inside = path.is_relative_to(root)
    parts = path.relative_to(root).parts if inside else ("elsewhere", *path.parts[1:])
    return "/".join([*map(_safe, parts[:-1]), _safe(Path(parts[-1]).stem)])


def _safe(part: str) -> str:
    """Return a name that any file system takes."""
    name = unicodedata.normalize("NFC", _FORBIDDEN.sub("_", part)).rstrip(" .") or "_"
    # What is unfinished has a name that begins with a dot.
    if name.startswith(".") or name.split(".")[0].casefold() in _RESERVED:
        name = f"_{name}"
    # What is no text in UTF-8 is none in a table either.
    raw = name.encode("utf-8", "replace")
    if len(raw) > _MOST_BYTES:
        tail = hashlib.blake2b(raw, digest_size=4).hexdigest()
        raw = raw[: _MOST_BYTES - 9] + f"-{tail}".encode()
    return raw.decode("utf-8", "ignore")

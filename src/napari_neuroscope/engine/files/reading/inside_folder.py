"""Files that belong to another: they lie in its folder, and nothing leads out of it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files.reading.bounded_file import refuse_mode


def refuse_outside(path: Path, folder: Path) -> None:
    """Refuse a file that is not in a folder, or is a link that leads out of it, or no file at all.

    A file that is not there is not refused.

    Raises
    ------
    NeuroscopeError
        Where it is one.
    """
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        raise _leads_out(path, folder) from error
    real, within = os.path.realpath(path), os.path.realpath(folder)
    if os.path.commonpath((real, within)) != within:
        raise _leads_out(path, folder)
    if not stat.S_ISDIR(mode):
        refuse_mode(mode, path)


def is_plain_name(name: object) -> bool:
    """Whether a text is the name of a file alone, without folders, on any system."""
    return (
        isinstance(name, str)
        and name not in ("", ".", "..")
        and len(name) <= 255
        and not any(letter in name for letter in "/\\\0")
        and ":" not in name[1:2]
    )


def _leads_out(path: Path, folder: Path) -> NeuroscopeError:
    return NeuroscopeError(
        f"“{shortened(folder.name, 100)}” names “{shortened(path.name, 100)}”, which lies in another "
        f"folder, so it is not read; copy the file itself there."
    )

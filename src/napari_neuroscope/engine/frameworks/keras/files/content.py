"""What lies in a Keras file: its configuration, and how many bytes of weights."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.file_kind import Kind
from napari_neuroscope.engine.files.reading.bounded_zip import open_zip, open_zip_in, read_entry
from napari_neuroscope.engine.files.reading.plain_data import PlainDataError, parse_json
from napari_neuroscope.engine.files.told import reason_of
from napari_neuroscope.engine.frameworks.keras.files.hdf5_checks import (
    refuse_unsafe_hdf5,
    text_attribute,
)

_WEIGHTS, _NUMPY_WEIGHTS = "model.weights.h5", "model.weights.npz"


def keras_content(path: Path, kind: Kind) -> tuple[Any, int]:
    """Return the configuration in a file, as plain values, and the bytes of its weights.

    Parameters
    ----------
    path, kind
        A regular file, and what it is: ``"keras"`` or ``"h5"``.

    Returns
    -------
    tuple
        The configuration of a model that is saved whole; None for weights alone.

    Raises
    ------
    NeuroscopeError
        Where it is broken, reads other files, or would unpack to more than the limits.
    """
    if kind == "keras":
        return _of_archive(path)
    with path.open("rb") as file:
        return _of_hdf5(file, path.name, path.stat().st_size)


def _of_archive(path: Path) -> tuple[Any, int]:
    name = path.name
    with open_zip(path) as archive:
        for entry in archive.namelist():
            parts = PurePosixPath(entry.replace("\\", "/")).parts
            if not parts or ".." in parts or parts[0] in ("/", "") or ":" in parts[0]:
                raise NeuroscopeError(
                    f"“{shortened(name, 200)}” has a file “{shortened(entry, 100)}” that would lie "
                    f"outside of it; such an archive is not read."
                )
        text = read_entry(archive, "config.json", limits.MOST_TEXT, name)
        return _parsed(text.decode("utf-8", "replace"), name, "keras"), _held(archive, name)


def _held(archive: zipfile.ZipFile, name: str) -> int:
    """Return how many bytes of weights an archive holds."""
    names = set(archive.namelist())
    if _WEIGHTS in names:
        content = read_entry(archive, _WEIGHTS, limits.MOST_UNPACKED, name)
        return _of_hdf5(io.BytesIO(content), name, len(content))[1]
    if _NUMPY_WEIGHTS in names:
        content = read_entry(archive, _NUMPY_WEIGHTS, limits.MOST_UNPACKED, name)
        with open_zip_in(io.BytesIO(content), name) as arrays:
            return sum(entry.file_size for entry in arrays.infolist())
    return 0


def _of_hdf5(file: Any, name: str, size: int) -> tuple[Any, int]:
    import h5py

    try:
        with h5py.File(file, "r") as opened:
            held = refuse_unsafe_hdf5(opened, name, size)
            text = text_attribute(opened, "model_config", name)
    except NeuroscopeError:
        raise
    except Exception as error:
        raise NeuroscopeError(
            f"“{shortened(name, 200)}” is a broken h5 file ({reason_of(error)}); download or save "
            f"it again."
        ) from error
    return None if text is None else _parsed(text, name, "h5"), held


def _parsed(text: str, name: str, kind: Kind) -> Any:
    try:
        return parse_json(text)
    except PlainDataError as error:
        raise NeuroscopeError(
            f"“{shortened(name, 200)}” is a broken {kind} file: of its configuration, {error}; "
            f"download or save it again."
        ) from error

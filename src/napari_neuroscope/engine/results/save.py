"""Explanations as files: values with their record, or a picture; and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError, nearest_names
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.files.atomic_write import write_whole, write_whole_folder
from napari_neuroscope.engine.images.spacing import Spacing
from napari_neuroscope.engine.results.formats import FORMATS
from napari_neuroscope.engine.results.read import Result, is_result, read_result

__all__ = ["SUFFIXES", "file_name", "Result", "is_result", "read_result", "refuse_over", "save"]

SUFFIXES = tuple(FORMATS)
"""Of the kinds of file."""


def file_name(stem: str, kind: str) -> str:
    """Return the name of a file of a kind, by which napari knows it as ours when it is dropped."""
    return f"{stem}{FORMATS[kind].ending if kind in FORMATS else kind}"


def save(
    explanation: Explanation,
    image: Any,
    path: str | Path,
    *,
    spacing: Spacing | None = None,
    overwrite: bool = False,
) -> None:
    """Write an explanation to a file, whole or not at all.

    Parameters
    ----------
    explanation
        What is saved.
    image
        The image that was explained, which a picture shows below the map; None: black.
    path
        ``.tif`` is an OME-TIFF of the values on the image's own pixels, as 32-bit floats;
        ``.zarr`` a folder of OME-Zarr 0.5 with the values on the map's own grid, and coarser levels
        of large maps; ``.npy`` the values on the map's own grid, with the record beside it as
        ``.json``; ``.png`` a picture of the map over the image. All but the picture hold the
        record, the recipe and the label maps, and are read by `read_result`.
    spacing
        How far apart the pixels of the image are along its axes; None: not known.
    overwrite
        Write over what is there.

    Raises
    ------
    NeuroscopeError
        Where something is there and isn't to be overwritten, where it can't be written, or where
        the explanation does not go into such a file.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise NeuroscopeError(
            f"“{path.name}” ends in no known kind of file; {nearest_names(kind, SUFFIXES)}"
        )
    for place in (path, path.with_suffix(".json")) if kind == ".npy" else (path,):
        if place.exists():
            refuse_over(place, overwrite=overwrite)
    format_ = FORMATS[kind]
    if format_.writes_whole:
        format_.write(explanation, image, path, spacing)
        return
    whole = write_whole_folder if format_.is_folder else write_whole
    whole(path, lambda part: format_.write(explanation, image, part, spacing))


def refuse_over(path: Path, *, overwrite: bool) -> None:
    """Refuse to write over what is there, or over what is something else altogether."""
    if not overwrite:
        raise NeuroscopeError(f"{path} is there already; choose another name, or overwrite it.")
    if (path.suffix.lower() == ".zarr") is not path.is_dir():
        what = "a folder" if path.is_dir() else "a file"
        raise NeuroscopeError(f"{path} is {what} already; choose another name.")
    marks = ("zarr.json", ".zgroup", ".zarray")
    if path.is_dir() and any(path.iterdir()) and not any((path / mark).exists() for mark in marks):
        raise NeuroscopeError(f"The folder {path} holds no Zarr, so it stays; choose another name.")

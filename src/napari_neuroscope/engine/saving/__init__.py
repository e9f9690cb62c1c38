"""Explanations as files: values with their record, or a picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from napari_neuroscope.engine.explanation import Explanation
from napari_neuroscope.engine.saving.figure import save_figure
from napari_neuroscope.engine.saving.npy import save_npy
from napari_neuroscope.engine.saving.record import record_of
from napari_neuroscope.engine.saving.tiff import save_tiff
from napari_neuroscope.engine.spacing import Spacing
from napari_neuroscope.engine.writing import write_whole

SUFFIXES: dict[str, Callable[[Explanation, np.ndarray, Path, Spacing | None], None]] = {
    ".tif": save_tiff, ".tiff": save_tiff, ".npy": save_npy, ".png": save_figure,
}  # fmt: skip
"""The kinds of file, by suffix."""


def save(
    explanation: Explanation,
    image: np.ndarray,
    path: str | Path,
    *,
    spacing: Spacing | None = None,
) -> None:
    """Write an explanation to a file, whole or not at all.

    Parameters
    ----------
    explanation
        What is saved.
    image
        The image that was explained; a picture shows it below the map.
    path
        ``.tif`` holds the values on the image's own pixels as 32-bit floats, with the record in
        the JSON of its description, under “neuroscope”; ``.npy`` the raw values on the map's own grid, with the record
        beside it as ``.json``; ``.png`` a picture of the map over the image.
    spacing
        How far apart the pixels of the image are along its spatial axes; None: not known.
    """
    path = Path(path)
    write = SUFFIXES[path.suffix.lower()]
    write_whole(path, lambda part: write(explanation, image, part, spacing))
    if path.suffix.lower() == ".npy":
        text = json.dumps(record_of(explanation), indent=2)
        write_whole(path.with_suffix(".json"), lambda part: part.write_text(text, "utf-8"))

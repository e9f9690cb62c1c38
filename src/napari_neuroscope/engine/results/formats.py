"""The kinds of file that hold explanations: how each is written, and read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.images.spacing import Spacing
from napari_neuroscope.engine.results.figure import save_figure
from napari_neuroscope.engine.results.npy import arrays_in_npy, record_in_npy, save_npy
from napari_neuroscope.engine.results.ome_zarr import save_ome_zarr
from napari_neuroscope.engine.results.ome_zarr_reading import arrays_in_zarr, record_in_zarr
from napari_neuroscope.engine.results.tiff import arrays_in_tiff, record_in_tiff, save_tiff


@dataclass(frozen=True)
class ResultFormat:
    """A kind of file.

    Attributes
    ----------
    write
        Writes an explanation: ``(explanation, image, path, spacing)``.
    ending
        How names end by which napari knows a file as ours when it is dropped.
    read_record
        Returns the record in a file, None where it is none of ours; None: it holds no record.
    read_arrays
        Returns the values and the label maps that a record tells of.
    is_folder
        Whether it is a folder.
    writes_whole
        Whether it writes whole files by itself, since they are several.
    """

    write: Callable[[Explanation, Any, Path, Spacing | None], None]
    ending: str
    read_record: Callable[[Path], Any] | None = None
    read_arrays: Callable[[Path, dict[str, Any]], tuple[Any, Mapping[str, Any]]] | None = None
    is_folder: bool = False
    writes_whole: bool = False


_TIFF = ResultFormat(save_tiff, ".neuroscope.tif", record_in_tiff, arrays_in_tiff)

FORMATS: dict[str, ResultFormat] = {
    ".tif": _TIFF,
    ".tiff": replace(_TIFF, ending=".tiff"),
    ".zarr": ResultFormat(
        save_ome_zarr, ".ome.zarr", record_in_zarr, arrays_in_zarr, is_folder=True
    ),
    ".npy": ResultFormat(
        save_npy, ".neuroscope.npy", record_in_npy, arrays_in_npy, writes_whole=True
    ),
    ".png": ResultFormat(save_figure, ".png"),
}
"""The kinds of file, by suffix."""

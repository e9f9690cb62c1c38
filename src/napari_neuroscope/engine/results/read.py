"""Saved explanations, read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_neuroscope.engine.errors import NeuroscopeError, shortened
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.record_check import check_record
from napari_neuroscope.engine.explanation.record_format import FORMAT
from napari_neuroscope.engine.explanation.record_json import explanation_in, spacing_in
from napari_neuroscope.engine.files.reading.bounded_file import refuse_irregular
from napari_neuroscope.engine.files.reading.inside_folder import is_plain_name
from napari_neuroscope.engine.files.told import reason_of
from napari_neuroscope.engine.images.spacing import Spacing
from napari_neuroscope.engine.results.formats import FORMATS
from napari_neuroscope.engine.results.ome_zarr_reading import levels_in_zarr


@dataclass(frozen=True, eq=False)
class Result:
    """A saved explanation.

    Attributes
    ----------
    explanation
        As it was saved; of OME-Zarr its values are dask arrays, which read what is looked at. It
        holds its recipe in its record (`recipe_in`).
    spacing
        How far apart the pixels of its image are, where that was known.
    look
        How its layer looked, where a layer was saved.
    levels
        The values and then coarser ones, of OME-Zarr.
    most
        The largest magnitude of the values, of OME-Zarr.
    """

    explanation: Explanation
    spacing: Spacing | None = None
    look: Mapping[str, Any] = field(default_factory=dict)
    levels: tuple[Any, ...] = ()
    most: float = 0.0


def is_result(path: str | Path) -> bool:
    """Whether a file or a folder holds an explanation that was saved; its values are not read."""
    path = Path(path)
    try:
        if not path.exists():
            return False
        refuse_irregular(path)
        return _record_in(path) is not None
    except Exception:  # noqa: BLE001  whatever is wrong with a stranger's file, it is not ours
        return False


def read_result(path: str | Path) -> Result:
    """Read an explanation that `save` wrote.

    Parameters
    ----------
    path
        A file ``.tif`` or ``.npy``, or a folder ``.zarr``.

    Raises
    ------
    NeuroscopeError
        Where it is missing, damaged, or holds no explanation.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise NeuroscopeError(f"There is no file {shortened(str(path), 300)}.")
        refuse_irregular(path)
        record = _record_in(path)
        if record is None:
            raise NeuroscopeError(
                f"“{shortened(path.name, 200)}” holds no explanation: it was not saved by napari-neuroscope, or "
                f"what was saved with it is gone."
            )
        companions = record.get("companions")
        if isinstance(companions, Mapping) and not all(map(is_plain_name, companions)):
            raise NeuroscopeError(
                f"“{shortened(path.name, 200)}” names files of other folders, so it isn't read."
            )
        if isinstance(record.get("format"), int) and record["format"] > FORMAT:
            raise ValueError(
                f"its record is of format {record['format']}, newer than {FORMAT}; update "
                f"napari-neuroscope"
            )
        check_record(record)
        read_arrays = FORMATS[path.suffix.lower()].read_arrays
        assert read_arrays is not None
        values, companions = read_arrays(path, record)
        if record.get("growing"):
            record["notes"] = [*record["notes"], "its writing was interrupted: parts are missing"]
        return Result(
            explanation_in(record, values, companions),
            spacing_in(record),
            record.get("look", {}),
            tuple(levels_in_zarr(path, record)) if path.is_dir() else (),
            float(record.get("most", 0.0)),
        )
    except NeuroscopeError:
        raise
    except Exception as error:
        raise NeuroscopeError(
            f"The explanation in {shortened(str(path), 300)} can't be read: {reason_of(error)}."
        ) from error


def _record_in(path: Path) -> Any:
    format_ = FORMATS.get(path.suffix.lower())
    if format_ is None or format_.read_record is None or path.is_dir() is not format_.is_folder:
        return None
    return format_.read_record(path)

"""Explanations as NumPy files, with the record as JSON beside them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.record_json import record_in_words
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.atomic_write import write_whole
from napari_neuroscope.engine.files.reading.bounded_file import read_text
from napari_neuroscope.engine.files.reading.inside_folder import refuse_outside
from napari_neuroscope.engine.files.reading.plain_data import PlainDataError, parse_json
from napari_neuroscope.engine.images.formats.npy_image import map_npy, read_npy
from napari_neuroscope.engine.images.spacing import Spacing


def save_npy(explanation: Explanation, image: Any, path: Path, spacing: Spacing | None) -> None:
    """Write the values and the label maps on their own grid, each to a file of its own, whole."""
    text = record_in_words(explanation.full_record(spacing), indent=2)
    for name, labels in explanation.companions.items():
        write_whole(_companion(path, name), partial(np.save, arr=labels))
    write_whole(path.with_suffix(".json"), lambda part: part.write_text(text, "utf-8"))
    write_whole(path, partial(np.save, arr=explanation.values))


def _companion(path: Path, name: str) -> Path:
    return path.with_name(f"{path.stem}.{name}.npy")


# --- reading --------------------------------------------------------------------------------------


def record_in_npy(path: Path) -> dict[str, Any] | None:
    """Return the record beside a file; None where there is none of ours."""
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return None
    refuse_outside(beside, path.parent)
    try:
        record = parse_json(read_text(beside, limits.MOST_TEXT))
    except (NeuroscopeError, PlainDataError):
        return None
    ours = isinstance(record, dict) and {"format", "method", "axes", "grid"} <= record.keys()
    return record if ours else None


def arrays_in_npy(path: Path, record: dict[str, Any]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the values and the label maps."""
    companions = {}
    for name, said in record["companions"].items():
        beside = _companion(path, name)
        refuse_outside(beside, path.parent)
        companions[name] = _array(beside, said["shape"])
    return _array(path, record["shape"]), companions


def _array(path: Path, shape: Sequence[int]) -> np.ndarray:
    stored = map_npy(path)
    if stored.shape != tuple(shape) or stored.dtype.kind == "c":
        raise ValueError(f"“{path.name}” holds {stored.dtype} {stored.shape}, not {tuple(shape)}")
    return read_npy(path)

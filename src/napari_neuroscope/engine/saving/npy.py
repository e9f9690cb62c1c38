"""Explanations as NumPy files, with the record as JSON beside them."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_neuroscope.engine.explanation import Explanation
from napari_neuroscope.engine.files.atomic_write import write_whole
from napari_neuroscope.engine.saving.record import record_of
from napari_neuroscope.engine.spacing import Spacing


def save_npy(explanation: Explanation, image: Any, path: Path, spacing: Spacing | None) -> None:
    """Write the values and the label maps on their own grid, each to a file of its own, whole."""
    text = json.dumps(record_of(explanation, spacing), indent=2, ensure_ascii=False)
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
    try:
        found = json.loads(beside.read_text("utf-8"))
    except (UnicodeDecodeError, ValueError):
        return None
    ours = isinstance(found, dict) and {"format", "method", "axes", "grid"} <= found.keys()
    return found if ours else None


def arrays_in_npy(path: Path, record: dict[str, Any]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the values and the label maps."""
    companions = {
        name: np.load(_companion(path, name), allow_pickle=False) for name in record["companions"]
    }
    return np.load(path, allow_pickle=False), companions

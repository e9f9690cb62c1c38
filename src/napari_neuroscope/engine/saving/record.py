"""The record that goes with an explanation's values: what they are and how they were made."""

from __future__ import annotations

from typing import Any

from napari_neuroscope.engine.explanation import Explanation


def record_of(explanation: Explanation) -> dict[str, Any]:
    """Return the record of an explanation, as plain JSON."""
    grid = explanation.grid
    return {
        **explanation.provenance,
        "axes": list(explanation.axes),
        "labels": {axis: list(names) for axis, names in explanation.labels.items()},
        "signed": explanation.signed,
        "unit": explanation.unit,
        "grid": {"shape": grid.shape, "scale": grid.scale, "offset": grid.offset},
    }

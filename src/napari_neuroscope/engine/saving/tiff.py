"""Explanations as TIFF files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_neuroscope.engine.explanation import Explanation
from napari_neuroscope.engine.saving.record import record_of
from napari_neuroscope.engine.spacing import Spacing

_AXES = {"z": "Z", "y": "Y", "x": "X", "channel": "C"}


def save_tiff(
    explanation: Explanation, image: np.ndarray, path: Path, spacing: Spacing | None
) -> None:
    """Write the values on the image's own pixels, as 32-bit floats."""
    import tifffile

    record = record_of(explanation)
    if not explanation.is_table:
        # The values of the file lie on the image's own pixels.
        shape = explanation.image.shape
        record["grid"] = {"shape": shape, "scale": [1.0] * len(shape), "offset": [0.0] * len(shape)}
    tifffile.imwrite(
        path,
        explanation.on_image(),
        photometric="minisblack",
        compression="zlib",
        metadata={
            "axes": "".join(_AXES.get(axis, "Q") for axis in explanation.axes),
            "neuroscope": record,
        },
    )

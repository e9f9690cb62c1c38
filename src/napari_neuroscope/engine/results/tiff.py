"""Explanations as OME-TIFF files, which Fiji, QuPath and Bio-Formats read."""

from __future__ import annotations

import math
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from napari_neuroscope.engine.explanation.explanation import Explanation
from napari_neuroscope.engine.explanation.record_json import name_in_xml, record_in_words
from napari_neuroscope.engine.files.reading.plain_data import parse_json
from napari_neuroscope.engine.files.reading.plain_xml import parse_xml
from napari_neuroscope.engine.images.formats.tiff_checks import refuse_endless
from napari_neuroscope.engine.images.formats.tiff_image import AT_ONCE, open_tiff, read_series
from napari_neuroscope.engine.images.spacing import Spacing
from napari_neuroscope.engine.results.layout import layouts_of
from napari_neuroscope.engine.results.units import unit_of

NAMESPACE = "napari-neuroscope.record"
"""Of the annotation that holds the record."""
# A classic TIFF file ends at 4 GB.
_MOST_CLASSIC = 2**32 - 2**25


def save_tiff(explanation: Explanation, image: Any, path: Path, spacing: Spacing | None) -> None:
    """Write the values on the image's own pixels, as 32-bit floats, and the label maps after them."""
    import tifffile

    record = explanation.full_record(spacing)
    # The values of the file lie on the image's own pixels.
    record["grid"] = record["image_grid"]
    arrays = [explanation.on_image()]
    for name in explanation.companions:
        arrays.append(explanation.companion_on_image(name).astype(np.int32))
    record["shape"] = list(arrays[0].shape)
    for said, array in zip(record["companions"].values(), arrays[1:], strict=True):
        said["shape"] = list(array.shape)
    layouts = layouts_of(record)
    names = [name_in_xml(explanation.record.full_title), *explanation.companions]
    along = (spacing or Spacing.of_pixels(explanation.space)).along(explanation.space)
    if not explanation.is_table:
        # Of a stack not every plane may have been explained.
        along = along.of_grid(explanation.image)
    big = sum(values.nbytes for values in arrays) > _MOST_CLASSIC
    with tifffile.TiffWriter(path, ome=True, bigtiff=big) as file:
        for number, (name, array, layout) in enumerate(zip(names, arrays, layouts, strict=True)):
            metadata: dict[str, Any] = {
                "Name": name,
                "axes": "".join(layout.file_axes).upper(),
                **_physical_sizes(along),
            }
            if layout.folded:
                names_of_channels = map(name_in_xml, layout.channel_names(explanation.labels))
                metadata["Channel"] = {"Name": list(names_of_channels)}
            if number == 0:
                text = record_in_words(record)
                # What is equal makes equal files.
                metadata["UUID"] = str(uuid.uuid5(uuid.NAMESPACE_OID, text))
                metadata["CommentAnnotation"] = {"Namespace": NAMESPACE, "Value": text}
            file.write(
                layout.arranged(array),
                photometric="minisblack",
                compression="zlib",
                metadata=metadata,
                **_resolution(along),
            )


def _physical_sizes(spacing: Spacing) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for axis, step, name in zip(spacing.axes, spacing.steps, spacing.units, strict=True):
        unit = unit_of(name)
        if unit is None:
            continue
        if axis in ("z", "y", "x") and unit.kind == "length":
            metadata[f"PhysicalSize{axis.upper()}"] = step
            metadata[f"PhysicalSize{axis.upper()}Unit"] = unit.symbol
        elif axis == "t" and unit.kind == "time":
            metadata["TimeIncrement"], metadata["TimeIncrementUnit"] = step, unit.symbol
    return metadata


def _resolution(spacing: Spacing) -> dict[str, Any]:
    """Return pixels a centimetre along x and y, for programs that read no OME-XML."""
    per_cm = []
    for axis in ("x", "y"):
        along_axis = spacing.along([axis])
        unit = unit_of(along_axis.units[0])
        if unit is None or unit.kind != "length" or not along_axis.steps[0] > 0:
            return {}
        per_cm.append(0.01 / (along_axis.steps[0] * unit.size))
    return {"resolution": tuple(per_cm), "resolutionunit": "CENTIMETER"}


# --- reading --------------------------------------------------------------------------------------


def record_in_tiff(path: Path) -> dict[str, Any] | None:
    """Return the record of a file; None where it is none of ours. No values are read."""
    import tifffile

    refuse_endless(path, first_only=True)
    # What tifffile would look through at once is none of ours.
    none: dict[str, Any] = dict.fromkeys(AT_ONCE, False)
    with tifffile.TiffFile(path, **none) as file:
        text = file.pages.first.description
    if NAMESPACE not in text:
        return None
    for element in parse_xml(text).iter():
        if element.tag.endswith("CommentAnnotation") and element.get("Namespace") == NAMESPACE:
            value = next((inner.text for inner in element if inner.tag.endswith("Value")), None)
            record = parse_json(value or "null")
            return record if isinstance(record, dict) else None
    return None


def arrays_in_tiff(path: Path, record: dict[str, Any]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the values and the label maps of a file."""
    file, others = open_tiff(path)
    with file:
        if others:
            raise ValueError("it takes pixels from other files, which no explanation does")
        layouts, stored = layouts_of(record), file.series
        if len(stored) != len(layouts):
            raise ValueError(f"it holds {len(stored)} images in place of {len(layouts)}")
        arrays = []
        for layout, series in zip(layouts, stored, strict=True):
            if math.prod(series.shape) != math.prod(layout.shape) or series.dtype.kind not in "fiu":
                raise ValueError(f"it holds {series.dtype} {series.shape}, not {layout.file_shape}")
            values = read_series(series, path)
            arrays.append(layout.restored(values.reshape(layout.file_shape)))
    return arrays[0], dict(zip(record["companions"], arrays[1:], strict=True))

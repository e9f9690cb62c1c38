"""Explanations as files: values with their record, or a picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation import Explanation
from napari_neuroscope.engine.writing import write_whole
from napari_neuroscope.viewer.overlays import heat, limits

_TIFF_AXES = {"z": "Z", "y": "Y", "x": "X", "channel": "C"}


def save(explanation: Explanation, image: np.ndarray, path: Path) -> None:
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
    """
    path = Path(path)
    write = SUFFIXES[path.suffix.lower()]
    write_whole(path, lambda part: write(explanation, image, part))
    if path.suffix.lower() == ".npy":
        text = json.dumps(_record(explanation), indent=2)
        write_whole(path.with_suffix(".json"), lambda part: part.write_text(text, "utf-8"))


def _record(explanation: Explanation) -> dict[str, Any]:
    grid = explanation.grid
    return {
        **explanation.provenance,
        "axes": list(explanation.axes),
        "labels": {axis: list(names) for axis, names in explanation.labels.items()},
        "signed": explanation.signed,
        "unit": explanation.unit,
        "grid": {"shape": grid.shape, "scale": grid.scale, "offset": grid.offset},
    }


def _save_tif(explanation: Explanation, image: np.ndarray, path: Path) -> None:
    import tifffile

    record = _record(explanation)
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
            "axes": "".join(_TIFF_AXES.get(axis, "Q") for axis in explanation.axes),
            "neuroscope": record,
        },
    )


def _save_npy(explanation: Explanation, image: np.ndarray, path: Path) -> None:
    np.save(path, explanation.values)


def _save_png(explanation: Explanation, image: np.ndarray, path: Path) -> None:
    from skimage.io import imsave

    if explanation.is_table:
        raise NeuroscopeError("A table of scores has no picture; save it as .npy or .tif.")
    if len(explanation.image.shape) != 2:
        raise NeuroscopeError("Pictures are of two axes, but this map has three; save it as .tif.")
    if explanation.unfinished:
        raise NeuroscopeError(
            f"The map was stopped after {explanation.unfinished}, which a picture can't say; save "
            f"it as .npy or .tif, or explain the image to the end."
        )
    maps = explanation.on_image()
    leading = maps.ndim - 2
    if explanation.method == "input":
        shown = np.moveaxis(maps, 0, -1) if maps.shape[0] == 3 else maps[..., :1, :, :][0]
        picture = np.nan_to_num(shown if shown.ndim == 3 else np.repeat(shown[..., None], 3, -1))
        imsave(path, (np.clip(picture, 0, 1) * 255).round().astype(np.uint8), check_contrast=False)
        return
    flat = maps.reshape(-1, *maps.shape[leading:])
    below = displayable(image, explanation.image.shape)
    colours = heat(signed=explanation.signed)
    panels = [_overlay(below, values, explanation.signed, colours) for values in flat]
    imsave(path, (_tiled(panels) * 255).round().astype(np.uint8), check_contrast=False)


def displayable(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return an image as RGB floats of 0..1, stretched between its 0.5 and 99.8 percentiles."""
    values = np.asarray(image, np.float64)
    if values.ndim == 3 and values.shape[:2] == shape:
        values = values[..., :3] if values.shape[-1] >= 3 else values[..., :1]
    elif values.ndim == 3:
        values = np.moveaxis(values, 0, -1)
        values = values[..., :3] if values.shape[-1] == 3 else values[..., :1]
    else:
        values = values[..., None]
    low, high = np.nanpercentile(values, (0.5, 99.8))
    if image.dtype == np.uint8 and values.shape[-1] == 3:
        low, high = 0.0, 255.0
    shown = np.clip(np.nan_to_num((values - low) / max(high - low, 1e-12)), 0, 1)
    return np.repeat(shown, 3, -1) if shown.shape[-1] == 1 else shown


def _overlay(below: np.ndarray, values: np.ndarray, signed: bool, colours: Any) -> np.ndarray:
    low, high = limits(values, signed=signed)
    unit = np.clip((np.nan_to_num(values) - low) / (high - low), 0, 1)
    coloured = colours.map(unit.ravel()).reshape(*values.shape, 4)
    alpha = coloured[..., 3:] * np.isfinite(values)[..., None]
    return below * (1 - alpha) + coloured[..., :3] * alpha


def _tiled(panels: list[np.ndarray]) -> np.ndarray:
    """Lay pictures side by side, in rows that make about a square, with gaps."""
    if len(panels) == 1:
        return panels[0]
    columns = int(np.ceil(np.sqrt(len(panels))))
    gap = max(2, panels[0].shape[0] // 64)
    blank = np.ones_like(panels[0])
    panels = panels + [blank] * (-len(panels) % columns)
    rows = []
    for start in range(0, len(panels), columns):
        row = panels[start : start + columns]
        pieces = [piece for panel in row
                  for piece in (panel, np.ones((panel.shape[0], gap, 3)))][:-1]  # fmt: skip
        rows.append(np.concatenate(pieces, axis=1))
    lines = [line for row in rows for line in (row, np.ones((gap, row.shape[1], 3)))][:-1]
    return np.concatenate(lines, axis=0)


SUFFIXES: dict[str, Callable[[Explanation, np.ndarray, Path], None]] = {
    ".tif": _save_tif, ".tiff": _save_tif, ".npy": _save_npy, ".png": _save_png,
}  # fmt: skip
"""The kinds of file, by suffix."""

"""Explanations as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_neuroscope.engine.colours import coloured, limits
from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explanation import Explanation
from napari_neuroscope.engine.spacing import Spacing


def save_figure(
    explanation: Explanation, image: np.ndarray, path: Path, spacing: Spacing | None
) -> None:
    """Write a picture of the map over the image."""
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
    panels = [_overlay(below, values, explanation.signed) for values in flat]
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


def _overlay(below: np.ndarray, values: np.ndarray, signed: bool) -> np.ndarray:
    above = coloured(values, limits(values, signed=signed), signed=signed)
    alpha = above[..., 3:]
    return below * (1 - alpha) + above[..., :3] * alpha


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

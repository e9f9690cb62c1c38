"""Sample images with their ground truth, for File > Open Sample."""

from __future__ import annotations

import csv
from importlib.resources import files
from pathlib import Path

import numpy as np

from napari_neuroscope.engine.explanation.overlays.kind import LayerData


def _folder(name: str) -> Path:
    return Path(str(files("napari_neuroscope.samples"))) / name


def _read(path: Path) -> np.ndarray:
    from skimage.io import imread

    return np.asarray(imread(path))


def _nuclei(stem: str, name: str) -> list[LayerData]:
    folder = _folder("nuclei")
    image = _read(folder / "images" / f"{stem}.png")
    contrast = np.percentile(image, (1, 99.8)).tolist()
    return [
        (image, {"name": name, "rgb": False, "contrast_limits": contrast}, "image"),
        (_read(folder / "instances" / f"{stem}.png").astype(np.int32),
         {"name": f"{name}, ground truth", "opacity": 0.5, "visible": False}, "labels"),
    ]  # fmt: skip


def nuclei() -> list[LayerData]:
    """Return a microscope image of nuclei, and its nuclei as labels (BBBC038v1, CC0)."""
    return _nuclei("02903040e19d", "Nuclei")


def crowded_nuclei() -> list[LayerData]:
    """Return an image of nuclei that touch, and its nuclei as labels (BBBC038v1, CC0)."""
    return _nuclei("f6863b83d75e", "Crowded nuclei")


def blood_cells() -> list[LayerData]:
    """Return crops of blood cells as a stack, and their classes in its metadata (BCCD, MIT)."""
    from skimage.transform import resize

    folder = _folder("blood-cells")
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    crops = [_read(folder / row["file"])[..., :3] for row in rows]
    size = max(max(crop.shape[:2]) for crop in crops)
    stack = np.stack([
        (resize(crop, (size, size, 3), anti_aliasing=False) * 255).round().astype(np.uint8)
        for crop in crops])  # fmt: skip
    metadata = {"classes": [row["class"] for row in rows], "files": [row["file"] for row in rows]}
    return [(stack, {"name": "Blood cells", "rgb": True, "metadata": metadata,
                     "axis_labels": ("cell", "y", "x")}, "image")]  # fmt: skip
